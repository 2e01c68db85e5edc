"""A thread that a job must not outlive."""

import threading
from collections.abc import Callable


class VitalThread:
    """Works beside a job; should it break down, the job is ended and the reason kept.

    Args:
        name: as debuggers and tracebacks show it.
        work: what it does; its return is no breakdown.
        end_job: ends the job, from any thread.
    """

    def __init__(self, name: str, work: Callable[[], None], end_job: Callable[[], None]) -> None:
        self.broken: BaseException | None = None
        """What ended it too early."""
        self._work = work
        self._end_job = end_job
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, seconds: float | None = None) -> None:
        """Wait for its end."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            # Whatever it is: nothing that this thread held holds any more.
            self.broken = error
            self._end_job()
