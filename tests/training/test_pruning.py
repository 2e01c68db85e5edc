import math
import random
from statistics import NormalDist

import pytest

from nightlab.judging import decision
from nightlab.judging.case import Case, Learnt
from nightlab.records import (
    CurvePoint,
    Decision,
    Evaluation,
    Forecast,
    Reason,
    Replicate,
    TrainingResult,
    TrialRecord,
    Verdict,
)
from nightlab.training import pruning
from nightlab.training.curve import PROFILE_BINS, Curve
from nightlab.training.pruning import (
    LEAST_PAIRS,
    MOST_CHANCE,
    Pair,
    Prospect,
    Watch,
    can_be_followed,
    finished_pairs,
    foresee,
    gap_at,
)
from tests.samples import sample_record

SIGMA = 0.01
STANDING = 2.0
NEEDED = STANDING - 1.05 * SIGMA
NATS_A_BPB = 2.0
"""With the evaluation below, whose bytes and tokens make one bit per byte of so many nats."""


def replicate(score: float | None, seed: int, *, gap: float = 0.0, **training) -> Replicate:
    """A finished training whose curve is ``gap`` bits per byte above that of a standing one."""
    profile = tuple(5.0 - 0.1 * n + NATS_A_BPB * gap for n in range(PROFILE_BINS))
    trained = TrainingResult(**({"loss_profile": profile, "num_params": 100} | training))
    scored = Evaluation(val_bpb=score, num_tokens=1000, num_bytes=round(1000 * 2 / 0.693147))
    return Replicate(seed=seed, training=trained, evaluation=scored)


def pairs(count: int = 30, *, slope: float = 1.0, scatter: float = 0.2) -> tuple[Pair, ...]:
    """Trainings whose final differences are ``slope`` times their gaps, give or take."""
    chance = random.Random(1)
    made = []
    for _ in range(count):
        gap = chance.gauss(0, 0.7 * SIGMA)
        final = slope * gap + chance.gauss(0, scatter * SIGMA)
        made.append(Pair(gaps_bpb=(gap,) * PROFILE_BINS, final_bpb=final))
    return tuple(made)


def watch(known: tuple[Pair, ...] | None = None, **changes) -> Watch:
    values = {"sigma_bpb": SIGMA, "needed_bpb": NEEDED, "most_chance": 1.0, **changes}
    return Watch(replicate(STANDING, 7), pairs() if known is None else known, **values)


