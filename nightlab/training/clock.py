"""The clock of a training: what counts as its time, how much is gone, and the end of it.

On a GPU a study counts wall-clock seconds. On a CPU it counts processor seconds of the
candidate's whole process tree, read from the kernel: other work on the machine then costs a
training time, but no steps, and who sleeps, computes in threads or leaves work to children gains
nothing. What the candidate says decides nothing.

A thread of its own looks about every ``LOOK_SECONDS``, so that no flood of messages and no slow
listener keeps the engine from looking, and ends the job as soon as its time is over:

* at the budget: what the candidate has saved by then counts;
* at the wall cap, which only a clock of processor seconds has: ``WALL_CAP_FACTOR`` times the
  budget and ``WALL_CAP_SECONDS``. Then either the machine was busy, and the training is to be
  made again, or the candidate slept or waited, which is its own doing. The kernel tells which: how
  long its threads could have run and had no processor (``/proc/PID/task/TID/schedstat``). Where a
  kernel does not keep that, they are taken to have waited while fewer than a tenth of all
  processors' time was idle.

The engine itself may be kept from looking. A budget that was passed by more than
``LATE_SECONDS`` and ``LATE_SHARE`` of it is the candidate's failure where it was looked at in
time (it computed on many processors at once), and the machine's where it was not.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from nightlab.errors import MachineBusy, SandboxError
from nightlab.sandbox.device import Device
from nightlab.sandbox.processor_time import ProcessorTime

ClockKind = Literal["wall", "processor"]

LOOK_SECONDS = 0.05
"""Mean time between two looks."""
LONGEST_LOOK_SECONDS = 0.2

WALL_CAP_FACTOR = 6.0
WALL_CAP_SECONDS = 3.0
"""The wall clock that a budget of processor seconds may take: this many times the budget, and a
few seconds for budgets so short that one delay is longer."""

END_MARGIN_SECONDS = 0.2
END_MARGIN_SHARE = 0.05
"""What the candidate is told less of its budget, at most: the runtime and the host read the clock
at different moments, and that is not to cost an honest training its checkpoint."""

LATE_SECONDS = 0.25
LATE_SHARE = 0.01
"""How far past a budget the end may come and what was saved still count."""
LATE_LOOK_SECONDS = 0.5
"""Wall clock after which a look came late."""

BUSY_SHARE = 0.5
"""Of the time that is missing at the cap, how much waiting for a processor makes it the machine's
fault. Waiting that the tree causes itself is at most what it uses: a sixth of the cap."""
LEAST_MISSING_SHARE = 0.1
"""Of a cap: whoever misses less of it would hardly have been in time on a quiet machine."""

STARTUP_MARGIN = 0.25
STARTUP_MARGIN_SECONDS = 1.0
"""How much longer than the longest of the baseline's a start-up may be and still be free: the same
start took up to a fifth more processor time beside other work (caches, frequencies)."""


def clock_of(device: Device) -> ClockKind:
    """What a training's seconds are on a device."""
    return "wall" if device.kind == "cuda" else "processor"


def end_margin_seconds(budget_seconds: float) -> float:
    """How much shorter than it is a budget is told to the candidate."""
    return min(END_MARGIN_SECONDS, END_MARGIN_SHARE * budget_seconds)


def wall_cap_seconds(budget_seconds: float) -> float:
    """How long a budget of processor seconds may take."""
    return WALL_CAP_FACTOR * budget_seconds + WALL_CAP_SECONDS


def free_startup_seconds(baseline_startups: Sequence[float], preset_free: float) -> float:
    """Start-up that is outside a study's budget: what its honest baseline needs, with a margin.

    Never more than the preset gives, which the baseline itself was trained under: on a slow
    machine its twins are charged as it was.

    Args:
        baseline_startups: of the baseline's trainings, in seconds of the study's clock.
        preset_free: what the preset or the person gives, in the same seconds.
    """
    longest = max(baseline_startups, default=None)
    if longest is None:
        return preset_free
    return min((1 + STARTUP_MARGIN) * longest + STARTUP_MARGIN_SECONDS, preset_free)


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a training's time came to its end, in seconds since the gate."""

    at: Literal["budget", "wall cap"]
    limit_seconds: float
    """Of the study's clock."""
    used_seconds: float
    wall_seconds: float
    waited_seconds: float
    """For a processor."""
    unseen_seconds: float
    """Wall clock between the last two looks."""

    @property
    def is_overrun(self) -> bool:
        """Whether the end came too late for what was saved to count."""
        return self.used_seconds > self.limit_seconds * (1 + LATE_SHARE) + LATE_SECONDS

    def require_own_fault(self) -> None:
        """Go on where it is the candidate's doing.

        Raises:
            MachineBusy: it is the machine's.
        """
        if self.at == "wall cap":
            require_quiet(
                "A training", self.limit_seconds, self.used_seconds, self.wall_seconds,
                self.waited_seconds,
            )  # fmt: skip
        elif self.is_overrun and self.unseen_seconds > LATE_LOOK_SECONDS:
            raise MachineBusy(
                f"A training of {self.limit_seconds:g} s was to be ended then and the engine came "
                f"{self.used_seconds - self.limit_seconds:.1f} s late, since this machine was too "
                "busy to let it run: it is trained again; give the machine less other work."
            )


