"""What a job has used of the processors, and how long it waited for one: the kernel's numbers.

Where the job has a cgroup, its ``cpu.stat`` tells all, whoever ended and was waited for or not.

Elsewhere the tree's own sums do, which a job can hide from: children that are reaped by
themselves (SIGCHLD ignored) vanish from every sum. So:

* what was seen of a process is never lost, however it ends;
* in a stretch between two looks after which a process has come or gone, the job is charged for
  all that the processors did meanwhile, or for all of them where the kernel does not tell that;
* looks come at random moments (exponentially distributed stretches), so that processes which
  live half of the time are seen in half of the looks, each time with the whole stretch: coming
  and going between looks costs on average what it uses, and whoever is seen more than that.

No look is made at the job's bidding, or it could choose moments at which it has no children.
"""

import os
import time
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from nightlab.sandbox import process_tree

WAITING_SECONDS = 0.5
"""Stretches in which waiting is looked for: it decides only what a long delay came from."""

TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
"""The unit of processor time in /proc."""

_IDLE_SHARE = 0.1
"""Where the kernel keeps no run delays: processors less idle than this were what was waited for."""


class ProcessorTime:
    """Processor time of one job, from the moment that this is made. Not for several threads.

    Args:
        pid: the job's outermost process.
        cgroup: the job's cgroup, if it has one.
        cpus: the processors that it may use.
    """

    def __init__(self, pid: int, cgroup: str | None, cpus: Sequence[int]) -> None:
        self.used_seconds = 0.0
        self.waited_seconds = 0.0
        """How long it could have gone on and had no processor, as far as that explains what is
        missing of one processor's time: waiting for a processor that it uses itself is none."""
        self._pid = pid
        self._cpus = cpus
        self._cgroup = cgroup
        self._before = None if cgroup is None else cgroup_seconds(cgroup)
        self._tree = _TreeTime(pid, cpus) if self._before is None else None
        self._waiting_from = (time.monotonic(), 0.0, _idle_seconds(cpus))
        self._delays = run_delays(process_tree.tree_of(pid))

    def look(self) -> None:
        """Bring both numbers up to now; neither ever falls."""
        if self._tree is not None:
            self._tree.look()
            self.used_seconds = self._tree.used_seconds
        elif self._cgroup is not None and self._before is not None:
            used = cgroup_seconds(self._cgroup)
            if used is not None:  # else the job is over, and its last number stands
                self.used_seconds = max(self.used_seconds, used - self._before)
        if time.monotonic() >= self._waiting_from[0] + WAITING_SECONDS:
            self._look_for_waiting()

    def _look_for_waiting(self) -> None:
        began, used, idle = self._waiting_from
        now, idle_now = time.monotonic(), _idle_seconds(self._cpus)
        delays = run_delays(process_tree.tree_of(self._pid))
        # The longest of any thread, not their sum: that counts one moment many times.
        waited = max(
            (delay - self._delays[task] for task, delay in delays.items() if task in self._delays),
            default=0.0,
        )
        is_busy = idle_now - idle < _IDLE_SHARE * len(self._cpus) * (now - began)
        if is_busy and not keeps_run_delays():
            waited = now - began
        missing = max(0.0, now - began - (self.used_seconds - used))
        self.waited_seconds += min(waited, missing)
        self._waiting_from, self._delays = (now, self.used_seconds, idle_now), delays


class _TreeTime:
    """The sum over a tree of processes."""

    def __init__(self, pid: int, cpus: Sequence[int]) -> None:
        self.used_seconds = 0.0
        self._pid = pid
        self._cpus = cpus
        self._own, whole = own_seconds(process_tree.tree_of(pid))
        # What was seen one look earlier too: a walk may miss one who moves to another parent.
        self._earlier: dict[tuple[int, int], float] = {}
        self._most_whole = whole
        self._looked, self._idle = time.monotonic(), _idle_seconds(cpus)

    def look(self) -> None:
        """Add what was used since the last look."""
        own, whole = own_seconds(process_tree.tree_of(self._pid))
        now, idle = time.monotonic(), _idle_seconds(self._cpus)
        known = self._earlier | self._own
        used = sum(max(0.0, seconds - known.get(key, 0.0)) for key, seconds in own.items())
        # Children that came and went between two looks and were waited for.
        used = max(used, whole - self._most_whole)
        if own.keys() != self._own.keys():
            all_processors = len(self._cpus) * (now - self._looked)
            # Idle time comes in ticks, which may have been all but over before.
            worked = all_processors - (idle - self._idle) + len(self._cpus) * TICK_SECONDS
            used = max(used, min(all_processors, worked))
        self.used_seconds += used
        self._most_whole = max(self._most_whole, whole)
        self._earlier, self._own = self._own, own
        self._looked, self._idle = now, idle


def cgroup_seconds(cgroup: str) -> float | None:
    """What all processes of a cgroup have used, the dead among them; None where it is gone.

    The kernel tells this of every cgroup, whatever its controllers.
    """
    fields = process_tree.read_file(f"{cgroup}/cpu.stat").split()
    return int(fields[1]) / 1e6 if fields[:1] == [b"usage_usec"] else None


def own_seconds(pids: Iterable[int]) -> tuple[dict[tuple[int, int], float], float]:
    """Processor seconds of each process, and of all with the children that they waited for.

    Returns:
        What each has used itself, by its id and the moment of its start; and the sum.
    """
    own: dict[tuple[int, int], float] = {}
    whole = 0.0
    for pid in pids:
        fields = process_tree.stat_fields(pid)
        if len(fields) > 19:
            user, system, children_user, children_system = (int(each) for each in fields[11:15])
            own[pid, int(fields[19])] = (user + system) * TICK_SECONDS
            whole += (user + system + children_user + children_system) * TICK_SECONDS
    return own, whole


def run_delays(pids: Iterable[int]) -> dict[str, float]:
    """Seconds that each thread could have run and had no processor."""
    delays = {}
    for pid in pids:
        for task in process_tree.tasks_of(pid):
            fields = process_tree.read_file(f"{task}/schedstat").split()
            if len(fields) > 1:
                delays[task] = int(fields[1]) / 1e9
    return delays


@cache
def keeps_run_delays() -> bool:
    """Whether this kernel says how long a thread waited for a processor."""
    return bool(process_tree.read_file("/proc/self/schedstat"))


def _idle_seconds(cpus: Sequence[int]) -> float:
    """How long these processors have been idle, in sum; 0 where the kernel does not say."""
    wanted = {f"cpu{number}" for number in cpus}
    ticks = 0
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    for line in lines:
        name, *fields = line.split()
        if name in wanted and len(fields) > 4:
            ticks += int(fields[3]) + int(fields[4])
    return ticks * TICK_SECONDS
