"""What a study's trials say about single knobs: where they went, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from nightlab.proposers.knobs.moves import Kind, direction_of, is_as_far, kind_of
from nightlab.proposers.knobs.space import is_near_value, is_same
from nightlab.records import Reason, TrialRecord, Verdict
from nightlab.source.knobs import Knob, Value, is_number

TUNER = "knobs"
"""The proposer whose trials move knobs and nothing else."""
CLEARLY = 2.0
"""Standard deviations of a pair's difference from which a loss is no accident."""
RAN_OUT = {Reason.OOM, Reason.TIMEOUT, Reason.STARTUP_TIMEOUT, Reason.RESOURCES}
RECALL = 40
"""For so many trials, what hurt clearly is not tried again."""


class Outcome(StrEnum):
    """What a trial came to, for whoever plans the next."""

    KEPT = "kept"
    BETTER = "better"
    """It looked better, not surely enough to be kept."""
    WORSE = "worse"
    """It looked worse, but that may be chance."""
    HURT = "hurt"
    """Clearly worse, or so far behind that it was not trained to the end."""
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A finished trial that moved knobs."""

    number: int
    outcome: Outcome
    moved: Mapping[str, tuple[Value, Value]]
    """Of each knob that it moved: from where to where."""
    noises: float | None
    """The difference to its incumbent in standard deviations of a pair's; negative is better."""
    is_tuning: bool
    """Whether it moved knobs only."""
    suspects: tuple[str, ...] = ()
    """Of a crash: the moved knobs that can have made it."""

    @property
    def single(self) -> str | None:
        """The one knob that it moved; None if there were more, or code changed too."""
        return next(iter(self.moved)) if self.is_tuning and len(self.moved) == 1 else None


