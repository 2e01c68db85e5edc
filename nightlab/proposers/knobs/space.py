"""What a knob may be set to, as Optuna searches it, and when two values are as good as one."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nightlab.source.knobs import LARGEST, Knob, Value, is_number

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MIN_MOVE = 0.02
"""Nearer than this share of the range, two values count as the same."""
SIGNIFICANT_DIGITS = 3
ROUNDING = 1e-9
"""Of a step: what binary fractions may be off."""


def search_space(knob: Knob, reach: float) -> "BaseDistribution":
    """What Optuna may choose from: the knob's choices, or a part of its range.

    A value that a person or a model set outside the declared range is taken in.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if knob.choices is not None:
        return CategoricalDistribution(_near_choices(knob, reach))
    if doubled := _doublings(knob, reach):
        return CategoricalDistribution(doubled)
    low, high, value = knob_range(knob)
    if knob.log:
        factor = (high / low) ** reach
        near, far = max(low, value / factor), min(high, value * factor)
    else:
        width = max((high - low) * reach, knob.step or (1 if knob.is_integer else 0))
        near, far = max(low, value - width), min(high, value + width)
    if knob.is_integer:
        near, far = math.floor(near), math.ceil(far)
    if knob.step:
        near = low + math.ceil((near - low) / knob.step - ROUNDING) * knob.step
        far = near + math.floor((far - near) / knob.step + ROUNDING) * knob.step
    if knob.is_integer:
        return IntDistribution(int(near), int(far), log=knob.log, step=int(knob.step or 1))
    return FloatDistribution(float(near), float(far), log=knob.log, step=knob.step)


def _near_choices(knob: Knob, reach: float) -> tuple[Value, ...]:
    """The choices, its own value among them; of numbers a part of them, on both sides of it."""
    choices = knob.choices or ()
    if not any(is_same(knob.value, choice) for choice in choices):
        choices = (*choices, knob.value)
    if reach >= 1 or any(isinstance(choice, bool | str) for choice in choices):
        return choices
    ordered = sorted(choices, key=float)
    place = next(at for at, choice in enumerate(ordered) if is_same(choice, knob.value))
    near = max(1, round(reach * len(ordered)))
    return tuple(ordered[max(0, place - near) : place + near + 1])


def _doublings(knob: Knob, reach: float) -> tuple[int, ...]:
    """Halves and doubles of a knob that counts the tokens of whole rows; none for others."""
    value = knob.value
    if knob.divisor is None or not knob.divisor.is_rows or not isinstance(value, int) or value < 1:
        return ()
    low, high, _ = knob_range(knob)
    found, most = [value], value * (2 if reach < 1 else LARGEST)
    while found[-1] * 2 <= min(high, most):
        found.append(found[-1] * 2)
    while found[0] % 2 == 0 and found[0] // 2 >= max(low, 1, value / 2 if reach < 1 else 1):
        found.insert(0, found[0] // 2)
    return tuple(found)


def snapped(knob: Knob, value: float) -> int | float | None:
    """The nearest number that the knob's steps and whole numbers allow; None if that is none."""
    low, high, _ = knob_range(knob)
    if knob.step:
        value = low + round((value - low) / knob.step) * knob.step
        value = value if value <= high * (1 + ROUNDING) else value - knob.step
    if knob.is_integer:
        value = round(value)
    return value if low <= value <= high else None


def knob_range(knob: Knob) -> tuple[float, float, float]:
    """Low end, high end and value of a knob with a range that takes in its value."""
    if knob.low is None or knob.high is None or isinstance(knob.value, str):
        raise TypeError(f"the knob {knob.name} has no range")
    low = min(knob.low, knob.value) if knob.value > 0 or not knob.log else knob.low
    return low, max(knob.high, knob.value), max(knob.value, low)


def is_in_space(space: "BaseDistribution", value: Any) -> bool:
    """Whether a value is one that the space has."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(space, CategoricalDistribution):
        return any(is_same(choice, value) for choice in space.choices)
    if not is_number(value) or not isinstance(space, IntDistribution | FloatDistribution):
        return False
    steps = (value - space.low) / space.step if space.step else 0.0
    return space.low <= value <= space.high and abs(steps - round(steps)) < ROUNDING


def tidy(knob: Knob, value: Any) -> Value:
    """A value as a person would write it: a choice, or three digits inside the range."""
    if knob.choices is not None or not isinstance(value, float):
        return value if isinstance(value, bool | int | float | str) else str(value)
    if knob.step is not None:
        return float(f"{value:.12g}")
    low, high, _ = knob_range(knob)
    return min(max(float(f"{value:.{SIGNIFICANT_DIGITS}g}"), low), high)


def is_near(knobs: Mapping[str, Knob], idea: Mapping[str, Any], earlier: Mapping[str, Any]) -> bool:
    """Whether two combinations are too alike for another training to tell them apart."""
    return all(
        name in earlier and is_near_value(knob, idea[name], earlier[name])
        for name, knob in knobs.items()
    )


def is_near_value(knob: Knob, value: Any, earlier: Any) -> bool:
    """Whether two values of a knob are too alike, on the knob's own scale."""
    if is_same(value, earlier):
        return True
    if knob.choices is not None or not is_number(value) or not is_number(earlier):
        return False
    low, high, _ = knob_range(knob)
    if knob.log:
        if earlier <= 0 or value <= 0:
            return False
        return bool(abs(math.log(value / earlier)) < MIN_MOVE * math.log(high / low))
    return bool(abs(value - earlier) < MIN_MOVE * (high - low))


def is_same(one: Any, other: Any) -> bool:
    """Equal and of one kind: True is not 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
