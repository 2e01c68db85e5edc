"""The audit's arithmetic, by simulation: thousands of draws over texts of known losses."""

import math

import numpy as np
import pytest

from nightlab.evaluation.audit import (
    EVEN_SHARE,
    RESOLUTION_NATS,
    breach_of_claims,
    breach_of_independence,
    design_draw,
    draw_positions,
    estimate_correction,
    inclusion_probabilities,
    secret_generator,
)
from nightlab.evaluation.reference import reference_losses

ROWS, LENGTH, DRAWS = 150, 32, 1500


class Text:
    """Losses of an honest model, what a simple one makes of the text, and what counts."""

    def __init__(self) -> None:
        random = np.random.default_rng(1)
        hardness = random.gamma(2.0, 1.0, (ROWS, LENGTH)) * random.gamma(9.0, 1 / 9, (ROWS, 1))
        self.honest = hardness.astype(np.float32)
        self.reference = np.maximum(0.01, hardness * random.lognormal(0.3, 0.7, hardness.shape))
        self.counted = random.random(hardness.shape) > 0.02
        self.counted[7] = False

    def true_sum(self, claims: np.ndarray) -> float:
        return float((self.honest.astype(float) - claims)[self.counted].sum())


TEXT = Text()


def leak(share: float) -> np.ndarray:
    """Claims that are near nothing in a share of the positions."""
    leaks = np.random.default_rng(2).random(TEXT.honest.shape) < share
    return np.where(leaks, 0.001, TEXT.honest)


def few_rows() -> np.ndarray:
    claims = TEXT.honest.copy()
    claims[20:23] *= 0.1
    return claims


CLAIMS = {
    "0.3 % leak": leak(0.003),
    "1 % leak": leak(0.01),
    "20 % leak": leak(0.2),
    "a little less everywhere": TEXT.honest * 0.97,
    "never more than the reference": np.minimum(TEXT.honest, TEXT.reference),
    "three rows known by heart": few_rows(),
    "nothing at all": np.zeros_like(TEXT.honest),
    "more than it loses": TEXT.honest + 0.5,
    "noise": TEXT.honest
    + np.random.default_rng(3).normal(0, 0.05, TEXT.honest.shape).astype(np.float32),
}


def simulate(claims: np.ndarray, count: int, draws: int = DRAWS) -> tuple[np.ndarray, np.ndarray]:
    design = design_draw(claims, TEXT.reference, TEXT.counted)
    random = np.random.default_rng(4)
    population = int(TEXT.counted.sum())
    found = []
    for _ in range(draws):
        draw = draw_positions(design, count, random)
        deviations = (TEXT.honest - claims)[draw.rows, draw.positions]
        correction = estimate_correction(draw, deviations, population)
        found.append((correction.nats, correction.standard_error))
    estimates, errors = np.array(found).T
    return estimates, errors


@pytest.mark.parametrize("count", [40, ROWS - 1])
@pytest.mark.parametrize("name", CLAIMS)
def test_the_correction_is_right_on_average_and_its_error_is_the_spread(name, count):
    claims = CLAIMS[name]
    estimates, errors = simulate(claims, count)
    spread = estimates.std(ddof=1)
    assert estimates.mean() == pytest.approx(TEXT.true_sum(claims), abs=4 * spread / DRAWS**0.5)
    stated = math.sqrt((errors**2).mean())
    # Where a few rows hold nearly everything, their neighbours are not like them.
    most = 2.0 if name == "three rows known by heart" else 1.5
    assert 0.9 * spread < stated < most * spread


def test_intervals_of_three_errors_hold_where_deviations_are_common():
    for name in ("20 % leak", "a little less everywhere", "noise", "nothing at all"):
        estimates, errors = simulate(CLAIMS[name], 100, 1000)
        missed = np.abs(estimates - TEXT.true_sum(CLAIMS[name])) > 3 * errors
        assert missed.mean() < 0.02, name


def test_a_rare_leak_is_drawn_far_more_often_than_evenly():
    claims = CLAIMS["0.3 % leak"]
    design = design_draw(claims, TEXT.reference, TEXT.counted)
    leaks = (claims == 0.001) & TEXT.counted
    chances = inclusion_probabilities(design.row_weights, 40)[:, None] * design.within
    evenly = 40 * leaks.sum() / TEXT.counted.sum()
    assert chances[leaks].sum() > 1.25 * evenly


def test_no_claim_makes_a_position_unlikely():
    random = np.random.default_rng(5)
    claims = TEXT.honest.copy()
    claims[random.random(claims.shape) < 0.3] = 0.0
    design = design_draw(claims, TEXT.reference * 10, TEXT.counted)
    even = 1 / TEXT.counted.sum()
    weights = (design.row_weights[:, None] * design.within)[TEXT.counted]
    assert weights.min() >= EVEN_SHARE**2 * even * (1 - 1e-9)
    in_row = (design.within * TEXT.counted.sum(axis=1, keepdims=True))[TEXT.counted]
    assert in_row.min() >= EVEN_SHARE * (1 - 1e-9)


