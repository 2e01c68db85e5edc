"""What is believed of an idea before it is trained."""

import numpy as np
import pytest
from scipy import stats

from nightlab.judging.prior import (
    EDGES,
    FIRST_WEIGHTS,
    FREEDOM,
    GRID,
    IS_BETTER,
    LOCATIONS,
    SCALES,
    Finding,
    likelihood,
    prior_of,
)


def share_between(mass: np.ndarray, low: float, high: float) -> float:
    below = np.interp((low, high), EDGES, np.concatenate(([0.0], np.cumsum(mass))))
    return float(below[1] - below[0])


def mixture(effects: np.ndarray) -> np.ndarray:
    """The first prior's density, written out."""
    total = np.zeros_like(effects)
    for location in LOCATIONS:
        for scale in SCALES:
            share = FIRST_WEIGHTS[scale] / sum(FIRST_WEIGHTS.values()) / len(LOCATIONS)
            total += share * stats.t.pdf(effects, FREEDOM, location, scale)
    return total


def test_the_grid_is_symmetric_and_fine_near_zero() -> None:
    assert pytest.approx(-GRID[::-1]) == GRID
    middle = len(GRID) // 2
    assert GRID[middle] == pytest.approx(0)
    assert GRID[middle + 1] < 0.1
    assert GRID[-1] > 500
    assert np.all(np.diff(GRID) > 0)
    assert np.all((EDGES[:-1] <= GRID) & (EDGES[1:] >= GRID))


def test_half_of_the_cell_at_zero_is_a_gain() -> None:
    middle = len(GRID) // 2
    assert list(IS_BETTER[middle - 1 : middle + 2]) == [0, 0.5, 1]
    assert IS_BETTER.sum() == len(GRID) / 2


def test_the_first_prior_is_the_mixture_that_is_said() -> None:
    prior = prior_of([], 4)
    assert prior.sum() == pytest.approx(1)
    for low, high in ((-20, -2), (-2, -0.5), (0.5, 2), (2, 20)):
        inside = np.linspace(low, high, 20_001)
        expected = np.trapezoid(mixture(inside), inside)
        assert share_between(prior, low, high) == pytest.approx(expected, abs=0.002)


def test_most_ideas_are_held_to_hurt_and_a_few_to_help_much() -> None:
    prior = prior_of([], 4)
    assert prior @ IS_BETTER < 0.5
    assert prior[GRID > 5].sum() > 0.01


@pytest.mark.parametrize("freedom", [4, 30])
@pytest.mark.parametrize("pairs", [0.25, 1, 5])
def test_a_finding_is_as_likely_as_students_t_says(freedom: float, pairs: float) -> None:
    (found,) = likelihood([Finding(1.3, pairs)], freedom)
    expected = stats.t.pdf((1.3 - GRID) * np.sqrt(pairs), freedom)
    assert found / found.max() == pytest.approx(expected / expected.max())


def test_weights_go_to_what_foresaw_the_findings() -> None:
    findings = [Finding(-0.4, 2), Finding(3.0, 1), Finding(-2.5, 1), Finding(0.3, 4)]
    freedom = 9.0
    fine = np.linspace(-150, 150, 30_001)
    posterior, weights = 0.0, []
    inside = (fine > 0.5) & (fine < 4)
    for location in LOCATIONS:
        for scale in SCALES:
            density = stats.t.pdf(fine, FREEDOM, location, scale)
            weight = FIRST_WEIGHTS[scale]
            for each in findings:
                weight *= np.trapezoid(
                    density * stats.t.pdf((each.gain - fine) * each.pairs**0.5, freedom), fine
                )
            weights.append(weight)
            posterior += weight * np.trapezoid(density[inside], fine[inside])
    expected = posterior / sum(weights)
    assert share_between(prior_of(findings, freedom), 0.5, 4) == pytest.approx(expected, rel=0.02)


def test_a_study_of_nothing_narrows_the_prior() -> None:
    draw = np.random.default_rng(1)
    null = [Finding(gain, 1) for gain in draw.normal(0, 1, 60)]
    first, learnt = prior_of([], 10), prior_of(null, 10)
    assert share_between(learnt, -1, 1) > 0.8 > share_between(first, -1, 1)
    assert learnt[GRID > 3].sum() < 0.5 * first[GRID > 3].sum()


def test_a_study_of_large_effects_widens_it() -> None:
    large = [Finding(gain, 2) for gain in (-12.0, 9.0, -30.0, 14.0, -8.0, 20.0)]
    assert prior_of(large, 10)[GRID > 5].sum() > 3 * prior_of([], 10)[GRID > 5].sum()


def test_findings_far_beyond_the_grid_do_no_harm() -> None:
    prior = prior_of([Finding(-1e6, 3), Finding(1e9, 1)], 4)
    assert np.isfinite(prior).all()
    assert prior.sum() == pytest.approx(1)


def test_a_loss_beyond_all_bounds_leaves_numbers() -> None:
    for gain in (-1e9, -300.0, 300.0, 1e9):
        mass = prior_of([Finding(gain, 2)], 400)
        assert np.isfinite(mass).all()
        assert mass.sum() == pytest.approx(1)
