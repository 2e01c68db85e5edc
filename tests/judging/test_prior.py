"""What is believed of an idea before it is trained."""

import numpy as np
import pytest
from scipy import stats

from nightlab.judging.prior import EDGES, GRID, IS_BETTER, PRIOR


def share_between(mass: np.ndarray, low: float, high: float) -> float:
    below = np.interp((low, high), EDGES, np.concatenate(([0.0], np.cumsum(mass))))
    return float(below[1] - below[0])


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


@pytest.mark.parametrize(("low", "high"), [(-20, -2), (-2, -0.5), (0.5, 2), (2, 20)])
def test_the_prior_is_the_one_that_is_said(low: float, high: float) -> None:
    expected = np.diff(stats.t.cdf((low, high), 2, -1, 1.2))
    assert PRIOR.sum() == pytest.approx(1)
    assert share_between(PRIOR, low, high) == pytest.approx(expected[0], abs=0.002)


def test_most_ideas_are_held_to_hurt_and_a_few_to_help_much() -> None:
    assert 0.2 < PRIOR @ IS_BETTER < 0.3
    assert 0.01 < PRIOR[GRID > 5].sum() < 0.03
