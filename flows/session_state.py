"""What goes on in a session, put together from its events: for the terminal and for the page."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from nightlab import events
from nightlab.judging.scores import find_baseline
from nightlab.records import CurvePoint, Pair, TrialRecord, Verdict

TRAINING_STEPS = ("train", "confirm", "consolidate")
SCORING_STEP = "evaluate"
QUIET_SECONDS = 3.0
"""A training that said nothing for so long is over, once the next one begins."""


@dataclass(slots=True)
class Training:
    """One training, from its start-up until what it was for is known."""

    number: int | None
    seed: int
    whose: str
    began: float
    """Monotonic seconds; ``heard`` likewise."""
    heard: float
    gate: events.GateOpened | None = None
    is_scored: bool = False
    """Whether it is done, and its score is measured."""
    points: list[CurvePoint] = field(default_factory=list)

    @property
    def stage(self) -> str:
        """``starting up``, ``training`` or ``scoring``."""
        if self.is_scored:
            return "scoring"
        return "training" if self.gate is not None else "starting up"


class SessionState:
    """A session as it stands; several trainings may run side by side.

    Not safe to be used by two threads at once: its owner keeps them apart.
    """

    def __init__(self, study: str, records: Iterable[TrialRecord] = ()) -> None:
        self.study = study
        self.records = list(records)
        self.step: events.StepBegun | None = None
        self.step_began = time.monotonic()
        self.trainings: dict[tuple[int | None, int, str], Training] = {}
        self.pairs: tuple[Pair, ...] = ()
        self.probability_better: float | None = None
        self.notice = ""
        self._followed: dict[int, tuple[CurvePoint, ...]] = {}
        self._incumbent: dict[int, tuple[CurvePoint, ...]] = {}
        self._own: dict[int, tuple[CurvePoint, ...]] = {}

    def take(self, event: events.Event) -> None:
        """Take one event in."""
        if isinstance(event, events.StepBegun):
            self._begin(event)
        elif isinstance(event, events.GateOpened):
            training = self._training(event.number, event.seed, event.whose)
            training.gate = event
            training.points.clear()  # of a try before, where this is another
            self.notice = ""  # such as that the device is in use
        elif isinstance(event, events.Trained):
            training = self._training(event.number, event.seed, event.whose)
            training.points.append(event.point)
        elif isinstance(event, events.TwinFollowed):
            self._followed[event.seed] = event.curve
        elif isinstance(event, events.PairsMeasured):
            self.pairs, self.probability_better = event.pairs, event.probability_better
            self._drop(scored_only=True)
        elif isinstance(event, events.TrialEnded):
            self._end(event.record)
        else:
            self.notice = event.text

    def name_of(self, training: Training) -> str:
        """Whose a training is, for people."""
        if training.whose:
            return training.whose
        return "candidate" if find_baseline(self.records) is not None else "baseline"

    def twin(self, seed: int) -> tuple[CurvePoint, ...]:
        """The curve of the incumbent's finished training with a seed; empty where it has none."""
        # What was followed may be a summary of what this session has in full.
        return max(self._followed.get(seed, ()), self._incumbent.get(seed, ()), key=len)

    def remember(self, seed: int, curve: tuple[CurvePoint, ...]) -> None:
        """Add a curve of the incumbent's that an earlier session made."""
        self._incumbent.setdefault(seed, curve)

    def _begin(self, event: events.StepBegun) -> None:
        if event.number is not None and (self.step is None or self.step.number != event.number):
            self._forget()
        self.step, self.step_began = event, time.monotonic()
        if event.step in TRAINING_STEPS:
            self._drop()
            if event.seed is not None:
                self._training(event.number, event.seed, event.detail)
        elif event.step == SCORING_STEP and event.seed is not None:
            self._training(event.number, event.seed, event.detail).is_scored = True

    def _training(self, number: int | None, seed: int, whose: str) -> Training:
        now = time.monotonic()
        key = (number, seed, whose)
        if key not in self.trainings:
            self.trainings[key] = Training(number, seed, whose, began=now, heard=now)
        training = self.trainings[key]
        training.heard = now
        return training

    def _drop(self, *, scored_only: bool = False) -> None:
        """Let go of trainings that are over, when the next begin or their pairs are told."""
        now = time.monotonic()
        for key, each in list(self.trainings.items()):
            is_quiet = each.gate is not None and now - each.heard > QUIET_SECONDS
            if each.is_scored or (is_quiet and not scored_only):
                self._keep_curve(self.trainings.pop(key))

    def _keep_curve(self, training: Training) -> None:
        if training.whose == "incumbent":
            self._incumbent[training.seed] = tuple(training.points)
        elif not training.whose:
            self._own[training.seed] = tuple(training.points)

    def _forget(self) -> None:
        self.trainings, self._followed, self._own = {}, {}, {}
        self.pairs, self.probability_better = (), None

    def _end(self, record: TrialRecord) -> None:
        self.records.append(record)
        for training in self.trainings.values():
            self._keep_curve(training)
        if record.verdict is Verdict.KEEP:
            self._incumbent = dict(self._own)
        self._forget()
