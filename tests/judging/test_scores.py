"""Scores of a study: how they stand side by side, and how far noise spreads them."""

import math

import pytest

from nightlab.judging.scores import (
    expected_false_keeps,
    find_baseline,
    is_better,
    level_bpb,
    lost_since_improvement_bpb,
    mean_bpb,
    pool_noise,
    scores_of,
    seed_noise,
    standing_record,
)
from nightlab.records import Reason, TrialRecord, Verdict
from tests.case_samples import replicate
from tests.samples import sample_record


def kept(
    number: int,
    parent: str,
    reason: Reason = Reason.IMPROVED,
    val_bpb: float | None = 2.0,
    verdict: Verdict = Verdict.KEEP,
    **decided: object,
) -> TrialRecord:
    record = sample_record(number, verdict=verdict, reason=reason)
    decision = record.decision.model_copy(update=decided)
    return record.model_copy(update={"parent": parent, "val_bpb": val_bpb, "decision": decision})


def commit(number: int) -> str:
    return f"{number:040x}"


BASELINE = kept(0, commit(0), Reason.BASELINE)


def test_the_better_score_is_the_lower_one() -> None:
    assert is_better(1.0, 2.0)
    assert not is_better(2.0, 1.0)
    assert not is_better(1.0, 1.0)


def test_a_missing_score_is_never_zero() -> None:
    assert scores_of([replicate(None), replicate(1.5)]) == [1.5]
    assert mean_bpb([replicate(None)]) is None
    assert mean_bpb([replicate(None), replicate(1.0), replicate(2.0)]) == 1.5


def test_a_trials_level_is_its_incumbents_and_its_own_difference() -> None:
    better = kept(1, BASELINE.commit, val_bpb=level_bpb([BASELINE], BASELINE.commit, -0.1))
    assert better.val_bpb == pytest.approx(1.9)
    # Discarded trials stand beside their incumbent, not beside what they scored.
    records = [BASELINE, better]
    assert level_bpb(records, better.commit, 0.05) == pytest.approx(1.95)
    assert level_bpb(records, BASELINE.commit, 0.05) == pytest.approx(2.05)


def test_without_a_pair_or_an_incumbent_there_is_no_level() -> None:
    assert level_bpb([BASELINE], BASELINE.commit, None) is None
    assert level_bpb([BASELINE], commit(7), -0.1) is None
    assert level_bpb([kept(0, commit(0), val_bpb=None)], commit(0), -0.1) is None
    discarded = kept(1, BASELINE.commit, verdict=Verdict.DISCARD)
    assert level_bpb([BASELINE, discarded], discarded.commit, -0.1) is None


def test_the_baseline_is_found() -> None:
    assert find_baseline([sample_record(1), BASELINE, sample_record(2)]) is BASELINE
    assert find_baseline([sample_record(1)]) is None


def test_the_incumbent_is_the_keep_that_no_other_was_built_on() -> None:
    assert standing_record((BASELINE, sample_record(1))) is BASELINE
    # Trial 2 waited as an idea while trial 1 was retried as trial 3, and was kept after that.
    third = kept(3, BASELINE.commit)
    second = kept(2, third.commit)
    assert standing_record((BASELINE, second, third)) is second
    discarded = kept(4, second.commit, verdict=Verdict.DISCARD)
    assert standing_record((BASELINE, second, third, discarded)) is second
    assert standing_record(()) is None
    # Of two that nothing was built on, as only hands can make them, the later one.
    assert standing_record((BASELINE, kept(5, BASELINE.commit), third)) is third


def test_what_simpler_code_lost_adds_up_since_the_last_improvement() -> None:
    early = kept(1, BASELINE.commit, Reason.SIMPLER, difference_bpb=0.5)
    better = kept(2, early.commit, difference_bpb=-0.1)
    shorter = kept(3, better.commit, Reason.SIMPLER, difference_bpb=0.01)
    shortest = kept(4, shorter.commit, Reason.SIMPLER, difference_bpb=0.02)
    records = [BASELINE, early, better, shorter, shortest]
    assert lost_since_improvement_bpb(records, shortest.commit) == pytest.approx(0.03)
    assert lost_since_improvement_bpb(records, shorter.commit) == pytest.approx(0.01)
    assert lost_since_improvement_bpb(records, better.commit) == 0
    assert lost_since_improvement_bpb(records, early.commit) == pytest.approx(0.5)
    assert lost_since_improvement_bpb(records, BASELINE.commit) == 0
    assert lost_since_improvement_bpb(records, commit(9)) == 0


def test_what_simpler_code_gained_is_no_room_to_lose() -> None:
    shorter = kept(1, BASELINE.commit, Reason.SIMPLER, difference_bpb=-0.04)
    shortest = kept(2, shorter.commit, Reason.SIMPLER, difference_bpb=0.01)
    assert lost_since_improvement_bpb([BASELINE, shorter], shorter.commit) == 0
    assert lost_since_improvement_bpb([BASELINE, shorter, shortest], shortest.commit) == 0
    unmeasured = kept(1, BASELINE.commit, Reason.SIMPLER)
    assert lost_since_improvement_bpb([BASELINE, unmeasured], unmeasured.commit) == 0


def test_the_false_keeps_to_be_expected_are_what_keeps_left_open() -> None:
    records = [
        BASELINE,
        kept(1, commit(0), probability_better=0.9),
        kept(2, commit(1), probability_better=0.98),
        kept(3, commit(2)),
        kept(4, commit(2), Reason.SIMPLER, probability_better=0.2),
        kept(5, commit(2), Reason.WITHIN_NOISE, verdict=Verdict.DISCARD, probability_better=0.6),
    ]
    assert expected_false_keeps(records) == pytest.approx(0.12)
    assert expected_false_keeps([]) == 0


def test_noise_between_seeds_is_that_of_trainings_that_nothing_selected() -> None:
    baseline = sample_record(
        0, scores=(1.00, 1.02, 1.04), verdict=Verdict.KEEP, reason=Reason.BASELINE
    )
    refreshed = sample_record(1, scores=(5.00, 4.00)).model_copy(
        update={"incumbent_replicates": (replicate(3.00, 1), replicate(3.02, 2))}
    )
    noise = seed_noise((baseline, refreshed, sample_record(2, scores=(2.0,))))
    assert noise is not None
    assert noise.degrees_of_freedom == 3
    assert noise.sigma_bpb == pytest.approx(math.sqrt((2 * 0.0004 + 0.0002) / 3))
    # A baseline's later trainings belong to it.
    joined = refreshed.model_copy(update={"parent": baseline.commit})
    noise = seed_noise((baseline, joined))
    assert noise is not None
    assert noise.degrees_of_freedom == 4
    assert seed_noise((sample_record(0, scores=(1.0,)),)) is None


def test_noise_is_pooled_within_groups() -> None:
    noise = pool_noise([[1.0, 3.0], [10.0], [], [5.0, 5.0, 8.0]])
    assert noise is not None
    assert noise.degrees_of_freedom == 3
    assert noise.sigma_bpb == pytest.approx(math.sqrt((2 + 6) / 3))
    assert pool_noise([[1.0], []]) is None
