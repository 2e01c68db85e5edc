"""Training curves as MLflow's metrics."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nightlab.records import CurvePoint, Replicate

CURVE_KEY = "training/elapsed_seconds"
"""The curve's own clock: every point has it, so it tells which points MLflow has."""

LARGEST_STEP = 2**53
"""The largest that every store and browser holds exactly; steps come from the candidate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One value of a metric. ``timestamp_ms`` counts from 1970."""

    key: str
    value: float
    step: int
    timestamp_ms: int


def curve_rows(
    points: Iterable[CurvePoint], start_ms: int, previous: CurvePoint | None = None
) -> tuple[Measured, ...]:
    """Turn reported points into metrics; tokens per second are those since the last point.

    A point that no chart can hold (a step that is negative or absurd) is left out.

    Args:
        points: in the order of training.
        start_ms: when the training began, in milliseconds since 1970.
        previous: the point before the first one, if there was one.
    """
    rows: list[Measured] = []
    for point in points:
        if not 0 <= point.step < LARGEST_STEP or not math.isfinite(point.seconds):
            continue
        at = start_ms + int(point.seconds * 1000)
        values = {
            CURVE_KEY: point.seconds,
            "training/loss": point.loss,
            "training/learning_rate": point.learning_rate,
            "training/tokens_per_second": _rate(point, previous),
        }
        rows += [
            Measured(key=key, value=value, step=point.step, timestamp_ms=at)
            for key, value in present(values).items()
        ]
        previous = point
    return tuple(rows)


def profile_rows(
    key: str, replicate: Replicate | None, start_ms: int, budget_seconds: float
) -> tuple[Measured, ...]:
    """Mean losses of a training in equal shares of its budget; a row's step is the percent gone.

    So two codes that take steps of different length stand on one axis.
    """
    profile = replicate.training.loss_profile if replicate is not None else ()
    shares = ((index / len(profile), loss) for index, loss in enumerate(profile, start=1))
    return tuple(
        Measured(
            key=key,
            value=loss,
            step=round(100 * share),
            timestamp_ms=start_ms + int(1000 * share * budget_seconds),
        )
        for share, loss in shares
        if loss is not None and math.isfinite(loss)
    )


def present(values: Mapping[str, float | None]) -> dict[str, float]:
    """The numbers that are there and finite; MLflow shows no others."""
    return {
        key: float(value)
        for key, value in values.items()
        if value is not None and math.isfinite(value)
    }


def _rate(point: CurvePoint, previous: CurvePoint | None) -> float | None:
    seconds = point.seconds - (previous.seconds if previous else 0.0)
    before = previous.tokens if previous else 0
    if point.tokens is None or before is None or seconds <= 0 or point.tokens < before:
        return None
    return (point.tokens - before) / seconds
