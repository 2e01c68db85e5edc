"""Two sessions that did not see each other gave one number to two things: the second gets another.

A session whose remote is away goes on, and another machine may go on from what it last saw there.
Both then have a trial 5. Of two copies of a study the first keeps its numbers (it is the one that
others have seen already); what the second has besides gets the next free ones, in its order:

    trials/0005 (ours)       → trials/0007: a tag with the record under its new number, on the
                               tag as it was written, which so stays, verdict and all
    evidence/0005 (ours)     → evidence/0007, the same commit; approvals/0005 likewise
    inflight, holdout, confirmations, consolidations, suggestions: likewise, where they clash

A change that the second copy kept, and that is not part of the first one's branch, was never
compared with what stands there. Its record says so, as ``failed / interrupted``: it can be retried.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from nightlab.ledger.confirmations import read_confirmation
from nightlab.ledger.consolidations import read_consolidation
from nightlab.ledger.documents import from_json, message_of, to_json
from nightlab.ledger.holdout import HoldoutUse
from nightlab.ledger.names import StudyRefs, number_of
from nightlab.ledger.plumbing import Plumbing
from nightlab.ledger.renumbered import (
    Other,
    has_same_idea,
    inner_tag,
    is_one_thing,
    is_same,
    moved,
    with_trials,
)
from nightlab.ledger.suggestions import read_suggestion
from nightlab.records import InFlight, Reason, Suggestion, TrialRecord, Verdict

_TRIALS = ("trials", "inflight")
_ALONG = ("evidence", "approvals")
"""What moves with a record as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renumbered:
    """The second copy, without a clash with the first."""

    refs: dict[str, str]
    numbers: dict[int, int]
    """Of its trials: from what number to what; empty where nothing clashed."""


