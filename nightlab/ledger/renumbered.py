"""What documents of a study say of its trials, once those have other numbers."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from nightlab.ledger.confirmations import ConfirmationRecord
from nightlab.ledger.consolidations import ConsolidationRecord
from nightlab.ledger.holdout import HoldoutUse
from nightlab.records import Frozen, InFlight, TrialRecord

Trial = TypeVar("Trial", InFlight, TrialRecord)
Other = HoldoutUse | ConfirmationRecord | ConsolidationRecord


def is_same(one: InFlight | TrialRecord, other: InFlight | TrialRecord) -> bool:
    """Whether two documents are of one trial: of one idea, or nothing was proposed yet.

    The candidate's commit changes when it is mended, or made anew on another incumbent.
    """
    first, second = _idea(one), _idea(other)
    return first is None or second is None or first == second


def has_same_idea(one: InFlight | TrialRecord, other: InFlight | TrialRecord) -> bool:
    """Whether two documents are of one trial, whatever their numbers; a retry is another trial."""
    first, second = _idea(one), _idea(other)
    both_retry = (one.retry_of is None) == (other.retry_of is None)
    return first is not None and first == second and both_retry


def _idea(trial: InFlight | TrialRecord) -> str | None:
    if isinstance(trial, TrialRecord):
        return trial.title
    return trial.proposal.title if trial.proposal is not None else None


def moved(trial: Trial, numbers: Mapping[int, int]) -> Trial:
    """A trial under its new number, with what it says of other trials."""
    update: dict[str, object] = {"number": numbers[trial.number]}
    if trial.retry_of is not None:
        update["retry_of"] = numbers.get(trial.retry_of, trial.retry_of)
    if isinstance(trial, TrialRecord) and trial.rescue_of is not None:
        update["rescue_of"] = numbers.get(trial.rescue_of, trial.rescue_of)
    return trial.model_copy(update=update)


def with_trials(document: Other, numbers: Mapping[int, int]) -> Other:
    """The same with the new numbers of the trials that it names."""
    if isinstance(document, HoldoutUse):
        moved = numbers.get(document.trial) if document.trial is not None else None
        return document if moved is None else document.model_copy(update={"trial": moved})
    update: dict[str, object] = {}
    if document.incumbent_trial in numbers:
        update["incumbent_trial"] = numbers[document.incumbent_trial]
    if isinstance(document, ConsolidationRecord):
        changes = tuple(
            each.model_copy(update={"trial": numbers.get(each.trial, each.trial)})
            for each in document.changes
        )
        if changes != document.changes:
            update["changes"] = changes
    return document.model_copy(update=update) if update else document


def is_one_thing(one: Frozen, other: Frozen) -> bool:
    """Whether two copies are of one confirmation or consolidation, at different moments."""
    names = ("incumbent_commit", "session", "started_at")
    if isinstance(one, HoldoutUse):
        return one == other
    return all(getattr(one, name) == getattr(other, name) for name in names)


def inner_tag(tag: bytes) -> Iterable[str]:
    """The tag that a tag stands on, if it stands on one."""
    header = tag.split(b"\n", 2)
    if header[1] == b"type tag":
        yield header[0].removeprefix(b"object ").decode()
