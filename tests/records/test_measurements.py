"""What a replicate says of itself: the first thing that went wrong, or its score."""

import pytest

from nightlab.records import (
    Confinement,
    Evaluation,
    PreflightResult,
    Reason,
    Replicate,
    TrainingResult,
)

TRAINED = TrainingResult(training_seconds=20.4, num_steps=700, message="Trained.")
TIMEOUT = TrainingResult(failure=Reason.TIMEOUT, message="It was late.")
SCORED = Evaluation(val_bpb=1.23456, message="Scored.")
CAUGHT = Evaluation(failure=Reason.AUDIT, message="It did not agree.")


@pytest.mark.parametrize(
    ("training", "evaluation", "failure", "message", "score", "sentence"),
    [
        (TRAINED, None, None, "Trained.", None, "700 steps in 20 s"),
        (TRAINED, SCORED, None, "Scored.", 1.23456, "1.2346 bits per byte"),
        (TRAINED, CAUGHT, Reason.AUDIT, "It did not agree.", None, "audit: It did not agree."),
        (TIMEOUT, None, Reason.TIMEOUT, "It was late.", None, "timeout: It was late."),
        (TIMEOUT, CAUGHT, Reason.TIMEOUT, "It was late.", None, "audit: It did not agree."),
        (TRAINED, Evaluation(), None, "", None, "not scored"),
    ],
)
def test_the_first_failure_counts_and_its_message(
    training: TrainingResult,
    evaluation: Evaluation | None,
    failure: Reason | None,
    message: str,
    score: float | None,
    sentence: str,
) -> None:
    replicate = Replicate(seed=1, training=training, evaluation=evaluation)
    assert replicate.failure == failure
    assert replicate.failure_message == message
    assert replicate.val_bpb == score
    assert replicate.sentence == sentence


@pytest.mark.parametrize(
    ("steps", "seconds", "sentence"),
    [
        (None, None, "trained"),
        (3, None, "3 steps"),
        (None, 9.6, "10 s"),
        (0, 0.0, "0 steps in 0 s"),
    ],
)
def test_what_is_not_known_of_a_training_is_not_said(
    steps: int | None, seconds: float | None, sentence: str
) -> None:
    assert TrainingResult(num_steps=steps, training_seconds=seconds).sentence == sentence


@pytest.mark.parametrize(
    ("rung", "name", "label"),
    [
        ("1", "bubblewrap", "1 bubblewrap"),
        ("none", "none", "none"),
        ("2", "", "2"),
        ("1n", "bubblewrap", "1n bubblewrap"),
    ],
)
def test_a_confinement_is_called_by_rung_and_name(rung: str, name: str, label: str) -> None:
    assert Confinement(rung=rung, name=name).label == label


def test_what_was_not_measured_is_missing_and_never_nought() -> None:
    """In a column where lower is better, 0 would be the best score."""
    training, evaluation = TrainingResult(), Evaluation()
    for name in (
        *("startup_seconds", "charged_seconds", "training_seconds", "wall_seconds"),
        *("num_steps", "num_tokens", "num_params", "final_loss", "tokens_per_second"),
        *("peak_memory_mb", "mfu_percent", "exit_code", "forecast", "other_work", "failure"),
    ):
        assert getattr(training, name) is None, name
    for name in (
        *("val_bpb", "standard_error", "row_standard_error", "claimed_bpb", "correction_bpb"),
        *("audited_positions", "largest_deviation_nats", "audit_seconds", "num_tokens"),
        *("num_bytes", "seconds", "failure"),
    ):
        assert getattr(evaluation, name) is None, name
    assert (training.clock, training.curve, training.loss_profile) == ("wall", (), ())
    assert (evaluation.split, evaluation.log, training.log) == ("val", "", "")
    assert PreflightResult(seconds=1.0).failure is None
    assert Replicate(seed=1, training=training).place == ""
