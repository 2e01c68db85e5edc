"""The rule, line by line of its table."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightlab.judging import decision
from nightlab.judging.case import Learnt, noise_of, pairs_of
from nightlab.judging.decision import (
    BASELINE_REPLICATES,
    MOST_NEEDED,
    MOST_PAIRS,
    PRICE,
    SIMPLER_PAIRS,
    SIMPLER_PROBABILITY,
    Subject,
    Wanted,
    decide_baseline,
    judge,
    needed_gain_bpb,
    wanted_for_baseline,
    weigh,
)
from nightlab.judging.evidence import believe, worth_of_pair
from nightlab.records import Decision, Forecast, Reason, Replicate, TrainingResult, Verdict
from tests.case_samples import NOISE_BPB, SEEDS, STANDING, case, replicate, verdict

CANDIDATE, INCUMBENT = Subject.CANDIDATE, Subject.INCUMBENT


def candidate(seed: int) -> Wanted:
    return Wanted(CANDIDATE, seed)


def failed(reason: Reason, seed: int = 0, forecast: Forecast | None = None) -> Replicate:
    training = TrainingResult(failure=reason, message="It ended.", forecast=forecast)
    return Replicate(seed=seed, training=training)


def forecast(expected_bpb: float) -> Forecast:
    return Forecast(
        share=0.3, gap_bpb=0.1, expected_bpb=expected_bpb, needed_bpb=2.0, chance=0.01, pairs=9
    )


# The baseline.


def test_a_baseline_is_trained_on_the_first_seeds() -> None:
    assert BASELINE_REPLICATES == 2
    seeds = (7, 8, 9)
    assert wanted_for_baseline([], seeds, 1) == (candidate(7),)
    assert wanted_for_baseline([], seeds, 4) == (candidate(7), candidate(8))
    assert wanted_for_baseline([replicate(2.0, 8)], seeds, 2) == (candidate(7),)
    assert wanted_for_baseline([replicate(2.0, 7), replicate(2.0, 8)], seeds, 2) == ()


def test_a_baseline_that_crashed_needs_nothing_and_an_excused_seed_comes_again() -> None:
    assert wanted_for_baseline([failed(Reason.EXCEPTION, 7)], (7, 8), 2) == ()
    scored = replicate(2.0, 7)
    assert wanted_for_baseline([scored, failed(Reason.OOM, 8)], (7, 8), 2) == (candidate(8),)
    assert wanted_for_baseline([scored, *[failed(Reason.OOM, 8)] * 2], (7, 8), 2) == ()


def test_a_baseline_is_kept_with_the_mean_of_its_scores() -> None:
    made = decide_baseline([replicate(2.0, 1), replicate(2.1, 2)])
    assert (made.verdict, made.reason) == (Verdict.KEEP, Reason.BASELINE)
    assert made.sentence == "Baseline 2.0500 bpb, the mean of 2 seeds (2.0000, 2.1000)."
    excused = decide_baseline([replicate(2.0, 1), failed(Reason.OOM, 2), replicate(2.1, 2)])
    assert excused.sentence == made.sentence
    crash = decide_baseline([failed(Reason.EXCEPTION)])
    assert (crash.verdict, crash.reason) == (Verdict.CRASH, Reason.EXCEPTION)


# A training failed, or was stopped.


def test_a_crash_ends_a_trial_whatever_else_it_has() -> None:
    made = judge(case(candidate=[replicate(1.5, 0), failed(Reason.NONFINITE, 1)]))
    assert isinstance(made, Decision)
    assert (made.verdict, made.reason) == (Verdict.CRASH, Reason.NONFINITE)


def test_what_was_stopped_is_discarded_with_what_was_foreseen() -> None:
    made = judge(case(candidate=[failed(Reason.PRUNED, 1, forecast(2.05))]))
    assert isinstance(made, Decision)
    assert (made.verdict, made.reason) == (Verdict.DISCARD, Reason.PRUNED)
    assert made.sentence == "It ended."
    assert made.difference_bpb == pytest.approx(2.05 - STANDING[1])
    assert made.noise_bpb == pytest.approx(NOISE_BPB)
    assert (made.pairs, made.probability_better) == ((), None)


def test_without_a_twin_nothing_is_said_of_the_difference() -> None:
    made = judge(case(candidate=[failed(Reason.PRUNED, 1, forecast(2.05))], banked=1))
    assert isinstance(made, Decision)
    assert (made.reason, made.difference_bpb) == (Reason.PRUNED, None)


def test_one_of_two_side_by_side_that_was_stopped_does_not_outweigh_the_other() -> None:
    stopped = failed(Reason.PRUNED, 1, forecast(2.05))
    for both in ([replicate(1.9, 0), stopped], [stopped, replicate(1.9, 2)]):
        assert verdict(judge(case(candidate=both, banked=3))) is not Reason.PRUNED
    assert verdict(judge(case(candidate=[replicate(2.2, 0), stopped]))) is Reason.REGRESSION
    asked = [judge(case(candidate=[replicate(2 - gain / 1000, 0), stopped])) for gain in range(20)]
    assert (candidate(1),) in asked, "trained again, to its end"


# No pair yet, and what another one takes.


def test_the_first_pair_is_trained_whatever_is_known() -> None:
    assert judge(case()) == (candidate(0),)
    hopeless = Learnt(pruned=50)
    assert judge(case(learnt=hopeless)) == (candidate(0),)


def test_a_twin_that_is_missing_goes_first() -> None:
    assert judge(case(banked=0)) == (Wanted(INCUMBENT, 0),)
    assert judge(case(banked=0, lanes=2)) == (Wanted(INCUMBENT, 0), candidate(0))
    assert judge(case(lanes=2)) == (candidate(0), candidate(1))
    assert judge(case(banked=1, lanes=3)) == (candidate(0), Wanted(INCUMBENT, 1), candidate(1))


def test_a_training_that_lost_its_twin_has_it_trained_anew() -> None:
    own = [replicate(1.99, 0)]
    bank = {1: replicate(STANDING[1], 1)}
    assert judge(case(candidate=own, bank=bank)) == (Wanted(INCUMBENT, 0),)
    assert judge(case(candidate=own, bank=bank, lanes=2)) == (Wanted(INCUMBENT, 0), candidate(1))


def test_what_was_excused_is_trained_again() -> None:
    own = [replicate(STANDING[0] - 0.0075, 0), failed(Reason.OOM, 1)]
    assert judge(case(candidate=own)) == (candidate(1),)


def test_a_pair_of_two_places_is_none() -> None:
    own = [replicate(1.5, 0, "there")]
    assert judge(case(candidate=own)) == (candidate(1),)


def test_a_pair_in_doubt_is_followed_by_another() -> None:
    assert judge(case(0.0075)) == (candidate(1),)
    assert judge(case(0.0075, banked=1)) == (Wanted(INCUMBENT, 1),)


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_there_are_so_many_pairs_at_most(lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "PRICE", -9.0)
    doubtful = [0.008 if seed % 2 else -0.004 for seed in range(MOST_PAIRS)]
    bank = {seed: replicate(STANDING[0], seed) for seed in SEEDS}
    own = [replicate(STANDING[0] - gain, seed) for seed, gain in enumerate(doubtful)]
    asked = case(candidate=own[:-1], bank=bank, lanes=lanes)
    assert judge(asked) == (candidate(MOST_PAIRS - 1),)
    assert isinstance(judge(case(candidate=own, bank=bank, lanes=lanes)), Decision)


def test_a_study_with_few_seeds_ends_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "PRICE", 0.0)
    assert judge(case(0.0075, seeds=(0, 1))) == (candidate(1),)
    assert verdict(judge(case(0.0075, -0.001, seeds=(0, 1)))) is Reason.WITHIN_NOISE


def test_a_pair_is_trained_while_it_is_worth_its_price(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = case(0.0075)
    for price in (0.01, 0.1, 0.2, 0.4, 0.8, 2.0):
        monkeypatch.setattr(decision, "PRICE", price)
        belief = weigh(asked, pairs_of(asked.candidate, asked.bank)).belief
        is_asked = not isinstance(judge(asked), Decision)
        assert is_asked == (worth_of_pair(belief, asked.keep_probability) > price)
    assert isinstance(judge(asked), Decision)


# What is believed, and the verdict.


def test_a_clear_gain_is_kept_with_what_it_rests_on() -> None:
    made = judge(case(0.05, 0.06, keep_probability=0.95))
    assert isinstance(made, Decision)
    assert (made.verdict, made.reason) == (Verdict.KEEP, Reason.IMPROVED)
    assert made.difference_bpb == pytest.approx(-0.055)
    assert [pair.seed for pair in made.pairs] == [0, 1]
    assert made.probability_better is not None
    assert made.probability_better > 0.99
    assert made.expected_gain_bpb is not None
    assert 0.045 < made.expected_gain_bpb < 0.055
    assert made.interval_bpb is not None
    low, high = made.interval_bpb
    assert low < -0.055 < high < 0
    assert made.noise_bpb == pytest.approx(noise_of([(0.05, 0.06)], NOISE_BPB).pair_bpb)
    assert made.sentence.startswith("Kept: better by 0.0550 bpb in 2 pairs")


@pytest.mark.parametrize("sign", [1, -1])
def test_the_numbers_of_a_verdict_agree(sign: int) -> None:
    asked = case(*(sign * gain for gain in (0.02, 0.024, 0.021, 0.03)))
    made = judge(asked)
    weighed = weigh(asked, pairs_of(asked.candidate, asked.bank))
    unit = weighed.noise.pair_bpb
    assert isinstance(made, Decision)
    assert made.noise_bpb == pytest.approx(unit)
    assert made.probability_better == pytest.approx(weighed.belief.better)
    assert made.expected_gain_bpb == pytest.approx(weighed.belief.gain * unit)
    low, high = weighed.belief.interval
    assert made.interval_bpb == (
        pytest.approx(-high * unit),
        pytest.approx(-low * unit),
    )
    assert made.difference_bpb == pytest.approx(weighed.difference_bpb)


def test_a_clear_loss_is_a_regression_at_once() -> None:
    made = judge(case(-0.05))
    assert isinstance(made, Decision)
    assert (made.verdict, made.reason) == (Verdict.DISCARD, Reason.REGRESSION)
    assert made.interval_bpb is not None
    assert made.interval_bpb[0] > 0


def test_a_small_loss_is_within_noise() -> None:
    made = judge(case(-0.006))
    assert isinstance(made, Decision)
    assert (made.verdict, made.reason) == (Verdict.DISCARD, Reason.WITHIN_NOISE)
    assert made.sentence.startswith("Discarded: worse by 0.0060 bpb in 1 pair of")


def test_how_sure_a_keep_must_be_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "PRICE", 9.0)
    asked = case(0.012, 0.006)
    better = weigh(asked, pairs_of(asked.candidate, asked.bank)).belief.better
    assert verdict(judge(case(0.012, 0.006, keep_probability=better))) is Reason.IMPROVED
    stricter = case(0.012, 0.006, keep_probability=better + 0.001)
    assert verdict(judge(stricter)) is Reason.WITHIN_NOISE


def test_pairs_that_lie_far_apart_say_less() -> None:
    def better(*gains: float) -> float:
        asked = case(*gains)
        return weigh(asked, pairs_of(asked.candidate, asked.bank)).belief.better

    assert better(0.012, 0.012, 0.012) > better(0.002, 0.012, 0.022) > better(-0.03, 0.012, 0.054)


def test_the_noise_is_that_of_the_study_and_of_the_candidates_own_pairs() -> None:
    earlier = Learnt(gains_bpb=((0.0, 0.02), (0.01, -0.01, 0.03)))
    asked = case(0.01, 0.03, learnt=earlier)
    weighed = weigh(asked, pairs_of(asked.candidate, asked.bank))
    noise = noise_of([*earlier.gains_bpb, (0.01, 0.03)], NOISE_BPB)
    assert weighed.noise.pair_bpb == pytest.approx(noise.pair_bpb)
    assert weighed.noise.degrees_of_freedom == noise.degrees_of_freedom == 4 + 1 + 2 + 1
    expected = believe(0.02 / noise.pair_bpb, 2, noise.degrees_of_freedom)
    assert weighed.belief.mass == pytest.approx(expected.mass)


@settings(max_examples=40)
@given(st.lists(st.floats(-0.05, 0.05), min_size=1, max_size=MOST_PAIRS), st.floats(0.55, 0.97))
def test_every_case_ends_in_a_verdict_or_a_training(gains: list[float], keep: float) -> None:
    made = judge(case(*gains, keep_probability=keep))
    if not isinstance(made, Decision):
        assert made == (candidate(len(gains)),)
        return
    assert made.probability_better is not None
    assert made.expected_gain_bpb is not None
    is_kept = made.probability_better >= keep and made.expected_gain_bpb > 0
    assert (made.verdict is Verdict.KEEP) == is_kept
    assert len(made.pairs) == len(gains)


@settings(max_examples=20)
@given(st.lists(st.floats(-0.03, 0.03), min_size=1, max_size=5), st.floats(0.1, 50))
def test_a_verdict_knows_no_units(gains: list[float], scale: float) -> None:
    def scaled(factor: float) -> Decision | tuple[Wanted, ...]:
        own = [replicate(2 - factor * gain, seed) for seed, gain in enumerate(gains)]
        bank = {seed: replicate(2.0, seed) for seed in SEEDS}
        return judge(case(candidate=own, bank=bank, preset_noise_bpb=factor * NOISE_BPB))

    one, other = scaled(1.0), scaled(scale)
    if isinstance(one, Decision):
        assert isinstance(other, Decision)
        assert one.reason is other.reason
        assert one.probability_better == pytest.approx(other.probability_better, abs=1e-6)
    else:
        assert one == other


# Simpler code.


def test_less_code_that_is_likely_no_worse_is_kept_as_simpler() -> None:
    equal = (0.0005, -0.0005, 0.0, 0.001)
    assert verdict(judge(case(*equal))) is Reason.WITHIN_NOISE
    made = judge(case(*equal, saves_code=True))
    assert isinstance(made, Decision)
    assert (made.verdict, made.reason) == (Verdict.KEEP, Reason.SIMPLER)
    assert made.sentence.startswith("Kept as simpler: clearly less code, and better by 0.0002")
    belief = weigh(case(*equal), made.pairs).belief
    assert f"no worse, within noise, is {100 * belief.above(-1):.0f} %." in made.sentence


def test_less_code_that_is_better_is_an_improvement() -> None:
    assert verdict(judge(case(0.05, 0.05, saves_code=True))) is Reason.IMPROVED


def test_less_code_that_is_clearly_worse_is_no_simplification() -> None:
    assert verdict(judge(case(-0.05, saves_code=True))) is Reason.REGRESSION


def test_less_code_is_trained_again_where_it_is_likely_but_not_sure_enough() -> None:
    # Without the saving it would be discarded.
    assert verdict(judge(case(-0.004))) is Reason.WITHIN_NOISE
    assert judge(case(-0.004, saves_code=True)) == (candidate(1),)


def test_less_code_must_be_no_worse_with_nine_tenths() -> None:
    for gain in (0.0, -0.001, -0.002, -0.003):
        asked = case(gain, gain, saves_code=True)
        likely = weigh(asked, pairs_of(asked.candidate, asked.bank)).belief.above(-1)
        is_kept = isinstance(judge(asked), Decision)
        assert is_kept == (likely >= 0.9), likely


def test_less_code_has_so_many_pairs_at_most() -> None:
    doubtful = (-0.004,) * SIMPLER_PAIRS
    belief = weigh(
        case(*doubtful), pairs_of(case(*doubtful).candidate, case(*doubtful).bank)
    ).belief
    assert 0.5 < belief.above(-1) < SIMPLER_PROBABILITY, "the sample is in doubt"
    assert judge(case(*doubtful[:-1], saves_code=True)) == (candidate(SIMPLER_PAIRS - 1),)
    assert verdict(judge(case(*doubtful, saves_code=True))) is Reason.WITHIN_NOISE


def test_what_simpler_code_has_lost_before_counts() -> None:
    equal = (0.0005, -0.0005, 0.0, 0.001)
    lost = {"saves_code": True, "lost_bpb": 0.9 * NOISE_BPB}
    assert verdict(judge(case(*equal, **lost))) is Reason.WITHIN_NOISE
    better = case(*equal, saves_code=True, lost_bpb=0.1 * NOISE_BPB)
    assert verdict(judge(better)) is Reason.SIMPLER


# What pruning is told.


@pytest.mark.parametrize("keep_probability", [0.7, 0.85, 0.95])
@pytest.mark.parametrize("saves_code", [False, True])
def test_the_needed_gain_is_where_a_first_pair_is_discarded(
    keep_probability: float, saves_code: bool
) -> None:
    more = {"keep_probability": keep_probability, "saves_code": saves_code}
    needed = needed_gain_bpb(case(**more))
    assert verdict(judge(case(needed - 0.12 * NOISE_BPB, **more))) in (
        Reason.WITHIN_NOISE,
        Reason.REGRESSION,
    )
    above = judge(case(needed + 0.001 * NOISE_BPB, **more))
    assert not isinstance(above, Decision) or above.verdict is Verdict.KEEP
    assert abs(needed) < MOST_NEEDED * NOISE_BPB


def test_less_code_needs_less() -> None:
    assert needed_gain_bpb(case(saves_code=True)) < needed_gain_bpb(case()) - 0.5 * NOISE_BPB
    lost = case(saves_code=True, lost_bpb=NOISE_BPB)
    assert needed_gain_bpb(lost) > needed_gain_bpb(case(saves_code=True))


def test_the_needed_gain_follows_the_noise() -> None:
    wide = case(preset_noise_bpb=10 * NOISE_BPB)
    assert needed_gain_bpb(wide) == pytest.approx(10 * needed_gain_bpb(case()))


def test_constants_are_those_that_the_bench_was_run_with() -> None:
    assert (PRICE, MOST_PAIRS) == (0.3, 8)
    assert math.isclose(decision.SIMPLER_MARGIN, 1.0)
