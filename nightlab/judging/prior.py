"""What is believed of an idea's effect before it is trained, and learnt from the study's ideas.

Most ideas hurt, many do nothing, a few help much: a Student distribution with two degrees of
freedom, whose heavy tails let a large gain be believed at once. Where its middle lies and how
wide it is differs by target and by proposer, so several are held side by side, and each trial
of the study shifts the weight to those that foresaw it (a finite mixture over hyperparameters;
Gelman et al., "Bayesian Data Analysis", 2013, chapter 5). Effects are gains in units of the
standard deviation of one pair; positive is better.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_REACH = 7.0
# Fine near zero, where verdicts are made, and wide enough for gains of many hundred units.
GRID: Array = np.sinh(np.linspace(-_REACH, _REACH, 561))
"""Effects that are told apart."""
_WIDTHS: Array = np.gradient(GRID)
IS_BETTER: Array = np.where(GRID > 1e-9, 1.0, np.where(GRID < -1e-9, 0.0, 0.5))
"""How much of each cell of the grid is a gain: the cell at zero lies half on either side."""

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
    """How many; a part of one where all that is known is a forecast."""


def likelihood(finding: Finding, freedom: float) -> Array:
    """How likely the finding is at each effect of the grid: Student's t, as sigma is estimated.

    Args:
        finding: of an idea; its gain is finite.
        freedom: degrees of freedom of the estimate of sigma.
    """
    distance = (finding.gain - GRID) * math.sqrt(finding.pairs)
    return np.asarray((1 + distance**2 / freedom) ** (-(freedom + 1) / 2))


def prior_of(findings: Sequence[Finding], freedom: float) -> Array:
    """Probability of each effect of the grid for the study's next idea; sums to 1.

    Args:
        findings: of the study's ideas so far.
        freedom: degrees of freedom of the estimate of sigma.
    """
    components, first = _components()
    weights = np.log(first)
    if findings:
        seen = np.stack([likelihood(each, freedom) for each in findings])
        weights = weights + np.log(seen @ components.T + 1e-300).sum(axis=0)
    mixed = np.exp(weights - weights.max()) @ components
    return np.asarray(mixed / mixed.sum())


def _components() -> tuple[Array, Array]:
    """The distributions that are held side by side, a row each, and their first weights."""
    rows, weights = [], []
    for location in LOCATIONS:
        for scale in SCALES:
            density = (1 + ((GRID - location) / scale) ** 2 / FREEDOM) ** (-(FREEDOM + 1) / 2)
            mass = density * _WIDTHS
            rows.append(mass / mass.sum())
            weights.append(FIRST_WEIGHTS[scale])
    return np.stack(rows), np.asarray(weights) / sum(weights)
