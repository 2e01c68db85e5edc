"""Verdicts in words."""

import pytest

from nightlab.judging.verdict_sentence import percent, verdict_sentence
from nightlab.records import Pair, Reason

PAIRS = tuple(Pair(seed=seed, candidate_bpb=1.9, incumbent_bpb=1.95) for seed in range(3))


@pytest.mark.parametrize(
    ("chance", "said"),
    [
        (0.9999, "over 99.9 %"),
        (1.0, "over 99.9 %"),
        (0.999, "99.9 %"),
        (0.995, "99.5 %"),
        (0.99, "99 %"),
        (0.854, "85 %"),
        (0.5, "50 %"),
        (0.01, "1 %"),
        (0.0049, "0.5 %"),
        (0.001, "0.1 %"),
        (0.0009, "below 0.1 %"),
        (0.0, "below 0.1 %"),
    ],
)
def test_a_chance_is_never_a_certainty(chance: float, said: str) -> None:
    assert percent(chance) == said


def test_an_improvement_is_said() -> None:
    assert verdict_sentence(Reason.IMPROVED, PAIRS, -0.05, (-0.07, -0.01), 0.97) == (
        "Kept: better by 0.0500 bpb in 3 pairs of trainings with the same seed "
        "(95 % interval of the gain +0.0100 to +0.0700); the chance that it is better is 97 %."
    )


def test_simpler_code_is_said() -> None:
    assert verdict_sentence(Reason.SIMPLER, PAIRS, 0.001, (-0.004, 0.006), 0.4, 0.93) == (
        "Kept as simpler: clearly less code, and worse by 0.0010 bpb in 3 pairs of trainings with "
        "the same seed (95 % interval of the gain -0.0060 to +0.0040); the chance that it is no "
        "worse, within noise, is 93 %."
    )


@pytest.mark.parametrize("reason", [Reason.WITHIN_NOISE, Reason.REGRESSION])
def test_a_discard_is_said(reason: Reason) -> None:
    assert verdict_sentence(reason, PAIRS[:1], 0.02, (-0.001, 0.03), 0.06) == (
        "Discarded: worse by 0.0200 bpb in 1 pair of trainings with the same seed "
        "(95 % interval of the gain -0.0300 to +0.0010); the chance that it is better is 6 %."
    )
