"""What is believed of an idea's effect before it is trained, and learnt from the study's ideas.

Most ideas hurt, many do nothing, a few help much: a Student distribution with two degrees of
freedom, whose heavy tails let a large gain be believed at once. Where its middle lies and how
wide it is differs by target and by proposer, so several are held side by side, and each trial
of the study shifts the weight to those that foresaw it (a finite mixture over hyperparameters;
Gelman et al., "Bayesian Data Analysis", 2013, chapter 5). Effects are gains in units of the
standard deviation of one pair; positive is better.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Fine near zero, where verdicts are made, and wide enough for losses of hundreds of units.
GRID: Array = 2 * np.sinh(np.linspace(-6.25, 6.25, 301))
"""Effects that are told apart."""
EDGES: Array = np.concatenate(([GRID[0]], (GRID[1:] + GRID[:-1]) / 2, [GRID[-1]]))
"""Where the cells around them end."""
# The cell at zero lies half on either side.
IS_BETTER: Array = np.where(np.abs(GRID) < 1e-9, 0.5, GRID > 0)
"""How much of each cell is a gain."""

LOCATIONS = (-2.0, -1.0, -0.5, 0.0)
SCALES = (0.15, 0.5, 1.2, 3.0, 8.0)
FREEDOM = 2.0
FIRST_WEIGHTS = {0.15: 0.5, 0.5: 1.0, 1.2: 2.0, 3.0: 1.5, 8.0: 0.5}
"""How likely each scale is held to be at first; the locations are held equally likely."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What pairs said of one idea, in units of the standard deviation of one pair."""

    gain: float
    """Mean over its pairs."""
    pairs: float
    """How many usual ones they weigh as; a part of one where there is but a forecast."""


def likelihood(findings: Sequence[Finding], freedom: float) -> Array:
    """How likely each finding is, a row each, at each effect of the grid; 1 at the likeliest.

    Student's t, as sigma is estimated.

    Args:
        findings: of ideas; their gains are finite.
        freedom: degrees of freedom of the estimate of sigma.
    """
    gains = np.array([each.gain for each in findings]).reshape(-1, 1)
    pairs = np.array([each.pairs for each in findings]).reshape(-1, 1)
    squared = pairs * (gains - GRID) ** 2
    logarithms = -(freedom + 1) / 2 * np.log1p(squared / freedom)
    # Relative to the likeliest effect: what is far beyond the grid would be nothing everywhere.
    return np.asarray(np.exp(logarithms - logarithms.max(axis=1, keepdims=True)))


def prior_of(findings: Sequence[Finding], freedom: float) -> Array:
    """Probability of each effect of the grid for the study's next idea; sums to 1.

    Args:
        findings: of the study's ideas so far.
        freedom: degrees of freedom of the estimate of sigma.
    """
    components, first = _components()
    foreseen = likelihood(findings, freedom) @ components.T
    weights = np.log(first) + np.log(foreseen + 1e-300).sum(axis=0)
    mixed = np.exp(weights - weights.max()) @ components
    return np.asarray(mixed / mixed.sum())


@cache
def _components() -> tuple[Array, Array]:
    """The distributions that are held side by side, a row each, and their first weights."""
    rows, weights = [], []
    for location in LOCATIONS:
        for scale in SCALES:
            density = (1 + ((GRID - location) / scale) ** 2 / FREEDOM) ** (-(FREEDOM + 1) / 2)
            mass = density * np.diff(EDGES)
            rows.append(mass / mass.sum())
            weights.append(FIRST_WEIGHTS[scale])
    return np.stack(rows), np.asarray(weights) / sum(weights)
