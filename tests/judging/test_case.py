"""What a decision rests on: pairs, and what the study has learnt."""

import math

import numpy as np
import pytest
from hypothesis import strategies as st

from nightlab.judging.case import (
    FORECAST_PAIRS,
    WEAK_PAIRS,
    Learnt,
    Noise,
    findings_of,
    known_of,
    learnt_from,
    noise_of,
    pairs_of,
)
from nightlab.judging.prior import prior_of
from nightlab.records import Decision, Pair, Reason, TrialRecord, Verdict
from tests.case_samples import replicate
from tests.samples import sample_record

gains = st.lists(st.floats(-0.1, 0.1), min_size=1, max_size=6)


def test_a_pair_has_one_seed_and_one_place() -> None:
    candidate = [
        replicate(1.9, 1),
        replicate(1.8, 2),
        replicate(None, 3),
        replicate(1.7, 4),
        replicate(1.6, 5, place="there"),
    ]
    bank = {1: replicate(2.0, 1), 3: replicate(2.1, 3), 4: replicate(None, 4)}
    bank[5] = replicate(2.0, 5)
    (pair,) = pairs_of(candidate, bank)
    assert pair == Pair(seed=1, candidate_bpb=1.9, incumbent_bpb=2.0)
    assert pair.difference_bpb == pytest.approx(-0.1)


def test_noise_without_pairs_is_the_presets() -> None:
    assert noise_of([], 0.006) == Noise(pair_bpb=0.006, degrees_of_freedom=WEAK_PAIRS)
    # One pair of a trial says nothing of how far pairs lie apart.
    assert noise_of([(0.5,), (-0.5,)], 0.006) == noise_of([], 0.006)


def test_noise_is_pooled_around_the_mean_of_each_trial() -> None:
    noise = noise_of([(0.01, 0.03), (-0.5, -0.5, -0.47)], 0.01)
    squares = 4 * 0.01**2 + 2 * 0.01**2 + 2 * 0.01**2 + 0.02**2
    assert noise.degrees_of_freedom == 4 + 1 + 2
    assert noise.pair_bpb == pytest.approx(math.sqrt(squares / 7))


def test_one_more_trial_counts_like_all_others() -> None:
    earlier, own = [(0.0, 0.01), (0.005, -0.005, 0.001)], (0.002, 0.012)
    one_by_one, together = noise_of(earlier, 0.01).including(own), noise_of([*earlier, own], 0.01)
    assert one_by_one.degrees_of_freedom == together.degrees_of_freedom
    assert one_by_one.pair_bpb == pytest.approx(together.pair_bpb)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_wrong_preset_is_outvoted(factor: float) -> None:
    draw = np.random.default_rng(1)
    noise = noise_of(draw.normal(0, 0.01, (60, 3)).tolist(), 0.01 * factor)
    assert noise.pair_bpb == pytest.approx(0.01, rel=0.12)


def record(decision: Decision) -> TrialRecord:
    return sample_record(1).model_copy(update={"decision": decision})


def test_a_study_learns_from_pairs_and_from_forecasts() -> None:
    paired = sample_record(1, scores=(1.9, 1.95), incumbent=(2.0, 2.0))
    stopped = Decision(
        verdict=Verdict.DISCARD, reason=Reason.PRUNED, sentence="", difference_bpb=0.04
    )
    blind = stopped.model_copy(update={"difference_bpb": None})
    # A study from before pairs has differences too, which are of other noise.
    old = stopped.model_copy(update={"reason": Reason.WITHIN_NOISE})
    crash = Decision(verdict=Verdict.CRASH, reason=Reason.OOM, sentence="")
    learnt = learnt_from([paired, *(record(each) for each in (stopped, blind, old, crash))])
    assert [list(each) for each in learnt.gains_bpb] == [pytest.approx([0.1, 0.05])]
    assert learnt.forecasts_bpb == (-0.04,)


def test_findings_are_in_units_of_the_noise() -> None:
    learnt = Learnt(gains_bpb=((0.02, 0.04), (-0.01,)), forecasts_bpb=(-0.05,))
    found = findings_of(learnt, Noise(pair_bpb=0.01, degrees_of_freedom=5))
    assert [each.gain for each in found] == pytest.approx([3, -1, -5])
    assert [each.pairs for each in found] == [2, 1, FORECAST_PAIRS]


def test_what_is_known_before_a_trial() -> None:
    learnt = Learnt(gains_bpb=((0.02, 0.04), (-0.01,)), forecasts_bpb=(-0.05,))
    known = known_of(learnt, 0.01)
    noise = noise_of(learnt.gains_bpb, 0.01)
    assert known.noise == noise
    expected = prior_of(findings_of(learnt, noise), noise.degrees_of_freedom)
    assert known.prior == pytest.approx(expected)
    assert known_of(learnt, 0.01) is known
    assert known_of(learnt, 0.02).noise != noise


def test_one_wild_candidate_does_not_set_the_noise_of_all_others() -> None:
    usual = [(0.004, -0.004)] * 6
    calm, wild = noise_of(usual, 0.006), noise_of([*usual, (-1.0, -1.4)], 0.006)
    assert wild.pair_bpb < 1.7 * calm.pair_bpb
    # A preset that is far off is outweighed all the same.
    far_off = noise_of([(0.03, -0.03)] * 12, 0.006)
    assert far_off.pair_bpb == pytest.approx(0.03 * 2**0.5, rel=0.2)
