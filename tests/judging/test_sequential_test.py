"""The evidence against the noncentral t distribution, and against luck."""

import math
import random

import pytest
from scipy import stats

from nightlab.judging.sequential_test import Comparison, likelihood_ratio, quantiles


@pytest.mark.parametrize("degrees", [2, 4, 14, 40])
@pytest.mark.parametrize("statistic", [0.5, 2.0, 5.0, 20.0, 1000.0])
@pytest.mark.parametrize("shift", [1.0, 3.0, 6.0])
def test_the_ratio_is_that_of_the_densities(degrees, statistic, shift):
    ratio = likelihood_ratio(statistic, degrees, shift)
    logs = stats.nct.logpdf(statistic, degrees, shift) - stats.t.logpdf(statistic, degrees)
    assert ratio == pytest.approx(math.exp(logs), rel=1e-5)


def test_scores_that_all_agree_say_all_that_few_of_them_can():
    sure = likelihood_ratio(math.inf, 2, 3.0)
    assert sure == pytest.approx(likelihood_ratio(1e9, 2, 3.0))
    assert likelihood_ratio(-math.inf, 2, 3.0) == pytest.approx(math.exp(-4.5))


# What verdicts rested on before scipy: the row at or below the degrees of freedom was used.
TABLE = {
    1: (12.706, 6.314),
    2: (4.303, 2.920),
    3: (3.182, 2.353),
    4: (2.776, 2.132),
    5: (2.571, 2.015),
    6: (2.447, 1.943),
    8: (2.306, 1.860),
    10: (2.228, 1.812),
    15: (2.131, 1.753),
    20: (2.086, 1.725),
    30: (2.042, 1.697),
    60: (2.000, 1.671),
    120: (1.980, 1.658),
}


def test_the_quantiles_are_those_of_a_printed_table():
    for degrees, row in TABLE.items():
        assert quantiles(degrees) == pytest.approx(row, abs=6e-4)


def test_between_the_rows_of_the_table_quantiles_are_a_little_lower():
    for degrees in range(1, 1000):
        row = TABLE[max(each for each in TABLE if each <= degrees)]
        for found, before in zip(quantiles(degrees), row, strict=True):
            assert 0.96 * before < found < before + 6e-4


def comparison(gain: float, sigma: float = 1.0, count: int = 4, degrees: int = 6) -> Comparison:
    return Comparison(
        gain=gain,
        sigma=sigma,
        degrees_of_freedom=degrees,
        candidate_count=count,
        incumbent_count=count,
    )


def test_more_gain_and_more_replicates_are_more_evidence():
    assert comparison(1.0).evidence() < comparison(2.0).evidence() < comparison(4.0).evidence()
    assert comparison(2.0).evidence() < comparison(2.0, count=8, degrees=14).evidence()
    assert comparison(-2.0).evidence() < 1
    low, high = comparison(2.0).interval
    assert low < 2.0 < high
    assert high - 2.0 == pytest.approx(stats.t.ppf(0.975, 6) * math.sqrt(0.5), rel=1e-3)


def test_without_any_noise_identical_scores_show_nothing():
    assert comparison(0.0, sigma=0.0).evidence() < 1
    assert comparison(0.0, sigma=0.0).gain_in_sigmas == 0


def test_between_equal_codes_it_seldom_ever_reaches_what_a_keep_needs():
    """Ville's inequality: 1/alpha with probability alpha at most, however often one looks."""
    draw, alpha, studies, crossed = random.Random(0), 0.05, 1000, 0
    for _ in range(studies):
        one, other = [draw.gauss(0, 1)], [draw.gauss(0, 1) for _ in range(3)]
        for _ in range(8):
            one.append(draw.gauss(0, 1))
            squares = sum(stats.tvar(each) * (len(each) - 1) for each in (one, other))
            degrees = len(one) + len(other) - 2
            seen = Comparison(
                gain=sum(other) / len(other) - sum(one) / len(one),
                sigma=math.sqrt(squares / degrees),
                degrees_of_freedom=degrees,
                candidate_count=len(one),
                incumbent_count=len(other),
            )
            if seen.evidence() >= 1 / alpha:
                crossed += 1
                break
    assert crossed / studies <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / studies)
    assert crossed > 0
