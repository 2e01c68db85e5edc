"""Is the mean of some differences above zero? An answer that holds however often one looks.

The statistic is the Bayes factor of a normal mean under a normal prior against mean zero,
with the variance estimated by Student's t: with n differences of mean m, a standard deviation s
of one difference with nu degrees of freedom, and t = m sqrt(n) / s,

    e = (1 + n r)^(-1/2) * ((1 + t^2/nu) / (1 + t^2/(nu (1 + n r))))^((nu + 1)/2)

where sqrt(r) s is the size of the means that it is sharpest for. Where there is nothing to
find it is a nonnegative martingale of mean one, so it ever reaches 1/alpha with probability
alpha at most (Ville's inequality), whatever makes one stop: who goes on until it does has
no second chance by that. Means for which it stays below 1/alpha make an interval that is valid at
every look (Robbins, "Statistical methods related to the law of the iterated logarithm", Annals
of Mathematical Statistics 1970; for Student's t: Lai, "On confidence sequences", Annals of
Statistics 1976; Grünwald, de Heide and Koolen, "Safe testing", JRSS B 2024).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

ALPHA = 0.05
SHARPEST = 2.0
"""The mean that the evidence is sharpest for, in standard deviations of one difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialResult:
    """What the differences so far say of their mean."""

    mean: float
    evidence: float
    """The e-value against a mean of zero: how many times it speaks for another one."""
    half_width: float
    """Of the interval that holds at every look with a probability of 95 %."""

    @property
    def interval(self) -> tuple[float, float]:
        """The interval."""
        return self.mean - self.half_width, self.mean + self.half_width


def sequential_test(
    differences: Sequence[float], earlier_squares: float, earlier_degrees: int
) -> SequentialResult:
    """Test the mean of differences.

    Args:
        differences: so far, one at least.
        earlier_squares: sum of squares around their means of other differences with the same
            variance, which were seen before.
        earlier_degrees: their degrees of freedom; with those of ``differences`` one at least.

    Raises:
        ValueError: nothing tells the variance.
    """
    count, mean = len(differences), fmean(differences)
    degrees = earlier_degrees + count - 1
    if degrees < 1:
        raise ValueError("one difference alone does not tell how far others would lie from it")
    squares = earlier_squares + math.fsum((each - mean) ** 2 for each in differences)
    deviation = math.sqrt(squares / degrees)
    ratio = 1 + count * SHARPEST**2
    power = (degrees + 1) / 2
    # Solve e = 1/alpha for t; with few degrees of freedom no t is large enough.
    bound = (math.sqrt(ratio) / ALPHA) ** (1 / power)
    reach = math.inf
    if bound < ratio:
        reach = math.sqrt(degrees * (bound - 1) / (1 - bound / ratio))
    if deviation == 0:
        evidence = ratio ** (power - 0.5) if mean else 1 / math.sqrt(ratio)
        return SequentialResult(mean=mean, evidence=evidence, half_width=0.0)
    square = mean**2 * count / deviation**2 / degrees
    growth = math.log1p(square) - math.log1p(square / ratio)
    evidence = math.exp(min(700.0, power * growth - math.log(ratio) / 2))
    return SequentialResult(
        mean=mean, evidence=evidence, half_width=reach * deviation / math.sqrt(count)
    )
