"""Steps of one knob: which kind it is of, and where a coarse or a fine step in a direction leads.

A practitioner with a fixed time budget asks first how large a model it affords, then for the
batch, then for the rates, then for the rest. So knobs are of a kind, by few rules:

* a kind's name as the first words of the explanation (``# 0.1..0.5 log; share; …``) decides;
* a number with BATCH in its name is a *batch*;
* whole numbers, in ranges or choices, are *sizes*: how many of something the model has;
* choices of words or switches are *choices*;
* other numbers on a ``log`` scale are *rates*;
* what is left are *shares*.

Sizes, batches and rates are halved and doubled (rates by more where their range is wide: who
declares three decades does not expect a factor of two to matter), shares go half of the way to
an end of their range, and choices to the next one. A fine step is half of a coarse one on the
knob's own scale.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum

from nightlab.proposers.knobs.space import is_near_value, is_same, knob_range, snapped, tidy
from nightlab.source.knobs import Knob, Value, is_number

COARSE_FACTOR = 2.0
COARSE_PART = 1 / 6
"""Of a wide log range: a coarse step, where that is more than ``COARSE_FACTOR``."""
COARSE_SHARE = 0.5
"""Of the way to the end of a range."""
FINE = 0.5
"""A fine step, as a part of a coarse one."""


class Kind(StrEnum):
    """What a knob is about, in the order in which kinds are moved."""

    SIZE = "size"
    CHOICE = "choice"
    BATCH = "batch"
    RATE = "rate"
    SHARE = "share"


KINDS = {str(kind): kind for kind in Kind}


def kind_of(knob: Knob) -> Kind:
    """The kind that a knob's comment names, or that its type makes likely."""
    tag = knob.explanation.partition(";")[0].strip()
    if tag in KINDS:
        return KINDS[tag]
    if knob.choices is not None and not is_ordered(knob):
        return Kind.CHOICE
    if "BATCH" in knob.name:
        return Kind.BATCH
    if knob.is_integer or all(isinstance(choice, int) for choice in knob.choices or (0.5,)):
        return Kind.SIZE
    return Kind.RATE if knob.log else Kind.SHARE


def is_ordered(knob: Knob) -> bool:
    """Whether its values have an order: a range, or choices that are all numbers."""
    return all(is_number(value) for value in (*(knob.choices or ()), knob.value))


def step(knob: Knob, direction: int, part: float = 1.0) -> Value | None:
    """The value one step away; None where the range ends, or there is nothing between.

    Args:
        knob: with the value to start from.
        direction: 1 up, or to the next choice; −1 down, or to the one before.
        part: of a coarse step.
    """
    if not is_ordered(knob):
        return _next_choice(knob, direction) if part >= 1 else None
    wanted = _target(knob, direction, part)
    if knob.choices is not None:
        return _nearest_choice(knob, direction, wanted, part)
    low, high, value = knob_range(knob)
    found = snapped(knob, min(max(wanted, low), high))
    if found is not None and not _is_beyond(found, knob.value, direction):
        # Rounded to where it stands: the next of the whole numbers or steps.
        found = snapped(knob, value + direction * float(knob.step or (1 if knob.is_integer else 0)))
    if found is None or not _is_beyond(found, knob.value, direction) or not low <= found <= high:
        return None
    return None if is_near_value(knob, found, knob.value) else tidy(knob, found)


def with_value(knob: Knob, value: Value) -> Knob:
    """The knob as it is when set to another value."""
    return replace(knob, value=value)


def direction_of(knob: Knob, start: Value, end: Value) -> int:
    """Which way a move went: 1, −1, or 0 where it is not known."""
    if is_ordered(knob) and is_number(start) and is_number(end):
        return (float(end) > float(start)) - (float(end) < float(start))
    places = {
        at: place
        for at, value in enumerate((start, end))
        for place, choice in enumerate(knob.choices or ())
        if is_same(choice, value)
    }
    if len(places) < 2:
        return 0
    return 1 if places[1] > places[0] else -1


def is_as_far(knob: Knob, value: Value, mark: Value, direction: int) -> bool:
    """Whether a value is a mark or lies beyond it; of choices without order only itself."""
    if is_same(value, mark):
        return True
    if not (is_ordered(knob) and is_number(value) and is_number(mark)):
        return False
    return _is_beyond(value, mark, direction) or is_near_value(knob, value, mark)


