"""What pairs say of a candidate: how likely it is better, by how much, and what more would tell.

All in units of the standard deviation of one pair; positive gains are better.
"""

import math
from dataclasses import dataclass

import numpy as np

from nightlab.judging.prior import EDGES, GRID, IS_BETTER, PRIOR, Array

INTERVAL = (0.025, 0.975)
OUTCOMES: Array = np.linspace(-6, 6, 97)
"""Of a further pair, as they are weighed: beyond these none changes a verdict."""
_CHANCES: Array = np.exp(-((OUTCOMES[:, None] - GRID) ** 2) / 2) * (
    (OUTCOMES[1] - OUTCOMES[0]) / math.sqrt(2 * math.pi)
)
"""Of each outcome, a row each, at each effect of the grid."""


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
        low, high = np.interp(INTERVAL, self._below_edges, EDGES)
        return float(low), float(high)

    def is_kept(self, keep_probability: float) -> bool:
        """Whether this suffices for a keep."""
        return self.better >= keep_probability and self.gain > 0

    def above(self, effect: float) -> float:
        """Probability that the gain is more than ``effect``."""
        return 1 - float(np.interp(effect, EDGES, self._below_edges))

    @property
    def _below_edges(self) -> Array:
        return np.concatenate(([0.0], np.cumsum(self.mass)))


def believe(gain: float, pairs: int, freedom: float) -> Belief:
    """What is believed after a candidate's pairs: Student's t, as their noise is estimated.

    Args:
        gain: mean over its pairs, finite.
        pairs: how many; with none the prior is believed.
        freedom: degrees of freedom of the estimate of the noise.
    """
    # What is beyond the grid would be equally unlikely everywhere on it.
    squared = pairs * (np.clip(gain, GRID[0], GRID[-1]) - GRID) ** 2
    mass = PRIOR * np.exp(-(freedom + 1) / 2 * np.log1p(squared / freedom))
    return Belief(mass / mass.sum())


def worth_of_pair(belief: Belief, keep_probability: float) -> float:
    """How much one more pair is expected to add to what the decision gains.

    The decision gains the expected gain of what is kept, and nothing of what is not (the value of
    sample information: Raiffa and Schlaifer, "Applied Statistical Decision Theory", 1961). So
    the pair is worth what those of its outcomes bring that would change the verdict. It may be
    negative: an outcome may take a good candidate's probability below ``keep_probability``.
    """
    columns = np.stack([belief.mass, belief.mass * IS_BETTER, belief.mass * GRID], axis=1)
    chances, better, gains = (_CHANCES @ columns).T
    kept = (better >= keep_probability * chances) & (gains > 0)
    if belief.is_kept(keep_probability):
        return -float(gains[~kept].sum())
    return float(gains[kept].sum())