@dataclass(frozen=True)
class History:
    """All that finished trials say about the knobs that stand now."""

    knobs: Mapping[str, Knob]
    """As the incumbent has them."""
    records: Sequence[TrialRecord]
    noise_bpb: float | None
    """Of a pair's difference, for records that do not say."""

    @cached_property
    def attempts(self) -> tuple[Attempt, ...]:
        """The trials that moved knobs of today's, in their order."""
        found = []
        standing: Mapping[str, Any] = {}
        kept: dict[str, Mapping[str, Any]] = {}
        for record in self.records:
            if record.verdict is not Verdict.FAILED and record.reason is not Reason.BASELINE:
                start = kept.get(record.parent, standing)
                attempt = self._attempt(record, start)
                if attempt.moved:
                    found.append(attempt)
            if record.verdict is Verdict.KEEP:
                standing = kept[record.commit] = record.knobs
        return tuple(found)

    @cached_property
    def since_keep(self) -> int:
        """How many trials of the tuner were measured since something was kept."""
        count = 0
        for attempt in self.attempts:
            count = 0 if attempt.outcome is Outcome.KEPT else count + attempt.is_tuning
        return count

    @cached_property
    def former(self) -> tuple[Mapping[str, Any], ...]:
        """The knobs of all incumbents so far."""
        kept = (record for record in self.records if record.verdict is Verdict.KEEP)
        return tuple(record.knobs for record in kept)

    def was_standing(self, name: str, value: Value) -> bool:
        """Whether an incumbent had this value already."""
        knob = self.knobs[name]
        return any(is_near_value(knob, value, known.get(name)) for known in self.former)

    def from_here(self, name: str, direction: int) -> Attempt | None:
        """The last trial that moved only this knob, this way, from the value that it has now."""
        knob = self.knobs[name]
        for attempt, start, end in reversed(self._alone(name)):
            is_here = is_near_value(knob, knob.value, start)
            is_so = is_here and direction_of(knob, start, end) == direction
            if is_so and attempt.outcome is not Outcome.KEPT:
                return attempt
        return None

    def has_hurt(self, name: str, value: Value) -> bool:
        """Whether moving this knob so far, or less far, hurt clearly not long ago."""
        knob = self.knobs[name]
        newest = self.records[-1].number if self.records else 0
        way = direction_of(knob, knob.value, value)
        return any(
            attempt.outcome is Outcome.HURT
            and attempt.number >= newest - RECALL
            and direction_of(knob, start, end) == way
            and is_as_far(knob, value, end, way)
            for attempt, start, end in self._alone(name)
        )

    def would_crash(self, idea: Mapping[str, Value]) -> bool:
        """Whether an idea goes as far as a knob trial that crashed, in all that can have done it.

        Where the incumbent has gone as far itself, that crash says nothing more.
        """
        standing = {name: knob.value for name, knob in self.knobs.items()}
        return any(
            attempt.outcome is Outcome.CRASHED
            and attempt.is_tuning
            and self._reaches(attempt, idea)
            and not self._reaches(attempt, standing)
            for attempt in self.attempts
        )

    def seen_from_here(self, name: str) -> tuple[tuple[Value, float], ...]:
        """Other values of a knob with their differences to the one it has now, in noises.

        From single moves away from this value, and from the kept one that led to it.
        """
        knob = self.knobs[name]
        found: list[tuple[Value, float]] = []
        for attempt, start, end in self._alone(name):
            is_kept = attempt.outcome is Outcome.KEPT
            here, other, sign = (end, start, -1) if is_kept else (start, end, 1)
            if attempt.noises is not None and is_near_value(knob, knob.value, here):
                found.append((other, sign * attempt.noises))
        return tuple(found)

    @cached_property
    def importance(self) -> dict[str, float]:
        """Of each knob that was moved alone: the largest difference that this made, in noises."""
        found: dict[str, float] = {}
        for attempt in self.attempts:
            name = attempt.single
            if name is not None and attempt.noises is not None:
                found[name] = max(found.get(name, 0.0), abs(attempt.noises))
        return found

    def _alone(self, name: str) -> list[tuple[Attempt, Value, Value]]:
        """The trials that moved only this knob: each with where from and where to."""
        return [
            (attempt, *attempt.moved[name]) for attempt in self.attempts if attempt.single == name
        ]

    def _reaches(self, attempt: Attempt, values: Mapping[str, Value]) -> bool:
        return all(
            is_as_far(knob, values[name], end, direction_of(knob, start, end))
            for name, knob in self.knobs.items()
            if name in attempt.suspects
            for start, end in (attempt.moved[name],)
        )

    def _attempt(self, record: TrialRecord, start: Mapping[str, Any]) -> Attempt:
        moved = {
            name: (start[name], record.knobs[name])
            for name, knob in self.knobs.items()
            if name in start
            and name in record.knobs
            and not is_same(start[name], record.knobs[name])
            and all(_fits(knob, known[name]) for known in (start, record.knobs))
        }
        noise = record.decision.noise_bpb or self.noise_bpb
        difference = record.decision.difference_bpb
        noises = difference / noise if noise and difference is not None else None
        return Attempt(
            number=record.number,
            outcome=_outcome(record, noises),
            moved=moved,
            noises=noises,
            is_tuning=record.proposer == TUNER and record.rescue_of is None,
            suspects=self._suspects(record, tuple(moved)),
        )

    def _suspects(self, record: TrialRecord, moved: tuple[str, ...]) -> tuple[str, ...]:
        """What a crash may be due to: where time or memory ran out, what makes steps dear."""
        dear = tuple(
            name for name in moved if kind_of(self.knobs[name]) not in (Kind.RATE, Kind.SHARE)
        )
        return dear if dear and record.reason in RAN_OUT else moved


def _fits(knob: Knob, value: Any) -> bool:
    """Whether a recorded value is of the kind that the knob has now."""
    if knob.choices is not None:
        return isinstance(value, bool | int | float | str)
    return is_number(value)


def _outcome(record: TrialRecord, noises: float | None) -> Outcome:
    if record.verdict is Verdict.KEEP:
        return Outcome.KEPT
    if record.verdict is Verdict.CRASH:
        return Outcome.CRASHED
    if record.reason in (Reason.PRUNED, Reason.REFUSED):
        return Outcome.HURT
    difference = record.decision.difference_bpb
    chance = record.decision.probability_better
    if (chance is not None and chance > 0.5) or (difference is not None and difference < 0):
        return Outcome.BETTER
    return Outcome.HURT if noises is not None and noises >= CLEARLY else Outcome.WORSE
