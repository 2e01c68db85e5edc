"""Cases of scores for the tests of the decision."""

from nightlab.judging.case import Case, Learnt
from nightlab.judging.decision import Wanted
from nightlab.records import Decision, Evaluation, Reason, Replicate, TrainingResult

NOISE_BPB = 0.006
"""Standard deviation of a pair's difference that is usual with the sizes of the cases."""
SEEDS = tuple(range(16))
STANDING = (2.0, 2.01, 1.99, 2.005, 1.995, 2.0, 2.002, 1.998)
"""Scores of the incumbent, by seed."""


def replicate(val_bpb: float | None, seed: int = 1, place: str = "here") -> Replicate:
    return Replicate(
        seed=seed, training=TrainingResult(), evaluation=Evaluation(val_bpb=val_bpb), place=place
    )


def case(*gains: float, banked: int = len(STANDING), **more: object) -> Case:
    """A case of pairs by what the candidate gains in each; ``banked`` twins stand ready."""
    values: dict[str, object] = {
        "candidate": [
            replicate(STANDING[seed] - gain, seed) for seed, gain in zip(SEEDS, gains, strict=False)
        ],
        "bank": {seed: replicate(STANDING[seed], seed) for seed in SEEDS[:banked]},
        "seeds": SEEDS,
        "learnt": Learnt(),
        "preset_noise_bpb": NOISE_BPB,
        "keep_probability": 0.9,
    }
    return Case(**(values | more))  # type: ignore[arg-type]


def verdict(judged: Decision | tuple[Wanted, ...]) -> Reason:
    assert isinstance(judged, Decision), judged
    return judged.reason
