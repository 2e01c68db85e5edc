import pytest

from nightlab.records import (
    Evaluation,
    InFlight,
    PreflightResult,
    Replicate,
    TrainingResult,
    utc_now,
)
from nightlab.study.step_clock import StepClock


def test_training_is_taken_out_of_the_sandboxs_time() -> None:
    clock = StepClock()
    clock.add("sandbox", 10.0)
    clock.split_training(TrainingResult(startup_seconds=2.0, training_seconds=7.0))
    clock.add("sandbox", 5.0)
    clock.split_training(TrainingResult(startup_seconds=5.0))
    seconds = clock.totals()
    assert seconds["startup"] == pytest.approx(7.0)
    assert seconds["train"] == pytest.approx(7.0)
    assert seconds["sandbox"] == pytest.approx(1.0)


def test_a_step_that_raises_is_timed_too() -> None:
    clock = StepClock()
    with pytest.raises(ValueError, match="x"), clock("propose"):
        raise ValueError("x")
    assert "propose" in clock.totals()


def test_what_was_measured_before_a_kill_counts() -> None:
    mark = InFlight(
        study="s",
        number=1,
        parent="a" * 40,
        commit="b" * 40,
        preflight=PreflightResult(seconds=3.0),
        replicates=(
            Replicate(
                seed=1,
                training=TrainingResult(startup_seconds=2.0, training_seconds=20.0),
                evaluation=Evaluation(val_bpb=1.0, seconds=4.0),
            ),
        ),
        incumbent_replicates=(Replicate(seed=2, training=TrainingResult(training_seconds=19.0)),),
        started_at=utc_now(),
    )
    clock = StepClock(mark)
    clock.add("train", 1.0)
    found = clock.totals()
    assert (found["train"], found["startup"], found["preflight"]) == (40.0, 2.0, 3.0)
    assert found["evaluate"] == 4.0
    assert found["total"] == pytest.approx(48.0, abs=0.5)
