"""Evidence that one code is better than another, valid whenever one stops to look.

The statistic is the sequential t-test in its invariant form (Rushton, "On a sequential
t-test", Biometrika 1950). With T the two-sample t statistic of the scores so far, nu its
degrees of freedom and

    shift = effect / sqrt(1/n_candidate + 1/n_incumbent)

the evidence is the density of T if the candidate is better by ``effect`` standard deviations
(noncentral t) over its density if the two are equal (central t). T holds all that the
scores say once location and scale are set aside (Hall, Wijsman and Ghosh, "The relationship
between sufficiency and invariance", Annals of Mathematical Statistics 1965), so between equal
codes the evidence is a nonnegative martingale of mean one, and by Ville's inequality it
ever reaches 1/alpha with probability alpha at most: however often one looks, and whatever
rule ends the trial (Hendriksen, de Heide and Grünwald, "Optional stopping with Bayes
factors", Bayesian Analysis 2021). A mixture over several effects keeps the property.
"""

import math
from dataclasses import dataclass

from scipy.special import stdtrit

EFFECTS = {2.0: 0.9, 6.0: 0.1}
"""Gains, in standard deviations of one training, that the evidence is sharpest for, with their
weights: the second one lets large gains be kept while little is known of the noise."""

_NEGLIGIBLE = -40.0
"""Natural logarithm of a term, relative to the largest, that adds nothing to the sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two codes' scores, compared. Bits per byte; a positive gain is better."""

    gain: float
    """Incumbent's mean less the candidate's."""
    sigma: float
    """Standard deviation of one training's score."""
    degrees_of_freedom: int
    candidate_count: int
    incumbent_count: int

    @property
    def spread(self) -> float:
        """Standard error of the gain in units of sigma."""
        return math.sqrt(1 / self.candidate_count + 1 / self.incumbent_count)

    @property
    def standard_error(self) -> float:
        """Of the gain."""
        return self.sigma * self.spread

    @property
    def gain_in_sigmas(self) -> float:
        """The gain in standard deviations of one training."""
        return _ratio(self.gain, self.sigma)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the gain."""
        half = quantiles(self.degrees_of_freedom)[0] * self.standard_error
        return self.gain - half, self.gain + half

    @property
    def noise(self) -> float:
        """What a gain or a loss exceeds by chance once in twenty times."""
        return quantiles(self.degrees_of_freedom)[1] * self.standard_error

    def evidence(self) -> float:
        """How many times likelier these scores are if the candidate is better than if not."""
        statistic = _ratio(self.gain, self.standard_error)
        return math.fsum(
            weight * likelihood_ratio(statistic, self.degrees_of_freedom, effect / self.spread)
            for effect, weight in EFFECTS.items()
        )


def quantiles(degrees_of_freedom: int) -> tuple[float, float]:
    """Two-sided and one-sided 95 % quantiles of Student's t."""
    return float(stdtrit(degrees_of_freedom, 0.975)), float(stdtrit(degrees_of_freedom, 0.95))


def likelihood_ratio(statistic: float, degrees_of_freedom: int, shift: float) -> float:
    """Density of noncentral t over density of central t, at ``statistic``.

    Below zero the ratio is less than exp(-shift²/2), and that bound is given: nothing
    rests on evidence that small. The series is that of the noncentral t density (Johnson,
    Kotz and Balakrishnan, Continuous Univariate Distributions 2, 1995, chapter 31).
    """
    start = -(shift**2) / 2
    if statistic <= 0:
        return math.exp(start)
    argument = shift * math.sqrt(2 / (degrees_of_freedom / statistic**2 + 1))
    half = (degrees_of_freedom + 1) / 2
    base, step = math.lgamma(half), math.log(argument)
    # The terms rise to one top and fall: sum outward from j = 0 until they no longer matter.
    top, terms, count = -math.inf, [], 0
    while True:
        term = math.lgamma(half + count / 2) - base + count * step - math.lgamma(count + 1)
        terms.append(term)
        top = max(top, term)
        if term < top + _NEGLIGIBLE:
            break
        count += 1
    total = math.fsum(math.exp(term - top) for term in terms)
    return math.exp(min(700.0, start + top + math.log(total)))


def _ratio(value: float, unit: float) -> float:
    # Scores without any spread (a trainer that does nothing) leave nothing to divide by.
    return value / unit if unit > 0 else math.copysign(math.inf, value) if value else 0.0