def test_one_position_a_row_of_those_that_count_and_as_many_as_asked():
    design = design_draw(leak(0.01), TEXT.reference, TEXT.counted)
    assert design.drawable_rows == ROWS - 1
    for count, drawn in ((1, 1), (17, 17), (ROWS - 1, ROWS - 1), (10**6, ROWS - 1)):
        draw = draw_positions(design, count, np.random.default_rng(count))
        assert len(draw) == len(set(draw.rows)) == drawn
        assert TEXT.counted[draw.rows, draw.positions].all()
        assert (draw.probabilities > 0).all()
        assert (draw.probabilities <= 1).all()
    assert (draw_positions(design, 149, np.random.default_rng(0)).rows[:9] != np.arange(9)).any()


def test_positions_are_drawn_as_often_as_is_said():
    claims = leak(0.05)[:12, :5]
    counted = np.ones_like(claims, dtype=bool)
    counted[3, 2] = False
    design = design_draw(claims, TEXT.reference[:12, :5], counted)
    chances = inclusion_probabilities(design.row_weights, 5)[:, None] * design.within
    assert chances.sum() == pytest.approx(5)
    random = np.random.default_rng(6)
    seen = np.zeros(claims.shape)
    draws = 20_000
    for _ in range(draws):
        draw = draw_positions(design, 5, random)
        seen[draw.rows, draw.positions] += 1
        assert draw.probabilities == pytest.approx(chances[draw.rows, draw.positions])
    error = np.sqrt(chances * (1 - chances) / draws)
    assert (np.abs(seen / draws - chances) <= 4.5 * error).all()


@pytest.mark.parametrize(
    ("weights", "count", "expected"),
    [
        ([1, 1, 1, 1], 2, [0.5, 0.5, 0.5, 0.5]),
        ([1, 0, 1, 2], 2, [0.5, 0, 0.5, 1]),
        ([8, 4, 1, 1], 3, [1, 1, 0.5, 0.5]),
        ([8, 4, 1, 1], 4, [1, 1, 1, 1]),
        ([0, 3, 0], 2, [0, 1, 0]),
    ],
)
def test_chances_sum_to_the_count_and_none_is_above_certain(weights, count, expected):
    assert inclusion_probabilities(np.array(weights, float), count) == pytest.approx(expected)


def test_an_honest_claim_leaves_the_resolution_as_its_error():
    draw = draw_positions(
        design_draw(TEXT.honest, TEXT.reference, TEXT.counted), 30, secret_generator()
    )
    correction = estimate_correction(draw, np.zeros(30), 1000)
    assert correction.nats == 0
    assert correction.standard_error == pytest.approx(1000 * RESOLUTION_NATS)
    one = draw.take(np.array([4]))
    assert estimate_correction(one, np.array([0.25]), 1000).standard_error is None
    assert estimate_correction(one, np.array([0.25]), 1000).nats == 0.25 / one.probabilities[0]


def test_secret_draws_differ():
    design = design_draw(TEXT.honest, TEXT.reference, TEXT.counted)
    first, second = (draw_positions(design, 50, secret_generator()) for _ in range(2))
    assert first.rows.tolist() != second.rows.tolist()


def deviations(*large: float, count: int = 400, rest: float = 0.0) -> np.ndarray:
    return np.array([*large, *[rest] * (count - len(large))])


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (deviations(), None),
        (deviations(0.49, -0.2), None),
        (deviations(rest=0.0049), None),
        (deviations(0.51), "the largest deviation in a secret position is over 0.5 nats"),
        (deviations(-0.51), "the largest deviation in a secret position is over 0.5 nats"),
        (
            deviations(0.2, 0.2, -0.3),
            "more than 0.5% of the secret positions deviate by more than 0.1 nats",
        ),
        (deviations(rest=-0.006), "the mean deviation is more than 0.005 nats"),
        (deviations(0.2, count=64), "more than 0.5% of the secret positions"),
    ],
)
def test_what_is_past_the_tolerances_is_said(found, said):
    claims, independence = breach_of_claims(found), breach_of_independence(found)
    if said is None:
        assert claims is None
        assert independence is None
        return
    assert said in claims
    assert "attention that sees later tokens" in claims
    assert said in independence
    assert "statistics over the batch" in independence


def test_what_is_said_of_a_breach_carries_nothing_that_was_chosen():
    said = {
        breach_of_claims(deviations(size, count=count))
        for size in (0.51, 7.25, 1e6)
        for count in (64, 400)
    }
    said |= {breach_of_claims(deviations(*[0.6] * large)) for large in (1, 32)}
    assert len(said) == 1


def test_the_reference_leaves_each_token_out_of_its_own_counts():
    random = np.random.default_rng(7)
    rows = random.integers(0, 40, (60, 30)).astype(np.uint16)
    losses = reference_losses(rows, 40)
    assert losses.shape == (60, 29)
    assert losses.mean() == pytest.approx(math.log(40), abs=0.6)
    assert (losses > 0).all()
    # A token that stands only once in the text has nothing to be foreseen by.
    rows[10, 11] = 40
    assert reference_losses(rows, 41)[10, 10] > math.log(100)


def test_the_reference_knows_the_habits_of_a_text():
    steps = np.random.default_rng(8).integers(0, 3, 40 * 50).cumsum() % 30
    losses = reference_losses(steps.reshape(40, 50).astype(np.uint16), 30)
    assert math.log(3) < losses.mean() < math.log(3) + 0.35
