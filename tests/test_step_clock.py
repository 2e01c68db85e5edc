import pytest

from nightlab.records import TrainingResult
from nightlab.step_clock import StepClock


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
