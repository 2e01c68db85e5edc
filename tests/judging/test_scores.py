"""Scores of a code, and the noise that spreads them."""

import math

import pytest

from nightlab.judging.contention import mark_contended
from nightlab.judging.scores import (
    counted_scores,
    incumbent_evidence,
    is_better,
    mean_bpb,
    measure_noise,
    reference_bpb,
    standing_record,
)
from nightlab.records import (
    Evaluation,
    Reason,
    Replicate,
    TrainingResult,
    TrialRecord,
    Verdict,
)
from tests.samples import sample_record


def replicate(val_bpb: float | None, seed: int = 1) -> Replicate:
    return Replicate(seed=seed, training=TrainingResult(), evaluation=Evaluation(val_bpb=val_bpb))


def test_the_better_score_is_the_lower_one() -> None:
    assert is_better(1.0, 2.0)
    assert not is_better(2.0, 1.0)
    assert not is_better(1.0, 1.0)


def test_noise_is_pooled_over_trainings_that_nothing_selected() -> None:
    baseline = sample_record(
        0, scores=(1.00, 1.02, 1.04), verdict=Verdict.KEEP, reason=Reason.BASELINE
    )
    refreshed = sample_record(1, scores=(5.00, 4.00)).model_copy(
        update={"incumbent_replicates": (replicate(3.00, 1), replicate(3.02, 2))}
    )
    noise = measure_noise((baseline, refreshed, sample_record(2, scores=(2.0,))))
    assert noise is not None
    assert noise.degrees_of_freedom == 3
    assert noise.sigma_bpb == pytest.approx(math.sqrt((2 * 0.0004 + 0.0002) / 3))


def test_noise_is_unknown_without_replicates() -> None:
    assert measure_noise((sample_record(0, scores=(1.0,)),)) is None


def test_all_trainings_of_a_commit_are_its_evidence() -> None:
    baseline = sample_record(0, scores=(2.0, 2.01), verdict=Verdict.KEEP, reason=Reason.BASELINE)
    baseline = baseline.model_copy(update={"commit": baseline.parent})
    later = sample_record(1, scores=(2.5,)).model_copy(
        update={"incumbent_replicates": (replicate(1.99, 7),)}
    )
    records = (baseline, later)
    found = incumbent_evidence(records, baseline.parent)
    assert [each.val_bpb for each in found] == [2.0, 2.01, 1.99]
    noise = measure_noise(records)
    assert noise is not None
    assert noise.degrees_of_freedom == 2
    assert measure_noise(records, without={baseline.parent}) is None


def test_contended_scores_count_only_where_they_are_many_and_the_most() -> None:
    def slow(seed: int) -> Replicate:
        return replicate(3.0, seed).model_copy(update={"contended": True})

    calm = [replicate(2.0, seed) for seed in range(16)]
    assert counted_scores([*calm, *map(slow, range(20, 24))]) == [2.0] * 16
    assert counted_scores([*calm[:2], *map(slow, range(20, 23))]) == [2.0] * 2
    assert counted_scores([*calm[:2], *map(slow, range(20, 24))]) == [2.0] * 2 + [3.0] * 4


def test_a_faster_machine_is_no_better_code() -> None:
    """What a real session met: another job ended, and identical code scored 0.08 bpb lower."""

    def at(rate: float, score: float, seed: int) -> Replicate:
        found = replicate(score, seed)
        return found.model_copy(update={"training": TrainingResult(tokens_per_second=rate)})

    slow = [(6696, 2.1851), (6789, 2.1835), (6493, 2.1866), (6707, 2.1899), (6563, 2.1826)]
    fast = [(9286, 2.0751), (9500, 2.0792), (8809, 2.0889)]
    rates = [at(rate, score, seed) for seed, (rate, score) in enumerate([*slow, *fast])]
    assert counted_scores(mark_contended(rates)) == [score for _, score in fast]
    baseline = sample_record(0, verdict=Verdict.KEEP, reason=Reason.BASELINE).model_copy(
        update={"replicates": tuple(rates)}
    )
    noise = measure_noise((baseline,))
    assert noise is not None
    assert noise.sigma_bpb < 0.01


def test_what_was_simplified_is_compared_with_where_that_began() -> None:
    def kept(number: int, parent: TrialRecord, score: float, reason: Reason) -> TrialRecord:
        record = sample_record(number, scores=(score,), verdict=Verdict.KEEP, reason=reason)
        return record.model_copy(update={"parent": parent.commit})

    baseline = sample_record(0, scores=(2.0,), verdict=Verdict.KEEP, reason=Reason.BASELINE)
    better = kept(1, baseline, 1.9, Reason.IMPROVED)
    shorter = kept(2, better, 1.91, Reason.SIMPLER)
    shortest = kept(3, shorter, 1.92, Reason.SIMPLER)
    records = (baseline, better, shorter, shortest)
    assert reference_bpb(records, shortest.commit) == 1.9
    assert reference_bpb(records, better.commit) == 1.9
    assert reference_bpb(records, baseline.commit) == 2.0
    assert reference_bpb((), "f" * 40) is None


def test_a_missing_score_is_never_zero() -> None:
    assert mean_bpb([replicate(None)]) is None


def test_the_incumbent_is_the_keep_that_no_other_was_built_on() -> None:
    def kept(number: int, parent: str, reason: Reason = Reason.IMPROVED) -> TrialRecord:
        record = sample_record(number, scores=(2.0,), verdict=Verdict.KEEP, reason=reason)
        return record.model_copy(update={"parent": parent})

    baseline = kept(0, f"{0:040x}", Reason.BASELINE)
    assert standing_record((baseline, sample_record(1))) is baseline
    # Trial 2 waited as an idea while trial 1 was retried as trial 3, and was kept after that.
    third = kept(3, baseline.commit)
    second = kept(2, third.commit)
    assert standing_record((baseline, second, third)) is second
    assert standing_record(()) is None


def test_evidence_is_marked_by_all_trainings_of_the_code() -> None:
    def at(rate: float, seed: int) -> Replicate:
        found = replicate(2.0, seed)
        training = TrainingResult(tokens_per_second=rate)
        return found.model_copy(update={"training": training})

    baseline = sample_record(0, verdict=Verdict.KEEP, reason=Reason.BASELINE)
    # Of its own two, the slower was taken for contended; later ones say which is usual.
    own = (at(100.0, 1).model_copy(update={"contended": True}), at(150.0, 2))
    baseline = baseline.model_copy(update={"commit": baseline.parent, "replicates": own})
    later = sample_record(1, scores=(2.5,)).model_copy(
        update={"incumbent_replicates": (at(100.0, 7), at(101.0, 8))}
    )
    found = incumbent_evidence((baseline, later), baseline.parent)
    assert [each.seed for each in found if each.contended] == [2]
    counted = baseline.model_copy(update={"budget_tokens": 1000})
    found = incumbent_evidence((counted, later), baseline.parent)
    assert not any(each.contended for each in found)
