"""A study at a glance, for ``nightlab studies`` and ``show``."""

from datetime import datetime

from nightlab.judging.scores import evidence_bpb, find_baseline, standing_record
from nightlab.ledger.store import Ledger
from nightlab.records import Frozen, Verdict


class StudySummary(Frozen):
    """What stands in a study's ledger."""

    study: str
    branch: str
    trials: int
    """Recorded trials, the baseline among them."""
    verdicts: dict[Verdict, int]
    """How many trials have each verdict; all verdicts stand in it."""
    baseline_bpb: float | None
    """Mean score of the baseline, by all its trainings: later trials add some."""
    incumbent_bpb: float | None
    """The incumbent's, likewise."""
    incumbent_trial: int | None
    incumbent_commit: str
    started_at: datetime | None
    finished_at: datetime | None
    """End of the trial that ended last."""
    inflight: tuple[int, ...]
    """Numbers of the trials that have no record yet."""


def study_summary(ledger: Ledger) -> StudySummary:
    """Summarise a study.

    Raises:
        LedgerError: the study has not begun, or a record is unreadable.
    """
    incumbent = ledger.incumbent()
    records = ledger.records()
    baseline, standing = find_baseline(records), standing_record(records)
    return StudySummary(
        study=ledger.study,
        branch=ledger.branch,
        trials=len(records),
        verdicts={v: sum(record.verdict is v for record in records) for v in Verdict},
        baseline_bpb=evidence_bpb(records, baseline.commit) if baseline else None,
        incumbent_bpb=evidence_bpb(records, standing.commit) if standing else None,
        incumbent_trial=standing.number if standing else None,
        incumbent_commit=incumbent,
        started_at=min((record.started_at for record in records), default=None),
        finished_at=max((record.finished_at for record in records), default=None),
        inflight=tuple(mark.number for mark in ledger.marks()),
    )
