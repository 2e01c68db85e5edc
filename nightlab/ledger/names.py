"""The names of a study's refs."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

BRANCHES = "refs/heads/nightlab/"
CONSOLIDATED = "-consolidated"
"""Ends the name of the branch that a consolidation offers."""


@dataclass(frozen=True, slots=True)
class StudyRefs:
    """The names of one study's refs; see the package's docstring for what each holds."""

    study: str

    @property
    def branch(self) -> str:
        """Full name of the study's branch."""
        return f"{BRANCHES}{self.study}"

    @property
    def consolidated(self) -> str:
        """Full name of the branch that a consolidation offers."""
        return f"{self.branch}{CONSOLIDATED}"

    @property
    def root(self) -> str:
        """Prefix of all other refs of the study, without a slash at its end."""
        return f"refs/nightlab/{self.study}"

    @property
    def session(self) -> str:
        """On a remote: who works on the study."""
        return f"{self.root}/session"

    @property
    def stop(self) -> str:
        """A person's request that the session stop; here and on a remote."""
        return f"{self.root}/stop"

    def trial(self, number: int) -> str:
        """Ref of a trial's record."""
        return f"{self.root}/trials/{number:04d}"

    def evidence(self, number: int) -> str:
        """Ref of a trial's evidence."""
        return f"{self.root}/evidence/{number:04d}"

    def inflight(self, number: int) -> str:
        """Ref of a trial's in-flight mark."""
        return f"{self.root}/inflight/{number:04d}"

    def numbered(self, kind: str, number: int) -> str:
        """Ref of one of a kind that is numbered."""
        return f"{self.root}/{kind}/{number:04d}"

    def suggestion(self, name: str) -> str:
        """Ref of a person's suggestion."""
        return f"{self.root}/suggestions/{name}"

    @property
    def above(self) -> tuple[str, ...]:
        """Refs beside which git can have none of the study's: a file where it needs a folder."""
        return ("refs/heads/nightlab", "refs/nightlab", self.root)

    def in_the_way(self, refs: Iterable[str]) -> str | None:
        """The first of some refs beside which git can have none of the study's, if there is one."""
        below = (f"{self.branch}/", f"{self.consolidated}/")
        return next((ref for ref in refs if ref in self.above or ref.startswith(below)), None)

    def kind(self, ref: str) -> str | None:
        """Return ``branch``, the folder of a numbered or named ref, or None for no such ref."""
        if ref == self.branch:
            return "branch"
        kinds = "trials|evidence|inflight|holdout|confirmations|consolidations|approvals"
        pattern = rf"{re.escape(self.root)}/(?:({kinds})/\d{{1,9}}|(suggestions)/[\w-]+)"
        match = re.fullmatch(pattern, ref)
        return match[1] or match[2] if match else None

    def numbers(self, refs: Iterable[str], kind: str) -> list[int]:
        """Return the numbers of the refs of one kind, ascending."""
        return sorted(number_of(ref) for ref in refs if self.kind(ref) == kind)


def number_of(ref: str) -> int:
    """Return the number at the end of a ref."""
    return int(ref.rpartition("/")[2])


def studies_among(refs: Iterable[str]) -> tuple[str, ...]:
    """The studies whose branches are among some refs, in alphabetical order.

    What a consolidation offers is no study, unless one was begun on it.
    """
    found = set(refs)
    names = {ref.removeprefix(BRANCHES) for ref in found if ref.startswith(BRANCHES)}
    offered = {StudyRefs(name).consolidated.removeprefix(BRANCHES) for name in names}
    begun = {ref.split("/")[2] for ref in found if ref.startswith("refs/nightlab/")}
    names -= (names & offered) - begun
    return tuple(sorted(name for name in names if "/" not in name))


def without_branch(refs: Iterable[str]) -> tuple[str, ...]:
    """The studies that have records among some refs, and no branch; in alphabetical order."""
    found = set(refs)
    recorded = {
        ref.split("/")[2] for ref in found if re.fullmatch(r"refs/nightlab/.+/trials/\d{1,9}", ref)
    }
    return tuple(sorted(name for name in recorded if StudyRefs(name).branch not in found))
