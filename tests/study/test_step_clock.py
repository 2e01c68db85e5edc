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


def took(startup: float, wall: float | None, processor: float | None = None) -> TrainingResult:
    return TrainingResult(
        startup_seconds=startup, wall_seconds=wall, training_seconds=processor or wall
    )


def test_training_is_taken_out_of_the_sandboxs_time() -> None:
    clock = StepClock()
    clock.add("sandbox", 10.0)
    clock.split_training([took(2.0, 7.0)])
    clock.add("sandbox", 5.0)
    clock.split_training([took(5.0, None)])
    seconds = clock.totals()
    assert seconds["startup"] == pytest.approx(7.0)
    assert seconds["train"] == pytest.approx(7.0)
    assert seconds["sandbox"] == pytest.approx(1.0)


def test_of_trainings_side_by_side_the_longest_counts() -> None:
    clock = StepClock()
    clock.add("sandbox", 23.0)
    # The one that starts slowest is not the one that trains longest.
    clock.split_training([took(10.0, 2.0), took(2.0, 20.0)])
    seconds = clock.totals()
    assert (seconds["startup"], seconds["train"], seconds["sandbox"]) == (2.0, 20.0, 1.0)
    clock.split_training([])
    assert clock.totals()["sandbox"] == 1.0


def test_it_counts_the_walls_seconds_and_not_the_processors() -> None:
    clock = StepClock()
    clock.split_training([took(1.0, 30.0, processor=20.0)])
    assert clock.totals()["train"] == 30.0
    # Records of before say the budget's alone.
    clock.split_training([TrainingResult(training_seconds=20.0)])
    assert clock.totals()["train"] == 50.0


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