def scale_of(knob: Knob, value: Value) -> float | None:
    """Where a value lies on the knob's own scale, in coarse steps; None without order."""
    if not is_ordered(knob) or not is_number(value):
        return None
    if _by_factors(knob):
        return math.log(float(value)) / math.log(_factor(knob)) if float(value) > 0 else None
    low, high = _ends(knob)
    return float(value) / (COARSE_SHARE * (high - low) / 2)


def at_scale(knob: Knob, place: float) -> Value | None:
    """The value at a place of that scale, as the knob can have it, or None."""
    if knob.choices is not None:
        return min(
            (choice for choice in knob.choices if scale_of(knob, choice) is not None),
            key=lambda choice: abs((scale_of(knob, choice) or 0.0) - place),
            default=None,
        )
    low, high = _ends(knob)
    value = _factor(knob) ** place if _by_factors(knob) else place * COARSE_SHARE * (high - low) / 2
    found = snapped(knob, min(max(value, low), high))
    return None if found is None else tidy(knob, found)


def partners(
    knob: Knob, value: Value, others: Mapping[str, Value], sequence_length: int
) -> dict[str, Value] | None:
    """The constants that must change with a knob; None where it cannot have the value.

    Rows of a device batch are halved until whole ones make up the batch; they are never raised,
    since memory grows with them. ``others`` are values that other knobs get.
    """
    tie = knob.divisor
    if tie is None or isinstance(value, bool) or not isinstance(value, int):
        return {}
    size = others.get(tie.name, tie.value)
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        return None
    unit = sequence_length if tie.is_rows else 1
    rows = size
    while value % (rows * unit):
        if rows % 2 or not tie.is_rows:
            return None
        rows //= 2
    return {} if rows == size else {tie.name: rows}


def _target(knob: Knob, direction: int, part: float) -> float:
    value = float(knob.value)
    if _by_factors(knob):
        return float(value * _factor(knob) ** (direction * part))
    low, high = _ends(knob)
    end = high if direction > 0 else low
    if kind_of(knob) in (Kind.SIZE, Kind.BATCH) and value >= 0:
        return value + direction  # zero of something, or the last one
    return value + (end - value) * COARSE_SHARE * part


def _by_factors(knob: Knob) -> bool:
    low, _ = _ends(knob)
    is_count = kind_of(knob) in (Kind.SIZE, Kind.BATCH)
    return float(knob.value) > 0 and ((knob.log and low > 0) or (is_count and low >= 0))


def _factor(knob: Knob) -> float:
    low, high = _ends(knob)
    if kind_of(knob) in (Kind.SIZE, Kind.BATCH) or low <= 0:
        return COARSE_FACTOR
    return float(max(COARSE_FACTOR, (high / low) ** COARSE_PART))


def _ends(knob: Knob) -> tuple[float, float]:
    if knob.choices is not None:
        numbers = [float(choice) for choice in (*knob.choices, knob.value) if is_number(choice)]
        return min(numbers), max(numbers)
    low, high, _ = knob_range(knob)
    return float(low), float(high)


def _nearest_choice(knob: Knob, direction: int, wanted: float, part: float) -> Value | None:
    ahead = sorted(
        (
            choice
            for choice in knob.choices or ()
            if _is_beyond(choice, knob.value, direction)
            and partners(knob, choice, {}, 1) is not None
        ),
        key=lambda choice: direction * float(choice),
    )
    if not ahead or part < 1:
        return ahead[0] if ahead else None
    if wanted > 0 and all(float(choice) > 0 for choice in ahead):
        return min(ahead, key=lambda choice: abs(math.log(float(choice) / wanted)))
    return min(ahead, key=lambda choice: abs(float(choice) - wanted))


def _next_choice(knob: Knob, direction: int) -> Value | None:
    choices = knob.choices or ()
    standing = next((at for at, each in enumerate(choices) if is_same(each, knob.value)), None)
    place = 0 if standing is None else standing + direction
    if standing is None and direction < 0:
        return None
    return choices[place] if 0 <= place < len(choices) else None


def _is_beyond(value: Value, mark: Value, direction: int) -> bool:
    return (float(value) - float(mark)) * direction > 0
