"""A training's curve as its host keeps it: points for people, a profile for comparisons."""

import math

from nightlab.records import CurvePoint

CURVE_POINTS = 200
PROFILE_BINS = 20
"""Equal shares of the budget in which reported losses are averaged: each of many steps, so that
a profile shows the code and not the batch that a single point happened to have."""

LARGEST_LOSS = 1e6
"""Nats per token beyond which a report says nothing: honest ones end far below, and sums of
larger ones leave the range of numbers."""

_LOSS_DECIMALS = 5


class Curve:
    """The reported steps, thinned while they come to at most ``CURVE_POINTS``.

    The profile is made of all of them.
    """

    def __init__(self) -> None:
        self._points: list[CurvePoint] = []
        self._stride = 1
        self._count = 0
        self._sums = [0.0] * PROFILE_BINS
        self._counts = [0] * PROFILE_BINS
        self.share = 0.0
        """How much of the budget was gone at the last point, 0 to 1."""
        self.last: CurvePoint | None = None

    def add(self, point: CurvePoint, share: float) -> None:
        """Take in the next point; every ``stride``-th is kept.

        Args:
            point: as the candidate reported it.
            share: of the budget that is gone, in its own measure (seconds or tokens).
        """
        self.last = point
        self.share = max(self.share, share)
        if point.loss is not None and abs(point.loss) <= LARGEST_LOSS:
            # A step that ends on a bin's bound was trained within it.
            at = min(max(math.ceil(share * PROFILE_BINS) - 1, 0), PROFILE_BINS - 1)
            self._sums[at] += point.loss
            self._counts[at] += 1
        if self._count % self._stride == 0:
            self._points.append(point)
        self._count += 1
        if len(self._points) >= CURVE_POINTS:
            self._points = self._points[::2]
            self._stride *= 2

    def points(self) -> tuple[CurvePoint, ...]:
        """What was kept, always with the last point."""
        kept = tuple(self._points)
        return kept if self.last is None or kept[-1] is self.last else (*kept, self.last)

    def profile(self) -> tuple[float | None, ...]:
        """Mean loss in nats per token in each bin so far; None where no usable one was reported.

        Empty where none was reported at all.
        """
        if not any(self._counts):
            return ()
        return tuple(
            round(total / count, _LOSS_DECIMALS) if count else None
            for total, count in zip(self._sums, self._counts, strict=True)
        )
