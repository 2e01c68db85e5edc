"""A machine whose speed wanders, and what that makes of a study's noise.

Contention (``contention``) is a training that stands out. On a machine that is shared
with other people perhaps none does, since all differ: then the speed is a part of every score, the
noise is wide with it, and hides real gains. Counting tokens takes it out; this says when to.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import correlation, fmean, median

from nightlab.judging.scores import counted, measure_noise, unselected_trainings
from nightlab.records import Replicate, TrialRecord

LEAST_TRAININGS = 8
"""Below so many, scores follow speeds by chance: of eight that do not, half of the variance is
shared in one study of forty."""
LEAST_SHARE = 0.5
"""Of the scores' variance that goes with speed, from which on it is worth telling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wandering:
    """How fast one code trained, and how its scores went with that."""

    slowest: float
    """Tokens per second, of the code that was trained most."""
    fastest: float
    score_share: float
    """Of the variance of scores of identical code, what goes with the speed; 0 to 1."""
    noise_bpb: float
    """Standard deviation of one training's score, speed included."""
    tokens: int
    """What one training sees, mostly."""

    @property
    def own_noise_bpb(self) -> float:
        """What would be left of the noise on a machine of one speed."""
        return self.noise_bpb * math.sqrt(1 - self.score_share)


def find_wandering(records: Sequence[TrialRecord]) -> Wandering | None:
    """How the machine's speed entered a study's scores.

    Scores and the logarithms of speeds are compared within each code, and trainings of all codes
    pooled: the share is the squared correlation of what is left.

    Args:
        records: the study's, in order.

    Returns:
        None where it did not, or too few trainings can tell, or the study counts tokens.
    """
    noise = measure_noise(records)
    if noise is None or any(record.budget_tokens is not None for record in records):
        return None
    groups = [_with_rates(group) for group in unselected_trainings(records)]
    groups = [group for group in groups if len(group) > 1]
    scores = [each for group in groups for each in _centred([score for score, _, _ in group])]
    speeds = [
        each for group in groups for each in _centred([math.log(rate) for _, rate, _ in group])
    ]
    if len(scores) < LEAST_TRAININGS or not any(scores) or not any(speeds):
        return None
    together = correlation(speeds, scores)
    if together >= 0 or together**2 < LEAST_SHARE:
        return None
    most = max(groups, key=len)
    rates = [rate for _, rate, _ in most]
    return Wandering(
        slowest=min(rates),
        fastest=max(rates),
        score_share=min(1.0, together**2),
        noise_bpb=noise.sigma_bpb,
        tokens=round(median(tokens for _, _, tokens in most)),
    )


def wandering_sentence(records: Sequence[TrialRecord]) -> str | None:
    """What to tell people of it, and the setting that mends it; None if nothing is to be told."""
    found = find_wandering(records)
    if found is None:
        return None
    return (
        f"The machine's speed varied: identical code trained at {found.slowest:,.0f} to "
        f"{found.fastest:,.0f} tokens per second, and {found.score_share:.0%} of the variance of "
        f"its scores goes with that. The noise of one training is ±{found.noise_bpb:.4f} bpb, and "
        f"would be about ±{found.own_noise_bpb:.4f} without it; gains below that are hard to find. "
        "On this machine, begin a study that counts tokens: --budget-tokens "
        f"{_two_digits(found.tokens)}."
    )


def _with_rates(group: Sequence[Replicate]) -> list[tuple[float, float, int]]:
    """Score, tokens per second and tokens of the trainings that count, where all are known."""
    return [
        (each.val_bpb, each.training.tokens_per_second, each.training.num_tokens)
        for each in counted(group)
        if each.val_bpb is not None and each.training.tokens_per_second and each.training.num_tokens
    ]


def _centred(values: Sequence[float]) -> list[float]:
    mean = fmean(values)
    return [value - mean for value in values]


def _two_digits(number: int) -> int:
    """A number rounded to two significant digits: no one measured it closer."""
    return int(float(f"{number:.1e}"))
