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


UNREADABLE_TRITON = """\
Traceback (most recent call last):
  File "/nightlab/candidate/train.py", line 600, in train
  File "/nightlab/packages/torch/optim/adamw.py", line 40, in __init__
  File "/nightlab/packages/triton/__init__.py", line 72, in <module>
  File "/nightlab/packages/triton/runtime/jit.py", line 464, in __init__
ValueError: @jit functions should be defined in a Python file
"""
"""How trainings ended wherever pip had taken the build of torch for CUDA, in version 0.1."""


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
