"""The clock of a job: what counts as its time, how much is gone, and the end of it.

On a GPU a study counts wall-clock seconds. On a CPU it counts processor seconds of the
candidate's whole process tree, read from the kernel: other work on the machine then costs a
training time, but no steps, and who sleeps, computes in threads or leaves work to children gains
nothing. What the candidate says decides nothing.

A process of its own looks, about every ``LOOK_SECONDS``, and ends the job as soon as its time is
over (nightlab/sandbox/timekeeper.py): no flood of messages, no slow listener and nothing else that
holds up the engine's interpreter keeps it from that. A training's time is over

* at the budget: what the candidate has saved by then counts;
* at the wall cap, which only a clock of processor seconds has: ``WALL_CAP_FACTOR`` times the
  budget and ``WALL_CAP_SECONDS``. Then either the machine was busy, and the training is to be
  made again, or the candidate slept or waited, which is its own doing. The kernel tells which: how
  long its threads could have run and had no processor (``/proc/PID/task/TID/schedstat``). Where a
  kernel does not keep that, they are taken to have waited while fewer than a tenth of all
  processors' time was idle.

That process may itself be kept from its work. A budget that was passed by more than
``LATE_SECONDS`` and ``LATE_SHARE`` of it is the candidate's failure where it was looked at in
time (it computed on many processors at once), and the machine's where it was not, or where the
job was ended late.
"""

import json
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from nightlab.errors import MachineBusy, SandboxError
from nightlab.sandbox.device import Device
from nightlab.sandbox.process import SandboxedProcess
from nightlab.sandbox.timekeeper import LOOK_SECONDS, MESSAGE_BYTES

