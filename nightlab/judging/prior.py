"""What is believed of an idea's effect before it is trained.

Most ideas hurt, many do nothing, a few help much: a Student distribution with two degrees of
freedom, whose heavy tails let a large gain be believed at once. Effects are gains in units of the
standard deviation of one pair; positive is better. It is the same in every study: one that is
fitted to the study's own ideas found less (docs/decisions/0017-pairs.md).
"""

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

LOCATION = -1.0
SCALE = 1.2
FREEDOM = 2.0


def _prior() -> Array:
    squared = ((GRID - LOCATION) / SCALE) ** 2
    mass = (1 + squared / FREEDOM) ** (-(FREEDOM + 1) / 2) * np.diff(EDGES)
    return np.asarray(mass / mass.sum())


PRIOR: Array = _prior()
"""Probability of each effect of the grid; sums to 1."""
