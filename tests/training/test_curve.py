"""Curves as they are kept: few points, and the mean loss in shares of the budget."""

import math
from itertools import pairwise

import pytest

from nightlab.records import CurvePoint
from nightlab.training.curve import CURVE_POINTS, PROFILE_BINS, Curve


@pytest.mark.parametrize("count", [0, 1, 2, CURVE_POINTS, CURVE_POINTS + 1, 12_345])
def test_a_curve_keeps_its_ends_and_its_shape(count):
    curve = Curve()
    for step in range(count):
        curve.add(CurvePoint(seconds=float(step), step=step, loss=1.0), step / count)
    steps = [point.step for point in curve.points()]
    assert len(steps) <= CURVE_POINTS + 1
    assert steps == sorted(set(steps))
    if count:
        assert (steps[0], steps[-1]) == (0, count - 1)
        gaps = {after - before for before, after in pairwise(steps[:-1])}
        assert len(gaps) <= 1


def test_a_profile_is_the_mean_of_all_reports_in_each_share_of_the_budget():
    curve = Curve()
    steps = 50 * CURVE_POINTS
    for step in range(1, steps + 1):
        loss = float(math.ceil(step * PROFILE_BINS / steps)) + (-1) ** step
        curve.add(CurvePoint(seconds=1.0, step=step, loss=loss), step / steps)
    assert curve.profile() == pytest.approx([float(n) for n in range(1, PROFILE_BINS + 1)])


@pytest.mark.parametrize("loss", [None, math.nan, math.inf])
def test_what_is_no_loss_makes_no_profile(loss):
    curve = Curve()
    curve.add(CurvePoint(seconds=1.0, step=1, loss=loss), 0.1)
    assert curve.profile() == ()
    curve.add(CurvePoint(seconds=1.0, step=2, loss=2.0), 0.12)
    assert curve.profile() == (None, None, 2.0, *[None] * (PROFILE_BINS - 3))


def test_losses_whose_sum_no_number_can_hold_make_no_profile():
    curve = Curve()
    for step in range(3):
        curve.add(CurvePoint(seconds=1.0, step=step, loss=1.5e308), 0.01)
    curve.add(CurvePoint(seconds=1.0, step=4, loss=2.0), 0.06)
    assert curve.profile() == (None, 2.0, *[None] * (PROFILE_BINS - 2))


@pytest.mark.parametrize(
    ("share", "at"),
    [(-0.1, 0), (0.0, 0), (0.05, 0), (0.051, 1), (0.1, 1), (0.95, 18), (1.0, 19), (1.2, 19)],
)
def test_a_report_counts_where_its_training_was(share, at):
    curve = Curve()
    curve.add(CurvePoint(seconds=1.0, step=1, loss=2.0), share)
    assert [place for place, loss in enumerate(curve.profile()) if loss is not None] == [at]


@pytest.mark.parametrize(("loss", "counts"), [(1e6, True), (1e6 + 1, False), (-1e6, True)])
def test_a_loss_counts_up_to_a_million(loss, counts):
    curve = Curve()
    curve.add(CurvePoint(seconds=1.0, step=1, loss=loss), 0.0)
    assert (curve.profile() != ()) == counts


def test_the_share_that_is_gone_never_goes_back_and_means_have_five_decimals():
    curve = Curve()
    assert curve.share == 0.0
    for share, loss in ((0.02, 1.0), (0.04, 1.0), (0.01, 2.0)):
        curve.add(CurvePoint(seconds=1.0, step=1, loss=loss), share)
    assert curve.share == 0.04
    assert curve.profile()[0] == 1.33333


def test_a_curve_is_thinned_by_half_and_no_more():
    curve = Curve()
    for step in range(50 * CURVE_POINTS):
        curve.add(CurvePoint(seconds=1.0, step=step, loss=1.0), 0.5)
        assert step < CURVE_POINTS or len(curve.points()) >= CURVE_POINTS // 2