ClockKind = Literal["wall", "processor"]

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
"""Wall clock after which a look came late, or an end after the look that it follows."""
ANSWER_SECONDS = 30.0
"""Longest wait for the timekeeper, on however busy a machine."""

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
class Seen:
    """What the timekeeper saw, in seconds since it began, or since the job was allowed a time."""

    used_seconds: float = 0.0
    """Of the study's clock."""
    wall_seconds: float = 0.0
    waited_seconds: float = 0.0
    """For a processor."""
    at: Literal["budget", "wall cap"] | None = None
    """Where the job's time was over, if it was."""
    unseen_seconds: float = 0.0
    """Wall clock between the last two looks."""
    kill_seconds: float = 0.0
    """From the last look until the job was ended."""

    def since(self, before: "Seen") -> "Seen":
        """The same, counted from what was seen before."""
        return replace(
            self,
            used_seconds=self.used_seconds - before.used_seconds,
            wall_seconds=self.wall_seconds - before.wall_seconds,
            waited_seconds=self.waited_seconds - before.waited_seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a job's time came to its end."""

    limit_seconds: float
    """Of the study's clock."""
    seen: Seen
    """Since it was allowed them."""

    @property
    def is_overrun(self) -> bool:
        """Whether the end came too late for what was saved to count."""
        return self.seen.used_seconds > self.limit_seconds * (1 + LATE_SHARE) + LATE_SECONDS

    def require_own_fault(self, what: str = "A training") -> None:
        """Go on where it is the candidate's doing.

        Args:
            what: was ended, as the beginning of a sentence.

        Raises:
            MachineBusy: it is the machine's.
        """
        seen = self.seen
        is_unseen = self.is_overrun and seen.unseen_seconds > LATE_LOOK_SECONDS
        if seen.at == "wall cap":
            require_quiet(what, self.limit_seconds, seen)
        elif is_unseen or seen.kill_seconds > LATE_LOOK_SECONDS:
            late = max(seen.used_seconds - self.limit_seconds, seen.kill_seconds)
            raise MachineBusy(
                f"{what} of {self.limit_seconds:g} s was to be ended then and the engine came "
                f"{late:.1f} s late, since this machine was too busy to let it run: it is tried "
                "again; give the machine less other work."
            )


class Clock:
    """Runs from now to ``stop``; a ``with`` block stops it. Not for several threads.

    Any of its methods raises SandboxError where it has broken down; the job is ended then.

    Args:
        kind: what it counts.
        process: the job that it ends.
    """

    def __init__(self, kind: ClockKind, process: SandboxedProcess) -> None:
        self.kind = kind
        self.end: End | None = None
        """How its time was over, once it was."""
        self._process = process
        self._limit_seconds = 0.0
        self._seen = Seen()
        self._before: Seen | None = None
        self._asked = float("-inf")
        self._is_stopped = False
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._keeper = process.keep_time(kind, theirs.fileno())

    def __enter__(self) -> "Clock":
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    @property
    def unit(self) -> str:
        """What it counts, in words."""
        return "seconds" if self.kind == "wall" else "processor seconds"

    @property
    def seen(self) -> Seen:
        """What it saw since it began."""
        if time.monotonic() - self._asked > LOOK_SECONDS:
            self._ask("tell")
        return self._seen

    @property
    def since_allowed(self) -> Seen:
        """The same since ``allow``; nothing before it."""
        return Seen() if self._before is None else self.seen.since(self._before)

    def look(self) -> Seen:
        """Bring the numbers up to now; for moments that the candidate cannot choose often."""
        self._ask("look")
        return self._seen

    def allow(self, limit_seconds: float | None, cap_seconds: float | None = None) -> None:
        """Count from now, and end the job when its time is over.

        Args:
            limit_seconds: of the study's clock; None for no limit.
            cap_seconds: of the wall clock, where that is another one; None likewise.
        """
        self._limit_seconds = limit_seconds or 0.0
        cap = cap_seconds if self.kind == "processor" else None
        self._ask("begin", seconds=limit_seconds, cap_seconds=cap)
        self._before = self._seen

    def is_over(self) -> bool:
        """Whether the job was ended since its time is over."""
        if self.end is None and not self._is_stopped:
            self._hear(0.0)
        return self.end is not None

    def stop(self) -> None:
        """Take a last look, at which the time may turn out to be over, and none after it."""
        try:
            self._ask("stop")
        finally:
            self._close()

    def _close(self) -> None:
        if not self._is_stopped:
            self._is_stopped = True
            self._connection.close()
            self._keeper.wait()

    def _ask(self, what: str, **numbers: float | None) -> None:
        if self.end is not None or self._is_stopped:
            return
        with suppress(ConnectionError):  # there is nobody to hear, either
            self._connection.send(json.dumps({"do": what, **numbers}).encode())
        self._hear(ANSWER_SECONDS)
        self._asked = time.monotonic()

    def _hear(self, seconds: float) -> None:
        """Take in one answer; within 0 seconds there may be none."""
        self._connection.settimeout(seconds)
        try:
            data = self._connection.recv(MESSAGE_BYTES)
        except BlockingIOError:
            return
        except (TimeoutError, ConnectionError):
            data = b""
        if not data:
            self._keeper.kill()
            self._close()
            self._process.end()
            raise SandboxError(
                "The clock of a job broke down, so it was ended: see the traceback above, and try "
                "again."
            )
        self._seen = Seen(**json.loads(data))
        if self._seen.at is not None:
            since = self._seen.since(self._before or Seen())
            self.end = End(limit_seconds=self._limit_seconds, seen=since)


def require_quiet(what: str, needed: float, seen: Seen) -> None:
    """Go on where a job that did not get its processor time slept, or used what it had.

    Args:
        what: met its cap, as the beginning of a sentence.
        needed: processor seconds that it was to have.
        seen: what it had, and how long that took.

    Raises:
        MachineBusy: other work kept it from most of what it is missing.
    """
    wall_seconds, waited_seconds = seen.wall_seconds, seen.waited_seconds
    missing = wall_seconds - seen.used_seconds
    if missing < LEAST_MISSING_SHARE * wall_seconds or waited_seconds < BUSY_SHARE * missing:
        return
    raise MachineBusy(
        f"{what} needed up to {needed:g} processor seconds and had {seen.used_seconds:.1f} in "
        f"{wall_seconds:.0f} s, of which it waited {waited_seconds:.0f} s for a processor that "
        "other work had: it is tried again; give the machine less other work."
    )
