"""Records that tests of several modules need."""

from datetime import UTC, datetime, timedelta

from nightlab.records import (
    Confinement,
    Decision,
    Evaluation,
    Pair,
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
    incumbent: tuple[float, ...] = (),
) -> TrialRecord:
    """A record with one replicate a score, and a pair for each score of the incumbent's."""
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
        decision=sample_decision(verdict, reason, replicates, incumbent),
        val_bpb=sum(scores) / len(scores) if scores else None,
        replicates=replicates,
        confinement=Confinement(rung="1", name="bubblewrap"),
        session=session,
        started_at=began,
        finished_at=began + timedelta(seconds=30),
    )
    cost = record.cost.model_copy(update={"cost_usd": cost_usd})
    return record.model_copy(update={"cost": cost})


def sample_decision(
    verdict: Verdict,
    reason: Reason,
    replicates: tuple[Replicate, ...],
    incumbent: tuple[float, ...],
) -> Decision:
    """A decision on pairs of the replicates with the incumbent's scores; without any, on none."""
    bare = Decision(verdict=verdict, reason=reason, sentence="Said.")
    pairs = tuple(
        Pair(seed=each.seed, candidate_bpb=each.val_bpb or 0.0, incumbent_bpb=score)
        for each, score in zip(replicates, incumbent, strict=False)
    )
    if not pairs:
        return bare
    difference = sum(pair.difference_bpb for pair in pairs) / len(pairs)
    found = {
        "difference_bpb": difference,
        "interval_bpb": (difference - 0.01, difference + 0.01),
        "noise_bpb": 0.005,
        "probability_better": 0.9 if difference < 0 else 0.1,
        "expected_gain_bpb": -0.75 * difference,
        "pairs": pairs,
    }
    return bare.model_copy(update=found)
