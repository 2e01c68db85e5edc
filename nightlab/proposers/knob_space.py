"""What a knob may be set to, as Optuna searches it, and when two values are as good as one."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nightlab.proposers.knobs import Knob, Value

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
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if knob.choices is not None:
        known = any(is_same(knob.value, choice) for choice in knob.choices)
        return CategoricalDistribution((*knob.choices, *(() if known else (knob.value,))))
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


def knob_range(knob: Knob) -> tuple[float, float, float]:
    """Low end, high end and value of a knob with a range that takes in its value."""
    if knob.low is None or knob.high is None or isinstance(knob.value, str):
        raise TypeError(f"the knob {knob.name} has no range")
    low = min(knob.low, knob.value) if knob.value > 0 or not knob.log else knob.low
    return low, max(knob.high, knob.value), max(knob.value, low)


def is_in_space(space: "BaseDistribution", value: Any) -> bool:
    """Whether a value is one that the space has."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(space, CategoricalDistribution):
        return any(is_same(choice, value) for choice in space.choices)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if not isinstance(space, IntDistribution | FloatDistribution):
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
    both = (value, earlier)
    if knob.choices is not None or any(
        isinstance(v, bool) or not isinstance(v, int | float) for v in both
    ):
        return False
    low, high, _ = knob_range(knob)
    if knob.log:
        if earlier <= 0:
            return False
        return bool(abs(math.log(value / earlier)) < MIN_MOVE * math.log(high / low))
    return bool(abs(value - earlier) < MIN_MOVE * (high - low))


def is_same(one: Any, other: Any) -> bool:
    """Equal and of one kind: True is not 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
