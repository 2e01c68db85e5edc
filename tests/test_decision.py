import math
import random
from statistics import fmean

import pytest
from scipy import stats

from nightlab import decision
from nightlab.decision import Noise, decide, decide_baseline, keep_threshold_bpb, measure_noise
from nightlab.records import Evaluation, Reason, Replicate, TrainingResult, Verdict
from tests.samples import sample_record


def replicate(val_bpb: float | None, seed: int = 1) -> Replicate:
    return Replicate(seed=seed, training=TrainingResult(), evaluation=Evaluation(val_bpb=val_bpb))


def test_the_better_score_is_the_lower_one() -> None:
    assert decision.is_better(1.0, 2.0)
    assert not decision.is_better(2.0, 1.0)
    assert not decision.is_better(1.0, 1.0)


def test_the_quantiles_are_those_of_student() -> None:
    for degrees, quantile in decision._T_95.items():
        assert quantile == pytest.approx(stats.t.ppf(decision.CONFIDENCE, degrees), abs=6e-4)


def test_noise_is_pooled_within_each_code_and_not_between_codes() -> None:
    records = (
        sample_record(0, scores=(1.00, 1.02, 1.04)),
        sample_record(1, scores=(2.00,)),
        sample_record(2, scores=(5.00, 5.02)),
    )
    noise = measure_noise(records)
    assert noise is not None
    assert noise.degrees_of_freedom == 3
    assert noise.sigma_bpb == pytest.approx(math.sqrt((2 * 0.0004 + 0.0002) / 3))


def test_noise_is_unknown_without_replicates() -> None:
    assert measure_noise((sample_record(0, scores=(1.0,)),)) is None


def test_more_replicates_lower_the_threshold() -> None:
    noise = Noise(sigma_bpb=0.01, degrees_of_freedom=2)
    assert keep_threshold_bpb(noise, 3, 3) < keep_threshold_bpb(noise, 1, 3)
    assert keep_threshold_bpb(noise, 1, 3) == pytest.approx(2.920 * 0.01 * math.sqrt(4 / 3))


@pytest.mark.parametrize(
    ("score", "verdict", "reason"),
    [
        (1.90, Verdict.KEEP, Reason.IMPROVED),
        (1.99, Verdict.DISCARD, Reason.WITHIN_NOISE),
        (2.01, Verdict.DISCARD, Reason.WITHIN_NOISE),
        (2.10, Verdict.DISCARD, Reason.REGRESSION),
    ],
)
def test_a_verdict_needs_a_difference_beyond_the_noise(
    score: float, verdict: Verdict, reason: Reason
) -> None:
    noise = Noise(sigma_bpb=0.01, degrees_of_freedom=2)
    incumbent = [replicate(s) for s in (1.99, 2.00, 2.01)]
    made = decide([replicate(score)], incumbent, noise)
    assert (made.verdict, made.reason) == (verdict, reason)
    assert made.difference_bpb == pytest.approx(score - 2.0)
    assert f"{score:.4f}" in made.sentence
    assert "2.0000" in made.sentence


def test_identical_code_is_kept_in_at_most_one_of_twenty_trials() -> None:
    draw = random.Random(0)
    kept, trials = 0, 4000
    for _ in range(trials):
        scores = [draw.gauss(2.0, 0.01) for _ in range(3)]
        noise = measure_noise((sample_record(0, scores=tuple(scores)),))
        assert noise is not None
        made = decide([replicate(draw.gauss(2.0, 0.01))], [replicate(s) for s in scores], noise)
        kept += made.verdict is Verdict.KEEP
    standard_error = math.sqrt(0.05 * 0.95 / trials)
    assert kept / trials == pytest.approx(0.05, abs=3 * standard_error)


def test_a_crash_names_the_first_thing_that_failed() -> None:
    crashed = Replicate(
        seed=1, training=TrainingResult(failure=Reason.OOM, message="It ran out of memory.")
    )
    made = decide([crashed], [replicate(2.0)], Noise(sigma_bpb=0.01, degrees_of_freedom=2))
    assert (made.verdict, made.reason) == (Verdict.CRASH, Reason.OOM)
    assert made.sentence == "It ran out of memory."
    assert made.difference_bpb is None


def test_an_evaluation_that_fails_is_a_crash_too() -> None:
    broken = Replicate(
        seed=1,
        training=TrainingResult(),
        evaluation=Evaluation(failure=Reason.NONFINITE, message="A loss was not finite."),
    )
    made = decide_baseline([replicate(2.0), broken])
    assert (made.verdict, made.reason) == (Verdict.CRASH, Reason.NONFINITE)


def test_a_baseline_is_the_mean_of_its_seeds() -> None:
    made = decide_baseline([replicate(s) for s in (1.9, 2.0, 2.1)])
    assert (made.verdict, made.reason) == (Verdict.KEEP, Reason.BASELINE)
    assert f"{fmean((1.9, 2.0, 2.1)):.4f}" in made.sentence


def test_a_missing_score_is_never_zero() -> None:
    assert decision.mean_bpb([replicate(None)]) is None


def test_seeds_that_change_nothing_break_the_contract() -> None:
    def trained(seed: int, loss: float) -> Replicate:
        return Replicate(
            seed=seed,
            training=TrainingResult(final_loss=loss),
            evaluation=Evaluation(val_bpb=2.0),
        )

    made = decide_baseline([trained(1, 3.5), trained(2, 3.4), trained(3, 3.5)])
    assert (made.verdict, made.reason) == (Verdict.CRASH, Reason.CONTRACT)
    assert decide_baseline([trained(1, 3.5), trained(2, 3.4)]).verdict is Verdict.KEEP
