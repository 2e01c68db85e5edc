"""What happens in a session, told while it happens.

The engine publishes; the terminal's live view, Prefect's progress artifact and tests
listen. Nothing rests on it: a session without listeners runs the same.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from nightlab.records import CurvePoint, Pair, TrialRecord
from nightlab.redaction import redact


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBegun:
    """A step of a trial, or of the session when ``number`` is None, has begun."""

    study: str
    number: int | None
    step: str
    """``corpus``, ``propose``, ``train``, ``evaluate``, ``decide``, ``record`` …"""
    title: str = ""
    detail: str = ""
    seed: int | None = None
    seconds: float | None = None
    """How long the step may take, where that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOpened:
    """The candidate is ready and the host's clock has started."""

    study: str
    number: int
    seed: int
    whose: str = ""
    """``incumbent``, or what else is trained beside the trial's own code; empty for that."""
    budget_seconds: float
    budget_tokens: int | None = None
    """None where seconds are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One reported point of a training."""

    study: str
    number: int
    seed: int
    whose: str = ""
    """As of ``GateOpened``."""
    point: CurvePoint


@dataclass(frozen=True, slots=True, kw_only=True)
class PairsMeasured:
    """What a trial's pairs show so far."""

    study: str
    number: int
    pairs: tuple[Pair, ...]
    probability_better: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinFollowed:
    """A training begins beside one of the incumbent with the same seed, whose curve this is."""

    study: str
    number: int
    seed: int
    curve: tuple[CurvePoint, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEnded:
    """A trial has its record."""

    record: TrialRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that a person should know and that stops nothing."""

    text: str


Event = StepBegun | GateOpened | Trained | TwinFollowed | PairsMeasured | TrialEnded | Notice
Listener = Callable[[Event], None]

_listeners: list[Listener] = []
_guard = threading.Lock()


def publish(event: Event) -> None:
    """Tell every listener, in the caller's thread; keys are taken out of what is said."""
    if isinstance(event, Notice):
        event = replace(event, text=redact(event.text))
    elif isinstance(event, StepBegun):
        event = replace(event, title=redact(event.title), detail=redact(event.detail))
    with _guard:
        listeners = list(_listeners)
    for listener in listeners:
        listener(event)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have ``listener`` called for every event while the block runs."""
    with _guard:
        _listeners.append(listener)
    try:
        yield
    finally:
        with _guard:
            _listeners.remove(listener)
