"""A study at a glance, for ``nightlab studies`` and ``show``."""

from datetime import datetime

from nightlab.judging.scores import expected_false_keeps, find_baseline, standing_record
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
    """Mean score of the baseline's own trainings."""
    incumbent_bpb: float | None
    """The baseline's, and the differences that the pairs of the kept changes showed."""
    expected_false_keeps: float
    """How many of the kept improvements are to be expected to be none."""
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
        baseline_bpb=baseline.val_bpb if baseline else None,
        incumbent_bpb=standing.val_bpb if standing else None,
        expected_false_keeps=expected_false_keeps(records),
        incumbent_trial=standing.number if standing else None,
        incumbent_commit=incumbent,
        started_at=min((record.started_at for record in records), default=None),
        finished_at=max((record.finished_at for record in records), default=None),
        inflight=tuple(mark.number for mark in ledger.marks()),
    )


def answer_names(ledger: Ledger, number: int) -> tuple[str, ...]:
    """Names for ``git show`` of what models or agents said in a recorded trial, in order."""
    ref = ledger.refs.evidence(number)
    if ledger.plumbing.resolve(ref) is None:
        return ()
    names = ledger.plumbing.run("ls-tree", "-z", "--name-only", ref).decode().split("\0")
    found = [name for name in names if name.startswith("answer-")]
    return tuple(f"{ref}:{name}" for name in sorted(found, key=lambda name: (len(name), name)))