class Renumbering:
    """Gives what a second copy of a study has besides the first numbers that are free.

    Args:
        plumbing: the repository, with the objects of both copies in it.
        refs: the study.
        first: the copy whose numbers stay.
        second: the other one.
    """

    def __init__(
        self,
        plumbing: Plumbing,
        refs: StudyRefs,
        first: Mapping[str, str],
        second: Mapping[str, str],
    ) -> None:
        self.plumbing = plumbing
        self.refs = refs
        self.first = first
        self.second = second

    def settle(self) -> Renumbered:
        """Return the second copy's refs as they can stand beside the first copy's."""
        settled = dict(self.second)
        if self._is_diverged:
            del settled[self.refs.branch]
        records, marks = self._new("trials"), self._new("inflight")
        numbers: dict[int, int] = {}
        if any(map(self._clashes, records)) or any(map(self._is_another, marks)):
            numbers = self._move_trials(settled, records, marks)
        elif self._is_diverged:
            numbers = self._set_aside(settled, records)
        for kind in ("holdout", "confirmations", "consolidations"):
            self._move_others(settled, kind, numbers)
        self._settle_suggestions(settled, numbers)
        return Renumbered(refs=settled, numbers={a: b for a, b in numbers.items() if a != b})

    # Trials

    def _move_trials(
        self, settled: dict[str, str], records: list[str], marks: list[str]
    ) -> dict[int, int]:
        known = self._known_objects
        lost = [ref for ref in records if self.second[ref] in known]  # taken in before
        lost += [ref for ref in marks if self._is_worthless(ref) or self._is_known(ref)]
        for ref in lost:
            del settled[ref]
        for ref in records:
            for kind in _ALONG:
                settled.pop(self.refs.numbered(kind, number_of(ref)), None)
        moving = sorted({number_of(ref) for ref in (*records, *marks) if ref not in lost})
        taken = [number_of(ref) for ref in self.first if self.refs.kind(ref) in _TRIALS]
        free = max(taken, default=-1) + 1
        numbers = {number: free + place for place, number in enumerate(moving)}
        for ref in (*records, *marks):
            settled.pop(ref, None)
        for ref in (each for each in records if each not in lost):
            self._move_record(settled, ref, numbers)
        for ref in (each for each in marks if each not in lost):
            number = numbers[number_of(ref)]
            mark = moved(self._mark(ref, self.second), numbers)
            settled[self.refs.inflight(number)] = self.plumbing.write_tag(
                self._name("inflight", number), mark.commit, to_json(mark)
            )
        return numbers

    def _set_aside(self, settled: dict[str, str], records: list[str]) -> dict[int, int]:
        """Nothing clashes, but what was kept apart from the branch has to say so."""
        apart = [ref for ref in records if self._is_apart(self._record(ref, self.second))]
        numbers = {number_of(ref): number_of(ref) for ref in apart}
        for ref in apart:
            self._move_record(settled, ref, numbers)
        return numbers

    def _move_record(self, settled: dict[str, str], ref: str, numbers: Mapping[int, int]) -> None:
        old, number = number_of(ref), numbers[number_of(ref)]
        earlier = self._record(ref, self.second)
        record = moved(earlier, numbers)
        said = f"{earlier.decision.sentence} (Trial {old} of a session that could not push it.)"
        decision = record.decision.model_copy(update={"sentence": said})
        if self._is_apart(earlier) or earlier.reason is Reason.BASELINE:
            decision = record.decision.model_copy(
                update={
                    "verdict": Verdict.FAILED,
                    "reason": Reason.INTERRUPTED,
                    "sentence": f"Kept as trial {old} by a session that could not push it, while "
                    f"the study went on from another incumbent: `nightlab retry {record.study} "
                    f"{number}` tries it on that one. It was said: {earlier.decision.sentence}",
                }
            )
            record = record.model_copy(update={"val_bpb": None, "approval": None})
        record = record.model_copy(update={"decision": decision})
        settled[self.refs.trial(number)] = self.plumbing.write_tag(
            self._name("trials", number), self.second[ref], to_json(record), kind="tag"
        )
        for kind in _ALONG:
            oid = self.second.get(self.refs.numbered(kind, old))
            if oid is not None:
                settled[self.refs.numbered(kind, number)] = oid

    def _clashes(self, ref: str) -> bool:
        """Whether a record of the second copy has a number that the first uses otherwise."""
        number = number_of(ref)
        if ref in self.first:
            return True
        mark = self.refs.inflight(number)
        if mark not in self.first:
            return False
        return not is_same(self._record(ref, self.second), self._mark(mark, self.first))

    def _is_another(self, ref: str) -> bool:
        """Whether a mark of the second copy is of another trial than its number is in the first."""
        mark, number = self._mark(ref, self.second), number_of(ref)
        if self.refs.trial(number) in self.first:
            return not is_same(mark, self._record(self.refs.trial(number), self.first))
        if ref in self.first:
            return not is_same(mark, self._mark(ref, self.first))
        return False

    def _is_worthless(self, ref: str) -> bool:
        mark = self._mark(ref, self.second)
        return mark.proposal is None and not mark.set_aside

    def _is_known(self, ref: str) -> bool:
        """Whether the first copy has the trial of a mark, under any number."""
        mark = self._mark(ref, self.second)
        marks = [self._mark(each, self.first) for each in self._of("inflight", self.first)]
        if mark.proposal is None:
            return any(mark.set_aside == each.set_aside for each in marks)
        records = (self._record(each, self.first) for each in self._of("trials", self.first))
        return any(has_same_idea(mark, each) for each in marks) or any(
            has_same_idea(mark, each) for each in records
        )

    # The branch

    @cached_property
    def _is_diverged(self) -> bool:
        mine, theirs = self.first.get(self.refs.branch), self.second.get(self.refs.branch)
        if mine is None or theirs is None:
            return False
        return not (self._leads(mine, theirs) or self._leads(theirs, mine))

    def _is_apart(self, record: TrialRecord) -> bool:
        """Whether what a record of the second copy kept is not part of the branch."""
        if record.verdict is not Verdict.KEEP or not self._is_diverged:
            return False
        return not self._leads(record.commit, self.first[self.refs.branch])

    def _leads(self, ancestor: str, descendant: str) -> bool:
        return bool(self.plumbing.is_ancestor(ancestor, descendant))

    # What else is numbered

    def _move_others(self, settled: dict[str, str], kind: str, numbers: Mapping[int, int]) -> None:
        taken = {*self._of(kind, self.first), *self._of(kind, self.second)}
        free = max(map(number_of, taken), default=-1) + 1
        for ref in self._new(kind):
            document = self._other(kind, ref, self.second)
            following = with_trials(document, numbers)
            is_clash = ref in self.first and not is_one_thing(
                document, self._other(kind, ref, self.first)
            )
            if not is_clash and following == document:
                continue
            del settled[ref]
            if self.second[ref] in self._known_objects:
                continue
            number = number_of(ref)
            if is_clash:
                number, free = free, free + 1
            if hasattr(following, "number"):
                following = following.model_copy(update={"number": number})
            settled[self.refs.numbered(kind, number)] = self.plumbing.write_tag(
                self._name(kind, number), self.second[ref], to_json(following), kind="tag"
            )

    def _settle_suggestions(self, settled: dict[str, str], numbers: Mapping[int, int]) -> None:
        """Follow the trials that ideas were shown to; two ideas of one name get two names.

        Those of earlier studies were numbered.
        """
        for ref in self._new("suggestions"):
            oid = self.second[ref]
            idea = settling = read_suggestion(self._content(oid), ref)
            if idea.trial is not None and idea.trial in numbers:
                settling = settling.model_copy(update={"trial": numbers[idea.trial]})
            if ref in self.first and not self._is_idea_of(idea, ref):
                settling = settling.model_copy(update={"name": f"{idea.name}-{oid[:8]}"})
            if settling == idea:
                continue
            del settled[ref]
            name = self.refs.suggestion(settling.name)
            if settling.name == idea.name or name not in self.first:
                settled[name] = self.plumbing.write_tag(
                    name.removeprefix("refs/"), oid, to_json(settling), kind="tag"
                )

    def _is_idea_of(self, idea: Suggestion, ref: str) -> bool:
        """Whether the first copy has the same idea under a ref, whatever trial was shown it."""
        other = read_suggestion(self._content(self.first[ref]), ref)
        return (idea.text, idea.made_at) == (other.text, other.made_at)

    # Reading

    @cached_property
    def _known_objects(self) -> set[str]:
        """Tags that stand in the first copy, those inside of a renumbered one among them."""
        kinds = ("trials", "holdout", "confirmations", "consolidations")
        waiting = {oid for ref, oid in self.first.items() if self.refs.kind(ref) in kinds}
        known: set[str] = set()
        while waiting:
            known |= waiting
            tags = self.plumbing.contents(sorted(waiting))
            waiting = {inner for tag in tags for inner in inner_tag(tag)} - known
        return known

    def _new(self, kind: str) -> list[str]:
        """Refs of a kind that stand otherwise in the second copy, or only there; in order."""
        mine = self._of(kind, self.second)
        return [ref for ref in mine if self.first.get(ref) != self.second[ref]]

    def _of(self, kind: str, refs: Mapping[str, str]) -> list[str]:
        mine = (ref for ref in refs if self.refs.kind(ref) == kind)
        return sorted(mine, key=lambda ref: (len(ref), ref))

    def _content(self, oid: str) -> bytes:
        return self.plumbing.contents([oid])[0]

    def _record(self, ref: str, refs: Mapping[str, str]) -> TrialRecord:
        return from_json(TrialRecord, message_of(self._content(refs[ref])), ref)

    def _mark(self, ref: str, refs: Mapping[str, str]) -> InFlight:
        return from_json(InFlight, message_of(self._content(refs[ref])), ref)

    def _other(self, kind: str, ref: str, refs: Mapping[str, str]) -> Other:
        tag = self._content(refs[ref])
        if kind == "confirmations":
            return read_confirmation(tag, ref)
        if kind == "consolidations":
            return read_consolidation(tag, ref)
        return from_json(HoldoutUse, message_of(tag), ref)

    def _name(self, kind: str, number: int) -> str:
        return self.refs.numbered(kind, number).removeprefix("refs/")
