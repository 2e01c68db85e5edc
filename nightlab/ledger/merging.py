"""Two copies of a study's refs, one here and one on a remote: what each lacks of the other.

Records and evidence are written once, so two copies can only miss some of them; a number that
stands for two different trials is an error and never a choice. The branch only moves forward.
Marks are replaced while a trial goes on, and deleted with it. Confirmations, consolidations and
suggestions go one way: of two copies, the one that got further stays.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nightlab.errors import LedgerError, RemoteError
from nightlab.ledger.confirmations import progress, read_confirmation
from nightlab.ledger.consolidations import read_consolidation
from nightlab.ledger.documents import from_json, message_of
from nightlab.ledger.names import StudyRefs, number_of
from nightlab.ledger.plumbing import Plumbing
from nightlab.ledger.suggestions import is_later, read_suggestion
from nightlab.records import InFlight

_ORDER = (
    "session",
    "evidence",
    "holdout",
    "trials",
    "branch",
    "confirmations",
    "consolidations",
    "suggestions",
    "inflight",
)
_ONE_WAY = ("confirmations", "consolidations", "suggestions")


@dataclass(frozen=True, slots=True, kw_only=True)
class RefUpdate:
    """One change of a ref, made only where the ref stands as expected."""

    ref: str
    old: str | None
    """None where the ref must not exist."""
    new: str | None
    """None to delete it."""

    @property
    def command(self) -> str:
        """The line of ``git update-ref --stdin`` that makes the change."""
        if self.new is None:
            if self.old is None:
                raise LedgerError(f"{self.ref} cannot be deleted where it does not exist.")
            return f"delete {self.ref} {self.old}"
        if self.old is None:
            return f"create {self.ref} {self.new}"
        return f"update {self.ref} {self.new} {self.old}"


class Merge:
    """Compares a study's refs here with those of one remote.

    Args:
        plumbing: the repository here; ``union`` needs the remote's objects in it.
        refs: the study.
        remote: the remote's name, for sentences.
    """

    def __init__(self, plumbing: Plumbing, refs: StudyRefs, remote: str) -> None:
        self.plumbing = plumbing
        self.refs = refs
        self.remote = remote

    def union(self, here: Mapping[str, str], there: Mapping[str, str]) -> list[RefUpdate]:
        """The changes that bring ``there`` into ``here``, in an order that can be gone on from.

        Raises:
            RemoteError: the study went on here and there in different ways.
        """
        return sorted(self._union(here, there), key=self._order)

    def _union(self, here: Mapping[str, str], there: Mapping[str, str]) -> Iterator[RefUpdate]:
        recorded = {number_of(r) for r in (*here, *there) if self.refs.kind(r) == "trials"}
        for ref, oid in there.items():
            mine = here.get(ref)
            kind = self.refs.kind(ref)
            if mine == oid:
                continue
            if kind == "branch":
                if mine is None or self._leads_to(mine, oid):
                    yield RefUpdate(ref=ref, old=mine, new=oid)
            elif kind == "inflight":
                if number_of(ref) not in recorded and (mine is None or self._is_older(mine, oid)):
                    yield RefUpdate(ref=ref, old=mine, new=oid)
            elif kind in _ONE_WAY:
                if mine is None or self._is_ahead(ref, oid, mine):
                    yield RefUpdate(ref=ref, old=mine, new=oid)
            elif mine is None:
                yield RefUpdate(ref=ref, old=None, new=oid)
            else:
                raise self._two_things(ref)
        for ref, oid in here.items():
            if self.refs.kind(ref) == "inflight" and number_of(ref) in recorded:
                yield RefUpdate(ref=ref, old=oid, new=None)

    def missing(self, here: Mapping[str, str], there: Mapping[str, str]) -> list[RefUpdate]:
        """The changes that bring ``here`` to the remote, in an order that can be gone on from.

        Raises:
            RemoteError: the study went on here and there in different ways.
        """
        updates = []
        for ref, oid in here.items():
            theirs = there.get(ref)
            if theirs == oid:
                continue
            kind = self.refs.kind(ref)
            if kind in ("trials", "evidence", "holdout") and theirs is not None:
                raise self._two_things(ref)
            if kind == "branch" and theirs is not None and not self._leads_to(theirs, oid):
                continue  # the remote is ahead
            if kind in _ONE_WAY and theirs is not None and not self._is_ahead(ref, oid, theirs):
                continue
            updates.append(RefUpdate(ref=ref, old=theirs, new=oid))
        for ref, oid in there.items():
            finished = (
                self.refs.kind(ref) == "inflight"
                and ref not in here
                and self.refs.trial(number_of(ref)) in here
            )
            if finished:
                updates.append(RefUpdate(ref=ref, old=oid, new=None))
        return sorted(updates, key=self._order)

    def _leads_to(self, old: str, new: str) -> bool:
        """Whether the branch can move from ``old`` to ``new``; False for the other way round.

        Raises:
            RemoteError: neither leads to the other.
        """
        forward = self.plumbing.is_ancestor(old, new)
        if forward:
            return True
        if forward is False and self.plumbing.is_ancestor(new, old):
            return False
        if forward is None:
            raise RemoteError(
                f"Study {self.refs.study!r} went on at remote {self.remote!r} (commit {old[:7]}) "
                "since it was fetched: run the same command again, which fetches it first."
            )
        raise RemoteError(
            f"Study {self.refs.study!r} has diverged: of its branch here and its branch at "
            f"remote {self.remote!r} (at {old[:7]} and {new[:7]}) neither contains the other. "
            f"{self._advice()}"
        )

    def _two_things(self, ref: str) -> RemoteError:
        number = number_of(ref)
        what = "Holdout use" if self.refs.kind(ref) == "holdout" else "Trial"
        return RemoteError(
            f"{what} {number} of study {self.refs.study!r} is one thing here and another at "
            f"remote {self.remote!r}, because two sessions went on without seeing each other. "
            f"{self._advice()}"
        )

    def _advice(self) -> str:
        root = self.refs.root
        return (
            "Keep the remote's: `git for-each-ref --format='delete %(refname)' "
            f"{self.refs.branch} {root} | git update-ref --stdin`, and run again; or keep both: "
            f"continue here under another name with `git branch nightlab/NAME {self.refs.branch}`."
        )

    def _is_older(self, mine: str, theirs: str) -> bool:
        """Whether the trial got further there: it was then taken over from this clone."""
        here, there = map(self._mark, self.plumbing.contents([mine, theirs]))
        return _progress(here) < _progress(there)

    def _is_ahead(self, ref: str, one: str, other: str) -> bool:
        """Whether what goes one way got further in one copy than in the other.

        An object that is not here stands on the remote since the last fetch: that is ahead.
        """
        if not self._is_here(other):
            return False
        mine, theirs = self.plumbing.contents([one, other])
        kind = self.refs.kind(ref)
        if kind == "suggestions":
            return is_later(read_suggestion(mine, ref), read_suggestion(theirs, ref))
        if kind == "consolidations":
            return read_consolidation(mine, ref).progress > read_consolidation(theirs, ref).progress
        return progress(read_confirmation(mine, ref)) > progress(read_confirmation(theirs, ref))

    def _mark(self, tag: bytes) -> InFlight:
        return from_json(InFlight, message_of(tag), self.refs.root)

    def _is_here(self, oid: str) -> bool:
        return self.plumbing.attempt("cat-file", "-e", oid).status == 0

    def _order(self, update: RefUpdate) -> tuple[int, str]:
        return _ORDER.index(self.refs.kind(update.ref) or "session"), update.ref


def _progress(mark: InFlight) -> tuple[int, int, bool]:
    trained = len(mark.replicates) + len(mark.incumbent_replicates)
    return mark.attempts, trained, mark.proposal is not None
