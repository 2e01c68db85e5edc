"""Where the wall clock of a trial goes."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from nightlab.records import InFlight, TrainingResult


class StepClock:
    """Adds up the seconds that each step of a trial took.

    Args:
        mark: of the trial. What it has of measurements already was made before a kill, and counts;
            what was cut off, and what surrounded them then, is not known any more.
    """

    def __init__(self, mark: InFlight | None = None) -> None:
        self.seconds: dict[str, float] = {}
        if mark is not None:
            self._count_earlier(mark)
        self._earlier = sum(self.seconds.values())
        self._begun = time.monotonic()

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        """Time a block as part of ``step``."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.add(step, time.monotonic() - begun)

    def add(self, step: str, seconds: float) -> None:
        """Add seconds that were measured elsewhere."""
        self.seconds[step] = self.seconds.get(step, 0.0) + seconds

    def split_training(self, results: Sequence[TrainingResult]) -> None:
        """Take start-up and training out of ``sandbox``, which then is what surrounds them.

        Of trainings side by side the longest counts: start-up and training of that one, which
        together are not longer than the round was.
        """
        spent = [(each.startup_seconds or 0.0, _wall_seconds(each)) for each in results]
        startup, train = max(spent, key=sum, default=(0.0, 0.0))
        self.add("startup", startup)
        self.add("train", train)
        self.add("sandbox", -startup - train)

    def totals(self) -> dict[str, float]:
        """Seconds by step, with the whole as ``total``."""
        return {
            **{step: round(seconds, 3) for step, seconds in self.seconds.items()},
            "total": round(self._earlier + time.monotonic() - self._begun, 3),
        }

    def _count_earlier(self, mark: InFlight) -> None:
        if mark.preflight is not None:
            self.add("preflight", mark.preflight.seconds)
        for replicate in (*mark.replicates, *mark.incumbent_replicates):
            training, evaluation = replicate.training, replicate.evaluation
            self.add("startup", training.startup_seconds or 0.0)
            self.add("train", _wall_seconds(training))
            self.add("evaluate", (evaluation.seconds if evaluation is not None else None) or 0.0)


def _wall_seconds(training: TrainingResult) -> float:
    return training.wall_seconds or training.training_seconds or 0.0