class Clock:
    """Runs from the start of a job to ``stop``; a ``with`` block stops it.

    Args:
        kind: what it counts.
        time_used: what the kernel says of the job.
        end_job: ends the job; called from the clock's own thread.
    """

    def __init__(
        self, kind: ClockKind, time_used: ProcessorTime, end_job: Callable[[], None]
    ) -> None:
        self.kind = kind
        self.end: End | None = None
        """How its time was over, once it was."""
        self._time_used = time_used
        self._end_job = end_job
        self._began = self._looked = time.monotonic()
        self._gate: tuple[float, float, float] | None = None
        self._limit_seconds = 0.0
        self._looking = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nightlab-clock", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Clock":
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    @property
    def used_seconds(self) -> float:
        """Seconds of the study's clock since the start, as of the last look."""
        if self.kind == "wall":
            return (self._looked if self._stopped.is_set() else time.monotonic()) - self._began
        return self._time_used.used_seconds

    @property
    def wall_seconds(self) -> float:
        """Wall clock since the start."""
        return (self._looked if self._stopped.is_set() else time.monotonic()) - self._began

    @property
    def waited_seconds(self) -> float:
        """How much of it the job could have run and had no processor."""
        return self._time_used.waited_seconds

    @property
    def unit(self) -> str:
        """What it counts, in words."""
        return "seconds" if self.kind == "wall" else "processor seconds"

    def look(self) -> None:
        """Bring the numbers up to now; for moments that the candidate cannot choose often."""
        with self._looking:
            if self.kind == "processor":
                self._time_used.look()
            self._looked = time.monotonic()

    def open_gate(self, limit_seconds: float) -> None:
        """Count from now, and end the job after so many seconds of the study's clock."""
        self._limit_seconds = limit_seconds
        self._gate = (self.used_seconds, self.wall_seconds, self.waited_seconds)

    def since_gate(self) -> tuple[float, float]:
        """Seconds since the gate: of the study's clock, and of the wall clock."""
        if self._gate is None:
            return 0.0, 0.0
        used, wall, _ = self._gate
        wall_seconds = self.wall_seconds - wall
        return (wall_seconds if self.kind == "wall" else self.used_seconds - used), wall_seconds

    def is_over(self) -> bool:
        """Whether the job was ended since its time is over.

        Raises:
            SandboxError: the clock itself has broken down.
        """
        broken = not self._thread.is_alive() and not self._stopped.is_set()
        # Asked for last: the thread ends right after it has set this.
        if broken and self.end is None:
            raise SandboxError(
                "The clock of a training broke down, so it was ended: see the traceback above, and "
                "try again."
            )
        return self.end is not None

    def stop(self) -> None:
        """Take a last look, at which the time may turn out to be over, and none after it."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self.end is None:
                is_last = self._stopped.wait(self._until_next_look())
                before = self._looked
                self.look()
                self.end = self._judge(self._looked - before)
                if is_last:
                    return
        finally:
            if not self._stopped.is_set():
                self._end_job()

    def _until_next_look(self) -> float:
        # Exponentially distributed, so that no moment is safer than another: see ProcessorTime.
        seconds = min(random.expovariate(1 / LOOK_SECONDS), LONGEST_LOOK_SECONDS)
        if self.kind == "wall" and self._gate is not None:
            seconds = min(seconds, self._limit_seconds - self.since_gate()[0])
        return max(0.0, seconds)

    def _judge(self, unseen_seconds: float) -> End | None:
        if self._gate is None:
            return None
        used, wall = self.since_gate()
        at: Literal["budget", "wall cap"] = "budget"
        if used < self._limit_seconds:
            if self.kind == "wall" or wall < wall_cap_seconds(self._limit_seconds):
                return None
            at = "wall cap"
        return End(
            at=at,
            limit_seconds=self._limit_seconds,
            used_seconds=used,
            wall_seconds=wall,
            waited_seconds=self.waited_seconds - self._gate[2],
            unseen_seconds=unseen_seconds,
        )


def require_quiet(
    what: str, needed: float, used: float, wall_seconds: float, waited_seconds: float
) -> None:
    """Go on where a job that did not get its processor time slept, or used what it had.

    Args:
        what: met its cap, as the beginning of a sentence.
        needed: processor seconds that it was to have.
        used: processor seconds that it had.
        wall_seconds: how long that took.
        waited_seconds: how long of it it could have run and had no processor.

    Raises:
        MachineBusy: other work kept it from most of what it is missing.
    """
    missing = wall_seconds - used
    if missing < LEAST_MISSING_SHARE * wall_seconds or waited_seconds < BUSY_SHARE * missing:
        return
    raise MachineBusy(
        f"{what} needed up to {needed:g} processor seconds and had {used:.1f} in "
        f"{wall_seconds:.0f} s, of which it waited {waited_seconds:.0f} s for a processor that "
        "other work had: it is tried again; give the machine less other work."
    )
