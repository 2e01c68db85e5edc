"""Made-up trainers: scores as a function of the declared knobs, drawn at random, with noise.

For benches of ways to search that would take days for real. What is drawn is where each knob is
best and how much it matters; nothing is taken from measurements of the shipped trainer but the
order of magnitude of a pair's noise. The best lies above the start as often as below it, so that no
way of searching is right by its first direction alone.
"""

import hashlib
import math
import random
from collections.abc import Mapping
from typing import Any

from nightlab.presets import PRESETS
from nightlab.proposers import knob_values, read_knobs
from nightlab.proposers.knobs.moves import Kind, kind_of, scale_of
from nightlab.records import Evaluation, Reason, TrainingResult
from nightlab.source.knobs import Knob, Value

START_BPB = 2.0
PAIR_NOISE_BPB = 0.006
"""Standard deviation of the difference of two trainings with one seed."""
SEED_NOISE_BPB = 0.01
"""Of what trainings with one seed have in common."""
BENDS = {Kind.SIZE: 0.02, Kind.BATCH: 0.02, Kind.RATE: 0.008, Kind.SHARE: 0.004}
"""Median loss, in bits per byte, one coarse step away from a knob's best value."""
SPREAD_OF_BENDS = 0.8
"""Standard deviation of their logarithm."""
DISTANCES = {Kind.SIZE: 1.0, Kind.BATCH: 0.7, Kind.RATE: 0.5, Kind.SHARE: 0.5}
"""How far from the start the best lies, in coarse steps: a standard deviation."""
ALIKE_BEND, ALIKE_DISTANCE = 0.008, 0.6
"""Of all knobs, where none matters more by its kind."""
CHOICES_BPB = 0.006
"""Standard deviation of what a choice without order makes."""
MOST_STEPS = 2.2
"""Sizes that are larger by so many coarse steps, together, run out of memory."""


class Landscape:
    """One made-up trainer."""

    def __init__(self, seed: int, source: str, *, is_alike: bool = False) -> None:
        """Draw it.

        Args:
            seed: of the draw.
            source: the trainer whose knobs it has, set as at the start.
            is_alike: whether sizes matter no more than other knobs.
        """
        self.sizes = PRESETS["quick"]
        chance = random.Random(f"landscape {seed}")
        self._knobs = read_knobs(source)
        self._best: dict[str, float] = {}
        self._bend: dict[str, float] = {}
        self._choice: dict[tuple[str, str], float] = {}
        for name, knob in self._knobs.items():
            kind = kind_of(knob)
            if kind is Kind.CHOICE:
                for choice in knob.choices or ():
                    self._choice[name, str(choice)] = chance.gauss(0, CHOICES_BPB)
                continue
            away = ALIKE_DISTANCE if is_alike else DISTANCES[kind]
            bend = ALIKE_BEND if is_alike else BENDS[kind]
            self._best[name] = _place(knob, knob.value) + chance.gauss(0, away)
            self._bend[name] = bend * math.exp(chance.gauss(0, SPREAD_OF_BENDS))
        self._low = START_BPB - self._loss(knob_values(source))

    def true_bpb(self, values: Mapping[str, Any]) -> float:
        """The score without noise; ``START_BPB`` at the start."""
        return self._low + self._loss(values)

    def _loss(self, values: Mapping[str, Any]) -> float:
        score = 0.0
        for name, best in self._best.items():
            away = _place(self._knobs[name], values[name]) - best
            score += self._bend[name] * away**2 / math.sqrt(1 + away**2 / 4)
        for name in {name for name, _ in self._choice}:
            score += self._choice[name, str(values[name])]
        return score

    def measure(self, source: str, seed: int) -> tuple[TrainingResult, Evaluation | None]:
        """A training, or a lack of memory."""
        values = knob_values(source)
        if self._size(values) > MOST_STEPS:
            failed = TrainingResult(failure=Reason.OOM, message="Out of memory.")
            return failed.model_copy(update={"training_seconds": 1.0}), None
        common = random.Random(f"seed {seed}").gauss(0, SEED_NOISE_BPB)
        digest = hashlib.blake2b(f"{seed} {sorted(values.items())}".encode()).hexdigest()
        own = random.Random(digest).gauss(0, PAIR_NOISE_BPB / math.sqrt(2))
        score = self.true_bpb(values) + common + own
        return TrainingResult(training_seconds=20.0), Evaluation(val_bpb=score)

    def _size(self, values: Mapping[str, Any]) -> float:
        return sum(
            _place(knob, values[name]) - _place(knob, knob.value)
            for name, knob in self._knobs.items()
            if kind_of(knob) is Kind.SIZE
        )


def _place(knob: Knob, value: Value) -> float:
    """Where a value lies, in coarse steps; zero of something lies a step below one."""
    place = scale_of(knob, value)
    return -1.0 if place is None else place
