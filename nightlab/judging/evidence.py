"""What pairs say of a candidate: how likely it is better, by how much, and what more would tell.

All in units of the standard deviation of one pair; positive gains are better.
"""

import math
from dataclasses import dataclass

import numpy as np

from nightlab.judging.prior import GRID, IS_BETTER, Array, Finding, likelihood

INTERVAL = (0.025, 0.975)
NODES = 48
"""Outcomes of further pairs that are weighed."""


@dataclass(frozen=True, slots=True)
class Belief:
    """The effect of one candidate, as it is believed."""

    mass: Array
    """Probability of each effect of ``prior.GRID``."""

    @property
    def better(self) -> float:
        """Probability that the candidate is better."""
        return float(self.mass @ IS_BETTER)

    @property
    def gain(self) -> float:
        """Expected gain."""
        return float(self.mass @ GRID)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % credible interval of the gain."""
        low, high = np.interp(INTERVAL, np.cumsum(self.mass), GRID)
        return float(low), float(high)

    def above(self, effect: float) -> float:
        """Probability that the gain is at least ``effect``."""
        return float(self.mass[effect <= GRID].sum())


def believe(prior: Array, finding: Finding | None, freedom: float) -> Belief:
    """What is believed after a candidate's pairs; None where it has none yet."""
    if finding is None:
        return Belief(prior)
    mass = prior * likelihood(finding, freedom)
    return Belief(mass / mass.sum())


def worth_of_pairs(belief: Belief, count: int, keep_probability: float) -> float:
    """How much ``count`` more pairs are expected to add to what the decision gains.

    The decision gains the expected gain of what is kept, and nothing of what is not (the value of
    sample information: Raiffa and Schlaifer, "Applied Statistical Decision Theory", 1961).
    Never negative, but for rounding.
    """
    now = belief.gain if belief.better >= keep_probability else 0.0
    spread = 1 / math.sqrt(count)
    low, high = np.interp((1e-4, 1 - 1e-4), np.cumsum(belief.mass), GRID)
    outcomes = np.linspace(low - 4 * spread, high + 4 * spread, NODES)
    chances = np.exp(-(((outcomes[:, None] - GRID) / spread) ** 2) / 2) * belief.mass
    totals = chances.sum(axis=1)
    weights = totals / totals.sum()
    posterior = chances / np.maximum(totals, 1e-300)[:, None]
    kept = posterior @ IS_BETTER >= keep_probability
    return float(weights @ np.where(kept, posterior @ GRID, 0.0)) - now
