"""The evidence of a confirmation: against brute force, and against luck at every look."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import integrate, stats

from nightlab.judging.case import WEAK_PAIRS, noise_of
from nightlab.judging.sequential_test import ALPHA, SHARPEST, sequential_test

SEQUENCES, LOOKS = 4000, 30
Earlier = Callable[[np.random.Generator], tuple[float, int]]


def by_integration(mean: float, count: int, deviation: float, degrees: int) -> float:
    """The Bayes factor as what it is: the t statistic's density, mixed over effects, by zero's."""
    statistic = mean * math.sqrt(count) / deviation

    def mixed(effect: float) -> float:
        shift = effect * math.sqrt(count)
        likely = (
            stats.nct.pdf(statistic, degrees, shift) if shift else stats.t.pdf(statistic, degrees)
        )
        return float(likely * stats.norm.pdf(effect, scale=SHARPEST))

    middle = mean / deviation
    parts = sorted({-30.0, -1.0, 0.0, 1.0, middle - 1, middle, middle + 1, 30.0})
    total = sum(integrate.quad(mixed, *ends, limit=200)[0] for ends in itertools.pairwise(parts))
    return float(total / stats.t.pdf(statistic, degrees))


@pytest.mark.parametrize("gain", [0.0, 0.3, -0.8, 1.5, 3.0])
@pytest.mark.parametrize(("count", "earlier"), [(2, 4), (3, 4), (5, 0), (6, 20)])
def test_the_evidence_is_the_bayes_factor(gain: float, count: int, earlier: int) -> None:
    spread = np.linspace(-1, 1, count)
    differences = [gain + each for each in spread]
    squares = 1.3 * earlier
    degrees = earlier + count - 1
    deviation = math.sqrt((squares + float((spread**2).sum())) / degrees)
    found = sequential_test(differences, squares, earlier)
    expected = by_integration(gain, count, deviation, degrees)
    assert found.evidence == pytest.approx(expected, rel=1e-3)
    assert found.mean == pytest.approx(gain)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 30])
@pytest.mark.parametrize("earlier", [4, 40])
def test_the_interval_holds_the_means_that_the_evidence_does_not_speak_against(
    count: int, earlier: int
) -> None:
    gains = [0.5 + 0.3 * math.sin(each) for each in range(count)]
    found = sequential_test(gains, 0.2 * earlier, earlier)
    assert found.interval == (found.mean - found.half_width, found.mean + found.half_width)
    for bound in found.interval:
        at_bound = sequential_test([each - bound for each in gains], 0.2 * earlier, earlier)
        assert at_bound.evidence == pytest.approx(1 / ALPHA, rel=1e-6)
    inside = sequential_test([each - found.mean for each in gains], 0.2 * earlier, earlier)
    assert inside.evidence < 1


def test_more_gain_and_more_pairs_are_more_evidence_and_its_sign_does_not_matter() -> None:
    def evidence(gain: float, count: int = 4) -> float:
        return sequential_test([gain] * count, 8.0, 8).evidence

    assert evidence(0.5) < evidence(1.0) < evidence(3.0) < evidence(3.0, 6)
    assert evidence(3.0) == pytest.approx(evidence(-3.0))


def test_what_cannot_be_told_is_said() -> None:
    with pytest.raises(ValueError, match="one difference alone"):
        sequential_test([0.1], 0.0, 0)
    # With next to nothing known of the spread no mean can be ruled out.
    assert sequential_test([0.1, 0.1001], 0.0, 0).half_width == math.inf


def test_differences_that_all_agree_say_as_much_as_they_can() -> None:
    agreed = sequential_test([0.25] * 5, 0.0, 0)
    nearly = sequential_test([0.25 + 1e-9 * each for each in range(5)], 0.0, 0)
    assert agreed.evidence == pytest.approx(nearly.evidence, rel=1e-6)
    assert sequential_test([0.0] * 5, 0.0, 0).evidence < 1


def none(_: np.random.Generator) -> tuple[float, int]:
    return 0.0, 0


def drawn(degrees: int) -> Earlier:
    """Squares of other pairs with the same noise, as a study brings."""
    return lambda chance: (float(chance.chisquare(degrees)), degrees)


def usual(preset: float) -> Earlier:
    """What a confirmation adds: the preset's noise, in units of the true one."""
    noise = noise_of((), preset)
    return lambda _: (noise.pair_bpb**2 * noise.degrees_of_freedom, WEAK_PAIRS)


def simulated(earlier: Earlier, gain: float) -> tuple[float, float]:
    """Share of sequences that ever reach 1/alpha against zero; that ever leave the interval."""
    chance = np.random.default_rng(7)
    reached = left = 0
    for _ in range(SEQUENCES):
        squares, degrees = earlier(chance)
        differences = chance.normal(gain, 1.0, LOOKS).tolist()
        looks = [
            sequential_test(differences[:count], squares, degrees)
            for count in range(1 if degrees else 2, LOOKS + 1)
        ]
        reached += any(each.evidence >= 1 / ALPHA for each in looks)
        left += any(abs(each.mean - gain) > each.half_width for each in looks)
    return reached / SEQUENCES, left / SEQUENCES


@pytest.mark.parametrize(
    "earlier", [none, drawn(4), drawn(20), usual(1.0)], ids=["none", "4", "20", "preset"]
)
def test_whoever_looks_after_every_pair_is_seldom_wrong(earlier: Earlier) -> None:
    """At most 5 % of null sequences are ever called a gain or a loss, of 30 looks each."""
    reached, left = simulated(earlier, 0.0)
    assert 0 < reached <= ALPHA
    assert left == reached, "zero leaves the interval just when the evidence speaks against it"


def test_the_interval_holds_at_every_look_where_there_is_a_gain() -> None:
    reached, left = simulated(usual(1.0), 1.0)
    assert left <= ALPHA
    assert reached > 0.9


def test_a_preset_that_knows_the_noise_wrong_by_two_does_little_harm() -> None:
    assert simulated(usual(2.0), 0.0)[0] <= ALPHA
    assert simulated(usual(0.5), 0.0)[0] <= 2 * ALPHA
