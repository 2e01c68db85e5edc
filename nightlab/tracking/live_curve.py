"""The curve of a training under way, sent in parts while it grows."""

import threading
import time

from nightlab.records import CurvePoint
from nightlab.tracking.curves import Measured, curve_rows

POINTS_EVERY_SECONDS = 2.0


class LiveCurve:
    """The points of one training that are not sent yet.

    Attributes:
        started_ms: when the training began, in milliseconds since 1970.
        run_id: the run that they go to, once there is one.
    """

    def __init__(self, started_ms: int) -> None:
        self.started_ms = started_ms
        self.run_id: str | None = None
        self._waiting: list[CurvePoint] = []
        self._last: CurvePoint | None = None
        self._sent_at = time.monotonic()
        self._guard = threading.Lock()

    def add(self, point: CurvePoint) -> bool:
        """Take a point; say whether it is time to send what waits."""
        with self._guard:
            self._waiting.append(point)
            now = time.monotonic()
            is_due = now - self._sent_at >= POINTS_EVERY_SECONDS
            if is_due:
                self._sent_at = now
            return is_due

    def take(self) -> tuple[Measured, ...]:
        """What waits, as metrics; it counts as sent."""
        with self._guard:
            points, self._waiting = self._waiting, []
            previous, self._last = self._last, points[-1] if points else self._last
        return curve_rows(points, self.started_ms, previous)