def follow(watched: Watch, gap: float, num_params: int | None = 100, until: float = 1.0):
    """Report a curve that is ``gap`` behind; the share at which it is stopped, and why."""
    curve, steps = Curve(), 10 * PROFILE_BINS
    for step in range(1, round(until * steps) + 1):
        loss = 5.0 - 0.1 * ((step - 1) // 10) + NATS_A_BPB * gap
        share = step / steps
        curve.add(CurvePoint(seconds=share, step=step, loss=loss, tokens=step), share)
        why = watched(curve, num_params)
        if why is not None:
            return share, why
    return None


def test_a_chance_is_students() -> None:
    # The closed forms of one, two and three degrees of freedom.
    for value in (-40.0, -3.3, -1.0, 0.0, 0.4, 2.0, 9.0):
        angle = math.atan(value / math.sqrt(3))
        for freedom, exact in (
            (1, 0.5 + math.atan(value) / math.pi),
            (2, 0.5 + value / math.sqrt(2 + value**2) / 2),
            (3, 0.5 + (angle + math.sin(angle) * math.cos(angle)) / math.pi),
        ):
            prospect = Prospect(expected_bpb=1.5, spread_bpb=0.01, degrees_of_freedom=freedom)
            assert prospect.chance_below(1.5 + 0.01 * value) == pytest.approx(exact, abs=1e-9)


def test_what_is_far_behind_is_stopped_early_with_its_numbers() -> None:
    watched = watch()
    stopped = follow(watched, 0.02)
    assert stopped is not None
    share, why = stopped
    assert share == pruning.LOOKS[0] / PROFILE_BINS
    forecast = watched.forecast
    assert forecast is not None
    assert forecast.share == share
    assert forecast.gap_bpb == pytest.approx(0.02, rel=0.01)
    assert forecast.chance <= MOST_CHANCE
    assert forecast.needed_bpb == NEEDED
    assert forecast.pairs == 30
    assert f"{share:.0%}" in why
    assert "0.0200 bpb behind" in why
    assert f"{NEEDED:.4f}" in why


def test_what_may_still_get_there_runs_on() -> None:
    assert follow(watch(), -0.012) is None
    assert follow(watch(pairs(scatter=1.5)), 0.0) is None


def test_half_of_the_needed_gain_is_enough_to_run_on_whatever_the_line_says() -> None:
    hopeless = pairs(slope=0.0, scatter=0.05)
    assert follow(watch(hopeless), -0.004) is not None
    assert follow(watch(hopeless), -0.006) is None


def test_nothing_is_stopped_before_enough_trainings_are_finished() -> None:
    assert follow(watch(pairs(LEAST_PAIRS - 1)), 0.05) is None
    assert follow(watch(pairs(LEAST_PAIRS, scatter=0.05)), 0.05) is not None


def test_larger_models_and_those_that_do_not_tell_run_on() -> None:
    assert follow(watch(), 0.05, num_params=101) is None
    assert follow(watch(), 0.05, num_params=None) is None
    assert follow(watch(), 0.05, num_params=99) is not None


def test_the_allowance_for_false_stops_is_kept() -> None:
    free = watch()
    assert follow(free, 0.0) is not None
    assert free.forecast is not None
    chance = free.forecast.chance
    assert chance > 0
    assert follow(watch(most_chance=chance * 1.01), 0.0) is not None
    assert follow(watch(most_chance=0.0), 0.0) is None


def test_the_spared_run_on_and_say_what_was_foreseen() -> None:
    spared = watch(is_spared=True)
    assert follow(spared, 0.02) is None
    assert spared.forecast is not None
    assert spared.forecast.is_spared


def test_a_curve_without_finite_losses_is_not_pruned() -> None:
    silent, watched = Curve(), watch()
    for step in range(1, 101):
        silent.add(CurvePoint(seconds=step, step=step, loss=float("nan"), tokens=step), step / 100)
        assert watched(silent, 100) is None


def test_nothing_is_stopped_where_most_edits_are_good() -> None:
    good = Pair(gaps_bpb=(-2 * SIGMA,) * PROFILE_BINS, final_bpb=-2 * SIGMA)
    known = pairs(30)
    assert follow(watch(known), gap=0.5 * SIGMA) is not None
    assert follow(watch((*known, *[good] * 20)), gap=0.5 * SIGMA) is None


def test_chances_are_those_of_the_model() -> None:
    """Of many trainings drawn from the model, as many end below as was foreseen."""
    chance = random.Random(5)
    foreseen = happened = 0.0
    for _ in range(400):
        noise = 0.3 * SIGMA
        gaps = [chance.uniform(-0.5, 0.5) * SIGMA for _ in range(13)]
        ends = [0.4 * gap + chance.gauss(-0.2 * SIGMA, noise) for gap in gaps]
        known = [
            Pair(gaps_bpb=(gap,) * PROFILE_BINS, final_bpb=end)
            for gap, end in zip(gaps[1:], ends[1:], strict=True)
        ]
        needed = -0.5 * SIGMA
        prospect = foresee(known, 10, gaps[0], sigma_bpb=SIGMA, needed_bpb=needed)
        assert prospect is not None
        foreseen += prospect.chance_below(needed)
        happened += ends[0] <= needed
    assert 40 < happened < 120
    spread = NormalDist(foreseen, happened**0.5)
    assert abs(spread.zscore(happened)) < 3.5


def test_far_ends_do_not_move_the_line() -> None:
    near, far = pairs(12), pairs(12)
    worse = Pair(gaps_bpb=(0.0,) * PROFILE_BINS, final_bpb=0.6 * SIGMA)
    worst = Pair(gaps_bpb=(0.0,) * PROFILE_BINS, final_bpb=60 * SIGMA)
    one = foresee((*near, worse), 5, 0.0, sigma_bpb=SIGMA, needed_bpb=-SIGMA)
    other = foresee((*far, worst), 5, 0.0, sigma_bpb=SIGMA, needed_bpb=-SIGMA)
    assert one == other


def test_gaps_that_are_all_alike_say_nothing() -> None:
    alike = [Pair(gaps_bpb=(0.0,) * PROFILE_BINS, final_bpb=0.0) for _ in range(20)]
    assert foresee(alike, 5, 0.0, sigma_bpb=SIGMA, needed_bpb=-SIGMA) is None


def test_a_missing_share_makes_no_gap() -> None:
    assert gap_at((0.1, 0.2, 0.4), 3) == pytest.approx(0.3)
    assert gap_at((0.1, None, 0.3), 3) is None
    assert gap_at((), 3) is None


def test_a_twin_has_a_score_and_its_whole_curve() -> None:
    assert can_be_followed(replicate(2.0, 1))
    assert not can_be_followed(replicate(2.0, 5, loss_profile=()))
    assert not can_be_followed(replicate(None, 6))
    assert not can_be_followed(replicate(2.0, 7, failure=Reason.OOM))


def trial(number: int, first: Replicate, commit: str, parent: str) -> TrialRecord:
    updates = {"replicates": (first,), "commit": commit, "parent": parent}
    return sample_record(number).model_copy(update=updates)


def test_pairs_are_trainings_beside_the_twin_of_their_own_incumbent() -> None:
    baseline = sample_record(0, verdict=Verdict.KEEP, reason=Reason.BASELINE)
    baseline = baseline.model_copy(
        update={"replicates": (replicate(2.0, 1), replicate(2.1, 2)), "commit": "base"}
    )
    beside = trial(1, replicate(2.05, 2, gap=0.01), "one", "base")
    fresh = trial(2, replicate(2.05, 99), "two", "base")
    elsewhere = trial(3, replicate(2.05, 2), "three", "another")
    larger = trial(4, replicate(2.05, 2, num_params=101), "four", "base")
    crashed = trial(5, replicate(None, 2, failure=Reason.OOM), "five", "base")
    found = finished_pairs([baseline, beside, fresh, elsewhere, larger, crashed])
    assert len(found) == 1
    assert found[0].final_bpb == pytest.approx(-0.05)
    assert found[0].gaps_bpb == pytest.approx((0.01,) * PROFILE_BINS, rel=1e-3)


FORECAST = Forecast(
    share=0.25, gap_bpb=0.02, expected_bpb=2.015, needed_bpb=NEEDED, chance=0.01, pairs=9
)


def test_the_chances_of_stopped_trainings_add_up() -> None:
    stopped = replicate(None, 1, failure=Reason.PRUNED, forecast=FORECAST)
    spared = replicate(2.1, 1, forecast=FORECAST.model_copy(update={"is_spared": True}))
    records = [trial(n, each, "c", "p") for n, each in enumerate((stopped, spared, stopped))]
    assert pruning.chances_taken(records) == pytest.approx(0.02)


def test_a_pruned_candidate_is_discarded_with_the_forecast_as_its_sentence() -> None:
    stopped = Replicate(
        seed=1,
        training=TrainingResult(failure=Reason.PRUNED, message="It was behind.", forecast=FORECAST),
    )
    judged = decision.judge(
        Case(
            candidate=(stopped,),
            bank={1: replicate(2.0, 1)},
            seeds=(1, 2),
            learnt=Learnt(),
            preset_noise_bpb=SIGMA,
            keep_probability=0.85,
            saves_code=True,
        )
    )
    assert isinstance(judged, Decision)
    assert (judged.verdict, judged.reason) == (Verdict.DISCARD, Reason.PRUNED)
    assert judged.sentence == "It was behind."
    assert judged.difference_bpb == pytest.approx(0.015)


def test_a_watch_of_a_training_that_is_tried_again_begins_anew() -> None:
    first = watch()
    stopped = follow(first, 2 * SIGMA)
    assert stopped is not None
    assert follow(first, 2 * SIGMA) is None, "it has said so"
    again = first.anew()
    assert again.forecast is None
    assert follow(again, 2 * SIGMA) == stopped
