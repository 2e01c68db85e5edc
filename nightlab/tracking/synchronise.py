"""Brings MLflow up to date from git."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Protocol

from nightlab.errors import TrackingError
from nightlab.ledger.confirmations import ConfirmationRecord
from nightlab.ledger.consolidations import ConsolidationRecord
from nightlab.records import Evidence, Frozen, TrialRecord
from nightlab.tracking.confirmations import NUMBER_TAG, describe_confirmation
from nightlab.tracking.connection import (
    cause,
    failures,
    import_mlflow,
    is_refusal,
    shown_address,
)
from nightlab.tracking.consolidations import CONSOLIDATION_TAG, describe_consolidation
from nightlab.tracking.content import describe_trial
from nightlab.tracking.failures import explain
from nightlab.tracking.origin import Origin
from nightlab.tracking.pairs import incumbent_of
from nightlab.tracking.runs import Written
from nightlab.tracking.store import Store, TrialRuns
from nightlab.tracking.study_run import describe_study


class StudyRecords(Protocol):
    """What is read of a ledger."""

    @property
    def study(self) -> str:
        """The study's name."""

    def records(self) -> tuple[TrialRecord, ...]:
        """All records, in order."""

    def evidence(self, number: int) -> Evidence:
        """What belongs to a trial besides its record."""

    def diff(self, record: TrialRecord) -> str:
        """The candidate's unified diff against its parent."""

    def source(self, commit: str) -> str:
        """The candidate's ``train.py``."""


class SyncResult(Frozen):
    """What a synchronisation did."""

    trials: int
    """Trials in the ledger; MLflow has them all now, but those that it refused."""
    changed: int
    """Trials whose runs were missing, incomplete or wrong."""
    experiment: str
    """MLflow's identifier of the study."""
    refused: tuple[str, ...] = ()
    """What MLflow would not take, a sentence each."""


def synchronise(
    ledger: StudyRecords,
    tracking_uri: str,
    mlruns: Path,
    on_progress: Callable[[int, int], None] | None = None,
    confirmed: Iterable[ConfirmationRecord] = (),
    consolidated: Iterable[ConsolidationRecord] = (),
    gain: str = "",
    origin: Origin | None = None,
    at_work: bool = False,
) -> SyncResult:
    """Create, complete and correct the runs of every record; done twice it changes nothing.

    Args:
        ledger: the study's ledger.
        tracking_uri: MLflow's store.
        mlruns: where a local store keeps its artifacts.
        on_progress: called after each trial with the number done and the number of all.
        confirmed: the study's confirmations; those under way are left out.
        consolidated: its consolidations, likewise.
        gain: what was gained, in a sentence.
        origin: where its code and text come from.
        at_work: whether a session works on the study now: what is open stays so.

    Raises:
        TrackingError: MLflow did not answer, or refused.
    """
    records = ledger.records()
    changed, refused = 0, list[str]()
    import_mlflow()
    try:
        store = Store(tracking_uri, mlruns, ledger.study, origin)
        runs = store.trials()
        origin = origin or Origin()
        dataset = origin.dataset(records[-1]) if records else None
        for done, record in enumerate(records, start=1):
            content = describe_trial(
                record,
                ledger.evidence(record.number),
                ledger.diff(record),
                ledger.source(record.commit),
                incumbent_of(records, record),
                dataset,
            )
            there = runs.get(record.number, TrialRuns())
            write = partial(store.write_trial, content, there)
            changed += _is_taken(write, f"trial {record.number}", refused)
            if on_progress is not None:
                on_progress(done, len(records))
        for confirmation in confirmed:
            if confirmation.finished_at is not None:
                shown = describe_confirmation(confirmation)
                _is_taken(partial(store.write_alone, shown, NUMBER_TAG), "a confirmation", refused)
        for consolidation in consolidated:
            if consolidation.finished_at is not None:
                shown = describe_consolidation(consolidation)
                _is_taken(
                    partial(store.write_alone, shown, CONSOLIDATION_TAG), "a consolidation", refused
                )
        if records:
            store.write_alone(describe_study(records, gain, dataset))
        if not at_work:
            store.close_open({record.number for record in records})
    except failures() as error:
        failure = explain(error, tracking_uri)
        raise TrackingError(
            f"MLflow at {shown_address(tracking_uri)} {failure.what}: {failure.remedy}; then run "
            f"`nightlab sync {ledger.study}` again: git has everything."
        ) from error
    return SyncResult(
        trials=len(records),
        changed=changed,
        experiment=store.experiment_id,
        refused=tuple(refused),
    )


def _is_taken(write: Callable[[], Written], what: str, refused: list[str]) -> bool:
    """Write, and say whether that changed anything; one that MLflow refuses stops no other."""
    try:
        return write().changed
    except failures() as error:
        if not is_refusal(error):
            raise
        refused.append(f"MLflow does not take {what}, so its pages lack it: {cause(error)}")
        return False
