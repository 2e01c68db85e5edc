"""What pairs say of a candidate, and what one more would tell."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nightlab.judging.evidence import Belief, believe, worth_of_pair
from nightlab.judging.prior import EDGES, GRID, PRIOR

beliefs = st.builds(
    lambda gain, pairs: believe(gain, pairs, 6 + pairs),
    st.floats(-8, 8),
    st.integers(1, 8),
)


def brute_force(gain: float, pairs: int, freedom: float) -> tuple[float, float, float, float]:
    """P(better), mean gain and 95 % interval by summing over very many effects."""
    effects = np.linspace(-300, 300, 120_001)
    density = stats.t.pdf(effects, 2, -1, 1.2)
    density *= stats.t.pdf((gain - effects) * pairs**0.5, freedom)
    density /= density.sum()
    low, high = effects[np.searchsorted(np.cumsum(density), (0.025, 0.975))]
    return density[effects > 0].sum(), density @ effects, low, high


@pytest.mark.parametrize("gain", [-3.0, -0.5, 0.0, 0.8, 2.0, 6.0])
@pytest.mark.parametrize(("pairs", "freedom"), [(1, 4), (2, 5), (4, 20), (8, 60)])
def test_the_belief_agrees_with_brute_force(gain: float, pairs: int, freedom: float) -> None:
    belief = believe(gain, pairs, freedom)
    better, mean, low, high = brute_force(gain, pairs, freedom)
    assert belief.better == pytest.approx(better, abs=0.004)
    assert belief.gain == pytest.approx(mean, abs=0.02 + 0.01 * abs(gain))
    assert belief.interval == (pytest.approx(low, abs=0.06), pytest.approx(high, abs=0.06))


@pytest.mark.parametrize("gain", [1e9, 2_000.0, 400.0, 300.0])
@pytest.mark.parametrize("freedom", [4, 400, 10_000])
def test_what_is_beyond_all_bounds_is_better_or_worse(gain: float, freedom: float) -> None:
    for pairs in (2, 8):
        better, worse = believe(gain, pairs, freedom), believe(-gain, pairs, freedom)
        assert better.mass.sum() == pytest.approx(1)
        assert worse.mass.sum() == pytest.approx(1)
        assert better.better == pytest.approx(1, abs=0.01)
        assert worse.better == pytest.approx(0, abs=0.01)


def test_without_pairs_the_prior_is_believed() -> None:
    assert believe(3.0, 0, 4).mass == pytest.approx(PRIOR)


@given(beliefs)
def test_a_belief_holds_together(belief: Belief) -> None:
    low, high = belief.interval
    assert belief.mass.sum() == pytest.approx(1)
    assert low < high
    assert belief.above(low) == pytest.approx(0.975, abs=1e-6)
    assert belief.above(high) == pytest.approx(0.025, abs=1e-6)
    assert belief.above(-1) >= belief.above(0) >= belief.above(1)
    assert belief.above(0) == pytest.approx(belief.better)


def test_a_cell_is_shared_out_evenly() -> None:
    mass = np.zeros_like(GRID)
    mass[200] = 1.0
    low, high = EDGES[200], EDGES[201]
    assert Belief(mass).above(low) == pytest.approx(1)
    assert Belief(mass).above(0.75 * low + 0.25 * high) == pytest.approx(0.75)
    assert Belief(mass).above(high) == pytest.approx(0)


@given(st.floats(-6, 6), st.floats(0.05, 3), st.integers(1, 7))
def test_more_gain_is_more_likely_better(gain: float, more: float, pairs: int) -> None:
    less_sure = believe(gain, pairs, 8)
    surer = believe(gain + more, pairs, 8)
    assert surer.better > less_sure.better
    assert surer.gain > less_sure.gain


def test_a_large_gain_is_believed_and_a_small_one_is_shrunk() -> None:
    assert believe(12.0, 2, 10).gain == pytest.approx(12, abs=0.5)
    assert 0 < believe(1.0, 1, 10).gain < 0.6


def two_effects(worse: float, better: float, chance: float) -> Belief:
    mass = np.zeros_like(GRID)
    mass[np.abs(GRID - worse).argmin()] = 1 - chance
    mass[np.abs(GRID - better).argmin()] = chance
    return Belief(mass)


def test_it_is_kept_where_it_is_likely_enough_better_and_a_gain_is_expected() -> None:
    likely = two_effects(-0.5, 1.0, 0.9)
    assert likely.is_kept(0.9 - 1e-9)
    assert not likely.is_kept(0.91)
    assert not two_effects(-12.0, 1.0, 0.9).is_kept(0.8), "likely better, but mostly a loss"


def simulated_worth(belief: Belief, keep_probability: float) -> float:
    """What one more pair adds, by drawing effects and outcomes."""
    draw = np.random.default_rng(3)
    effects = draw.choice(GRID, 100_000, p=belief.mass)
    outcomes = effects + draw.normal(0, 1, len(effects))
    # By outcome: the decision then, from a table of posteriors.
    at = np.linspace(outcomes.min(), outcomes.max(), 2_000)
    chances = np.exp(-((at[:, None] - GRID) ** 2) / 2) * belief.mass
    chances /= chances.sum(axis=1, keepdims=True) + 1e-300
    better = chances[:, GRID > 1e-9].sum(axis=1) + chances[:, np.abs(GRID) < 1e-9].sum(axis=1) / 2
    is_kept = (better >= keep_probability) & (chances @ GRID > 0)
    then = np.where(is_kept[np.searchsorted(at, outcomes, side="left").clip(max=1_999)], effects, 0)
    now = effects.mean() if belief.is_kept(keep_probability) else 0.0
    return float(then.mean() - now)


@pytest.mark.parametrize("keep_probability", [0.7, 0.9])
@pytest.mark.parametrize("gain", [-2.0, 0.0, 0.7, 1.5, 3.0])
def test_the_worth_of_a_pair_agrees_with_drawing_it(gain: float, keep_probability: float) -> None:
    belief = believe(gain, 1, 8)
    # Effects far out are left out: drawn, they are but noise.
    mass = np.where(np.abs(GRID) < 12, belief.mass, 0)
    belief = Belief(mass / mass.sum())
    expected = simulated_worth(belief, keep_probability)
    assert worth_of_pair(belief, keep_probability) == pytest.approx(expected, abs=0.02)


@settings(max_examples=50)
@given(beliefs, st.floats(0.55, 0.97))
def test_a_pair_is_worth_no_more_than_certainty(belief: Belief, keep_probability: float) -> None:
    is_kept = belief.is_kept(keep_probability)
    at_stake = belief.mass @ np.maximum(-GRID if is_kept else GRID, 0)
    assert worth_of_pair(belief, keep_probability) <= at_stake + 0.01


def test_an_outcome_that_would_not_be_kept_is_worth_nothing() -> None:
    """Mostly better, but where it is not it is so bad that a loss is to be expected."""
    mostly_better = two_effects(-3.0, 0.2, 0.88)
    assert mostly_better.better > 0.6
    assert not mostly_better.is_kept(0.6)
    expected = simulated_worth(mostly_better, 0.6)
    assert worth_of_pair(mostly_better, 0.6) == pytest.approx(expected, abs=0.01)


def test_what_is_plain_needs_no_more_pairs() -> None:
    for gain in (-6.0, 8.0):
        assert worth_of_pair(believe(gain, 4, 20), 0.85) < 0.02
    assert worth_of_pair(believe(0.9, 1, 20), 0.85) > 0.2
