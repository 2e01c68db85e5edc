"""Two copies of a study's refs, such as one here and one on a remote, brought together.

Records and evidence are written once, so two copies can only miss some of them; where one number
stands for two different trials, one of them gets another (see ``renumbering``). The branch only
moves forward; of two words on one keep the first stays. Marks are replaced while a trial goes on,
and deleted with it. Confirmations, consolidations and suggestions go one way: of two copies, the
one that got further stays.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nightlab.errors import LedgerError, RemoteError
from nightlab.ledger.confirmations import progress, read_confirmation
from nightlab.ledger.consolidations import read_consolidation
from nightlab.ledger.documents import from_json, message_of
from nightlab.ledger.names import StudyRefs, number_of
from nightlab.ledger.plumbing import Plumbing
from nightlab.ledger.renumbering import Renumbering
from nightlab.ledger.suggestions import is_later, read_suggestion
from nightlab.records import InFlight

_ORDER = (
    "session",
    "evidence",
    "holdout",
    "trials",
    "branch",
    "approvals",
    "confirmations",
    "consolidations",
    "suggestions",
    "inflight",
)
_ONE_WAY = ("confirmations", "consolidations", "suggestions")
_AGAIN = "Run the same command again, which brings the two together and loses nothing of either."


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

    def together(
        self, first: Mapping[str, str], second: Mapping[str, str]
    ) -> tuple[dict[str, str], dict[int, int]]:
        """All that two copies of the study hold, as one.

        Args:
            first: the copy whose numbers and whose branch stay where the two clash.
            second: the other one; the objects of both are here.

        Returns:
            The refs, and the numbers of those trials of the second that got another.
        """
        settled = Renumbering(self.plumbing, self.refs, first, second).settle()
        union = dict(first)
        for ref, oid in self._brought(first, settled.refs):
            union[ref] = oid
        recorded = {number_of(ref) for ref in union if self.refs.kind(ref) == "trials"}
        for ref in list(union):
            if self.refs.kind(ref) == "inflight" and number_of(ref) in recorded:
                del union[ref]
        return union, settled.numbers

    def _brought(
        self, first: Mapping[str, str], second: Mapping[str, str]
    ) -> Iterator[tuple[str, str]]:
        """What the second copy adds to the first, once their numbers do not clash."""
        for ref, oid in second.items():
            mine = first.get(ref)
            if mine is None:
                yield ref, oid
            elif mine == oid:
                continue
            elif (kind := self.refs.kind(ref)) == "branch":
                if self._leads_to(mine, oid):
                    yield ref, oid
            elif kind == "inflight":
                if self._is_older(mine, oid):
                    yield ref, oid
            elif kind in _ONE_WAY and self._is_ahead(ref, oid, mine):
                yield ref, oid

    def changes(self, old: Mapping[str, str], new: Mapping[str, str]) -> list[RefUpdate]:
        """The changes of refs from one state to another, in an order that can be gone on from."""
        refs = {**old, **new}
        updates = [
            RefUpdate(ref=ref, old=old.get(ref), new=new.get(ref))
            for ref in refs
            if old.get(ref) != new.get(ref)
        ]
        return sorted(updates, key=self._order)

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
            if kind == "approvals" and theirs is not None:
                continue  # a word was given there before
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
            raise RemoteError(f"{self._went_on()} (commit {old[:7]}). {_AGAIN}")
        raise RemoteError(f"{self._went_on()}: its branch moved there to {old[:7]}. {_AGAIN}")

    def _two_things(self, ref: str) -> RemoteError:
        what = "holdout use" if self.refs.kind(ref) == "holdout" else "trial"
        return RemoteError(f"{self._went_on()}: it has another {what} {number_of(ref)}. {_AGAIN}")

    def _went_on(self) -> str:
        return f"Study {self.refs.study!r} went on at remote {self.remote!r} since it was fetched"

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
