"""Records that tests of several modules need."""

from datetime import UTC, datetime, timedelta

from nightlab.records import (
    Confinement,
    Decision,
    Evaluation,
    Reason,
    Replicate,
    TrainingResult,
    TrialRecord,
    Verdict,
)

BEGAN = datetime(2026, 1, 2, 1, 0, tzinfo=UTC)


def sample_record(
    number: int,
    *,
    scores: tuple[float, ...] = (),
    verdict: Verdict = Verdict.DISCARD,
    reason: Reason = Reason.WITHIN_NOISE,
    session: str = "s",
    cost_usd: float | None = None,
) -> TrialRecord:
    """A record with one replicate a score."""
    replicates = tuple(
        Replicate(
            seed=number * 100 + index,
            training=TrainingResult(training_seconds=20.0),
            evaluation=Evaluation(val_bpb=score),
        )
        for index, score in enumerate(scores)
    )
    began = BEGAN + timedelta(minutes=number)
    record = TrialRecord(
        study="sample",
        number=number,
        parent="a" * 40,
        commit=f"{number:040x}",
        title=f"idea {number}",
        proposer="knobs",
        decision=Decision(verdict=verdict, reason=reason, sentence="Said."),
        val_bpb=sum(scores) / len(scores) if scores else None,
        replicates=replicates,
        confinement=Confinement(rung="1", name="bubblewrap"),
        session=session,
        started_at=began,
        finished_at=began + timedelta(seconds=30),
    )
    cost = record.cost.model_copy(update={"cost_usd": cost_usd})
    return record.model_copy(update={"cost": cost})
