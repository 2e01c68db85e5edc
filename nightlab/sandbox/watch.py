"""The watch over a running job: what it uses of the machine, and an end to it past a limit.

One thread a job. Ten times a second it adds up the cheap numbers (resident sizes,
threads, the machine's own reserves). The exact ones (proportional shares, memory files,
disk space) cost more, so they are taken once a second, at once where a cheap number
points past a limit or to growth, and never for more than a set share of the time.

A limit that is passed is remembered as a failure with one sentence *before* the tree is
killed, so that anyone who sees the job end can already ask why. Should the watch itself break
down, the job ends too, by no fault of the candidate's (see ``vital_thread``).

A look costs what the candidate makes it cost: its processes, their mappings and open files. So a
look may take so much processor time, and the job that it would not suffice for is ended.

Last of all stand the machine's reserves. Some memory no count finds without a cgroup
(see ``process_tree``), and a disk can fill between two looks: when the machine itself
runs short while the job runs, the job ends. That the job is at fault is then likely, not
certain, and the sentence says what was measured.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from nightlab.records import Reason
from nightlab.sandbox import process_tree
from nightlab.sandbox.environment import Limits
from nightlab.sandbox.failure import Failure
from nightlab.sandbox.scratch import MAX_DEPTH, Scratch, ScratchUse
from nightlab.sandbox.vital_thread import VitalThread

POLL_SECONDS = 0.1
EXACT_SECONDS = 1.0
EXACT_SHARE = 0.03
PRESSING_SHARE = 0.25
"""Shares of the time that exact measurements may take: as a rule, and past a cheap limit."""
LOOK_SECONDS = 0.5
LOOK_SECONDS_A_CORE = 0.02
"""Processor time that one look may take. Honest ones take 0.01 s, and where torch compiles with a
process on each of 64 cores, half a second."""

_GROWTH = 1.02
"""Growth of the resident size that calls for an exact measurement at once."""

_SHUT_SECONDS = 3.0
"""How long a process may not let us look at it: for a moment none does that starts a program."""

_FALL = 0.25
"""Share of the limit on memory by which the machine's free memory falls before the next exact
measurement is pressing: all memory of the job's is in it, what no cheap number shows too."""

_PRESSING_USE = 0.25
"""Share of a limit on files from which they are looked at more often: a walk over many takes
long, and at the usual share of the time the next one would come too late."""

_SANDBOX_TASKS = 8
"""Processes of the sandbox itself, at most: the kernel's own limit does not count them."""

