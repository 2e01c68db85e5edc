"""What a decision rests on: pairs, and what the study has learnt."""

import math

import numpy as np
import pytest

from nightlab.judging.case import (
    WEAK_PAIRS,
    Noise,
    learnt_from,
    noise_of,
    pairs_of,
)
from nightlab.records import Decision, Pair, Reason, TrialRecord, Verdict
from tests.case_samples import replicate
from tests.samples import sample_record


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


def test_a_candidates_own_pairs_count_like_all_others() -> None:
    earlier, own = [(0.0, 0.01), (0.005, -0.005, 0.001)], (0.002, 0.012)
    one_by_one, together = noise_of(earlier, 0.01).including(own), noise_of([*earlier, own], 0.01)
    assert one_by_one.degrees_of_freedom == together.degrees_of_freedom
    assert one_by_one.pair_bpb == pytest.approx(together.pair_bpb)


def test_one_wild_candidate_does_not_set_the_noise_of_all_others() -> None:
    usual, wild = [(0.004, -0.004)] * 6, (-1.0, -1.4, -1.2)
    # For each of the wild one's two degrees of freedom nine times the median trial's variance.
    squares = 4 * 0.006**2 + 6 * 2 * 0.004**2 + 2 * 9 * 2 * 0.004**2 / 0.455
    found = noise_of([*usual, wild], 0.006)
    assert found.pair_bpb == pytest.approx((squares / 12) ** 0.5)
    # Of the first trial the preset says what is wild.
    assert noise_of([wild], 0.006).pair_bpb == pytest.approx(0.006 * ((4 + 2 * 9) / 6) ** 0.5)
    # Its own pairs say as little as they lie apart.
    assert noise_of(usual, 0.006).including(wild).pair_bpb > 0.08
    # A preset that is far off is outweighed all the same.
    far_off = noise_of([(0.03, -0.03)] * 12, 0.006)
    assert far_off.pair_bpb == pytest.approx(0.03 * 2**0.5, rel=0.2)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_wrong_preset_is_outvoted(factor: float) -> None:
    draw = np.random.default_rng(1)
    noise = noise_of(draw.normal(0, 0.01, (60, 3)).tolist(), 0.01 * factor)
    assert noise.pair_bpb == pytest.approx(0.01, rel=0.12)


def record(decision: Decision) -> TrialRecord:
    return sample_record(1).model_copy(update={"decision": decision})


def test_a_study_learns_from_pairs_and_counts_what_was_stopped() -> None:
    paired = sample_record(1, scores=(1.9, 1.95), incumbent=(2.0, 2.0))
    stopped = Decision(
        verdict=Verdict.DISCARD, reason=Reason.PRUNED, sentence="", difference_bpb=0.04
    )
    # A study from before pairs has differences too, which are of other noise.
    old = stopped.model_copy(update={"reason": Reason.WITHIN_NOISE})
    crash = Decision(verdict=Verdict.CRASH, reason=Reason.OOM, sentence="")
    learnt = learnt_from([paired, *(record(each) for each in (stopped, stopped, old, crash))])
    assert [list(each) for each in learnt.gains_bpb] == [pytest.approx([0.1, 0.05])]
    assert learnt.pruned == 2
