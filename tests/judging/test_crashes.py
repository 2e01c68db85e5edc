"""When failed trainings make a crash."""

import pytest

from nightlab.judging.crashes import broken_down, first_crash
from nightlab.records import Evaluation, Reason, Replicate, TrainingResult, Verdict
from tests.case_samples import replicate


def failed(reason: Reason, seed: int = 1) -> Replicate:
    training = TrainingResult(failure=reason, message=f"It ended with {reason.value}.")
    return Replicate(seed=seed, training=training)


def trained(loss: float | None, claimed: float | None, seed: int) -> Replicate:
    evaluation = Evaluation(val_bpb=2.0 + seed / 10, claimed_bpb=claimed)
    return Replicate(seed=seed, training=TrainingResult(final_loss=loss), evaluation=evaluation)


def test_a_failed_training_is_a_crash_in_its_own_words() -> None:
    crash = first_crash([failed(Reason.NONFINITE)])
    assert crash is not None
    assert (crash.verdict, crash.reason) == (Verdict.CRASH, Reason.NONFINITE)
    assert crash.sentence == "It ended with nonfinite."
    assert first_crash([]) is None
    assert first_crash([replicate(2.0, 0), replicate(2.1, 1)]) is None


def test_a_failed_evaluation_is_one_too() -> None:
    evaluation = Evaluation(failure=Reason.AUDIT, message="The claims do not hold.")
    crash = first_crash([Replicate(seed=1, training=TrainingResult(), evaluation=evaluation)])
    assert crash is not None
    assert (crash.reason, crash.sentence) == (Reason.AUDIT, "The claims do not hold.")


@pytest.mark.parametrize("reason", [Reason.OOM, Reason.TIMEOUT, Reason.STARTUP_TIMEOUT])
def test_what_another_job_may_bring_about_is_excused_once_after_a_score(reason: Reason) -> None:
    scored = replicate(2.0, 0)
    assert first_crash([scored, failed(reason)]) is None
    assert first_crash([failed(reason)]) is not None
    assert first_crash([failed(reason), scored]) is None, "side by side there is no order"
    twice = first_crash([scored, failed(reason), replicate(2.0, 2), failed(reason, 3)])
    assert twice is not None
    assert twice.reason is reason


def test_what_is_the_codes_own_fault_is_not_excused() -> None:
    for reason in (Reason.EXCEPTION, Reason.NONFINITE, Reason.CONTRACT, Reason.AUDIT):
        assert first_crash([replicate(2.0, 0), failed(reason)]) is not None


def test_a_code_that_ignores_its_seed_breaks_the_contract() -> None:
    crash = first_crash([trained(5.1, 2.0, 1), trained(5.1, 2.0, 2)])
    assert crash is not None
    assert (crash.verdict, crash.reason) == (Verdict.CRASH, Reason.CONTRACT)
    assert "run.seed" in crash.sentence


@pytest.mark.parametrize(
    "other",
    [
        trained(5.2, 2.0, 2),
        trained(5.1, 2.1, 2),
        trained(5.1, 2.0, 1),
        trained(None, 2.0, 2),
        trained(5.1, None, 2),
        failed(Reason.OOM, 2),
    ],
)
def test_other_losses_or_the_same_seed_are_no_sign_of_that(other: Replicate) -> None:
    assert first_crash([trained(5.1, 2.0, 1), other]) is None


def test_what_was_not_measured_is_not_equal() -> None:
    assert first_crash([trained(None, 2.0, 1), trained(None, 2.0, 2)]) is None
    assert first_crash([trained(5.1, None, 1), trained(5.1, None, 2)]) is None


def test_two_failures_in_a_row_are_no_accident() -> None:
    good, bad = replicate(2.0, 0), failed(Reason.OOM)
    assert broken_down([good, bad, failed(Reason.TIMEOUT, 4)]) == failed(Reason.TIMEOUT, 4)
    for fine in ([], [good], [bad], [bad, good], [good, bad], [bad, bad, good], [bad, good, bad]):
        assert broken_down(fine) is None