_MB = 2**20
_MEMORY_RESERVE_SHARE = 0.05
_MEMORY_RESERVE_BYTES = 2 * 2**30
_DISK_RESERVE_BYTES = 512 * _MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """What must stay free on the machine while a job runs, in bytes."""

    memory_bytes: int
    disk_bytes: int

    @classmethod
    def of_machine(cls, disk: str | None) -> "Reserve":
        """The usual reserve, or half of what is free now where that is less.

        Args:
            disk: a folder on the disk that the job writes to; None where it writes to none.
        """
        total = os.sysconf("SC_PHYS_PAGES") * process_tree.PAGE_BYTES
        memory = min(_MEMORY_RESERVE_BYTES, int(total * _MEMORY_RESERVE_SHARE))
        return cls(
            memory_bytes=min(memory, process_tree.available_bytes() // 2),
            disk_bytes=min(_DISK_RESERVE_BYTES, _free_bytes(disk) // 2) if disk else 0,
        )


class _TooDear(Exception):  # noqa: N818 - a state of the job, not an error of ours
    """A look costs more than one may."""


class _Pace:
    """When an exact measurement is due again: their costs are processor time of the watch's."""

    def __init__(self) -> None:
        self._ended = time.monotonic()
        self._cost = 0.0

    def due(self, *, urgent: bool = False, pressing: bool = False) -> bool:
        """Whether it is: for its time, for a reason to expect news, or for a likely breach."""
        share = PRESSING_SHARE if pressing else EXACT_SHARE
        usual = 0.0 if urgent or pressing else EXACT_SECONDS
        return time.monotonic() >= self._ended + max(usual, self._cost / share)

    def took(self, began: float) -> None:
        """Note one that has just ended and began when this thread had used so many seconds."""
        self._ended = time.monotonic()
        self._cost = time.thread_time() - began


class Watch:
    """Watches one job from ``start`` until its end or ``stop``.

    Args:
        pid: the outermost process.
        scratch: where the job writes to.
        limits: what it may use.
        alive: whether the outermost process runs.
        kill: ends every process of the job; called from the watch's own thread.
        reserve: what must stay free on the machine; None for the usual.
    """

    def __init__(
        self,
        *,
        pid: int,
        scratch: Scratch,
        limits: Limits,
        alive: Callable[[], bool],
        kill: Callable[[], None],
        reserve: Reserve | None = None,
    ) -> None:
        self.exceeded: Failure | None = None
        self.peak_bytes = 0
        self.pids: set[int] = {pid}
        """Every process that was ever seen."""
        self.polls = 0
        self.seconds = 0.0
        """Processor time that all polls took."""
        self._pid = pid
        self._scratch = scratch
        self._disk_device = os.stat(scratch.disk).st_dev if scratch.disk else None
        self._limits = limits
        self._alive = alive
        self._kill = kill
        self._reserve = reserve or Reserve.of_machine(scratch.disk)
        self._memory_pace = _Pace()
        self._scratch_pace = _Pace()
        self._resident_bytes = 0
        self._available_bytes = process_tree.available_bytes()
        self._shut: dict[int, float] = {}
        self._look_seconds = LOOK_SECONDS + LOOK_SECONDS_A_CORE * len(limits.cpus)
        self._look_ends = 0.0
        self._scratch_pressing = False
        self._deleted_bytes = 0
        self._ended = threading.Event()
        self._thread = VitalThread("nightlab-watch", self._run, kill)

    @property
    def broken(self) -> BaseException | None:
        """What ended the watch, where that was no decision of its own."""
        return self._thread.broken

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def look_at_the_end(self) -> None:
        """Look once more at what the job has written, now that it has ended.

        A file system that counts lets it write no more than its limit, and past that no look
        may have come before the job's own end.
        """
        if self._scratch.disk is None and self.exceeded is None:
            self.exceeded = self._judge_scratch(self._scratch.use(0))

    def stop(self) -> None:
        """End, and return once the last look is over."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set() and self._alive():
            began, began_wall = time.thread_time(), time.monotonic()
            self._look_ends = began + self._look_seconds
            try:
                failure = self._look()
            except _TooDear:
                failure = _resources(
                    "The candidate's processes have so many mappings, open files or threads that "
                    f"looking at them once takes more than {self._look_seconds:.1f} s."
                )
            self.polls += 1
            self.seconds += time.thread_time() - began
            if failure is not None:
                self.exceeded = failure
                self._kill()
                return
            # Not more than half of the time, whatever a look takes.
            self._ended.wait(max(POLL_SECONDS, time.monotonic() - began_wall))

    def _look(self) -> Failure | None:
        pids = process_tree.tree_of(self._pid)
        self.pids.update(pids)
        return (
            self._look_at_processes(pids)
            or self._look_at_memory(pids)
            or self._look_at_scratch()
            or self._look_at_machine()
        )

    def _affordable(self, pids: Iterable[int]) -> Iterator[int]:
        """The same, as long as the look has not cost too much."""
        for pid in pids:
            if time.thread_time() > self._look_ends:
                raise _TooDear
            yield pid

    def _look_at_processes(self, pids: list[int]) -> Failure | None:
        tasks = process_tree.count_tasks(self._affordable(pids))
        if tasks <= self._limits.processes + _SANDBOX_TASKS:
            return None
        return _resources(
            f"The candidate ran {tasks:,} processes and threads where {self._limits.processes:,} "
            "are allowed."
        )

    def _look_at_memory(self, pids: list[int]) -> Failure | None:
        limit = self._limits.memory_bytes
        resident = process_tree.resident_bytes(self._affordable(pids))
        available = process_tree.available_bytes()
        fallen = self._available_bytes - available
        pressing = limit is not None and (resident > limit or fallen > _FALL * limit)
        grown = resident > _GROWTH * self._resident_bytes
        if not self._memory_pace.due(urgent=grown, pressing=pressing):
            return None
        began = time.thread_time()
        self._resident_bytes, self._available_bytes = resident, available
        used = self._measure_memory(pids)
        if limit is not None and used > limit:
            # A process that ends between two readings leaves its shares to the others,
            # which then count twice: a second reading decides.
            used = min(used, self._measure_memory(process_tree.tree_of(self._pid)))
        self._memory_pace.took(began)
        self.peak_bytes = max(self.peak_bytes, used)
        if self._is_shut():
            return _resources("The candidate shut a process of its own against the engine.")
        if limit is None or used <= limit:
            return None
        return Failure(
            reason=Reason.OOM,
            message=f"The candidate used {used / _MB:,.0f} MB of memory where "
            f"{limit / _MB:,.0f} are allowed.",
        )

    def _measure_memory(self, pids: list[int]) -> int:
        held = process_tree.held_by(self._affordable(pids), self._disk_device)
        self._deleted_bytes = held.deleted_bytes
        now = time.monotonic()
        self._shut = {pid: self._shut.get(pid, now) for pid in held.shut}
        written = 0 if self._scratch.disk else self._scratch.use(0).used_bytes
        return process_tree.memory_bytes(self._affordable(pids), held.shared_memory_bytes + written)

    def _is_shut(self) -> bool:
        return any(time.monotonic() - since > _SHUT_SECONDS for since in self._shut.values())

    def _look_at_scratch(self) -> Failure | None:
        if not self._scratch_pace.due(pressing=self._scratch_pressing):
            return None
        began = time.thread_time()
        try:
            use = self._scratch.use(self._limits.scratch_files)
        except OSError:
            return _resources("The candidate shut its work folder against the engine.")
        finally:
            self._scratch_pace.took(began)
        return self._judge_scratch(use)

    def _judge_scratch(self, use: ScratchUse) -> Failure | None:
        limits = self._limits
        used = use.used_bytes + self._deleted_bytes
        self._scratch_pressing = (
            use.files > _PRESSING_USE * limits.scratch_files
            or used > _PRESSING_USE * limits.scratch_bytes
        )
        if use.shut:
            return _resources(
                "The candidate shut a folder of its own against the engine, or nested folders "
                f"deeper than {MAX_DEPTH}."
            )
        if use.files > limits.scratch_files:
            return _resources(
                f"The candidate made more than the {limits.scratch_files:,} files and folders that "
                "are allowed."
            )
        if used > limits.scratch_bytes:
            return _resources(
                f"The candidate wrote {used / _MB:,.0f} MB of files where "
                f"{limits.scratch_bytes / _MB:,.0f} are allowed."
            )
        return None

    def _look_at_machine(self) -> Failure | None:
        memory = process_tree.available_bytes()
        if memory < self._reserve.memory_bytes:
            return Failure(
                reason=Reason.OOM,
                message=f"The machine ran short of memory ({memory / _MB:,.0f} MB left) while the "
                f"candidate ran, which used {self.peak_bytes / _MB:,.0f} MB that could be seen.",
            )
        disk = _free_bytes(self._scratch.disk) if self._scratch.disk else 0
        if disk < self._reserve.disk_bytes:
            return _resources(
                f"The disk of the work folder ran short ({disk / _MB:,.0f} MB left) while the "
                "candidate ran."
            )
        return None


def _resources(message: str) -> Failure:
    return Failure(reason=Reason.RESOURCES, message=message)


def _free_bytes(folder: str) -> int:
    state = os.statvfs(folder)
    return state.f_bavail * state.f_frsize
