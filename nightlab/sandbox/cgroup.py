"""A cgroup (version 2) for every job, where this machine lets us make one.

A cgroup's limits are the kernel's: they see all memory that a job costs, mapped or not,
its kernel memory too, and nothing slips through between two looks. ``cgroup.kill`` ends
all its processes at once, however fast they fork.

The job's outermost process is in its cgroup before it runs anything: a shell puts itself
there and then becomes it. So nothing can be forked before.

Where we may make one is found by making one. A cgroup that holds processes passes no
controllers on, so it is made beside our own, or below it where that is the root. What
a killed engine left behind is removed at the next start.
"""

import os
import secrets
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nightlab.errors import SandboxError
from nightlab.sandbox.environment import Limits
from nightlab.sandbox.process_tree import stat_fields

ENDING_SECONDS = 10.0
_PREFIX = "nightlab-"

# The arguments: the file to enter by, or an empty word for none, then the command. The
# kernel, should it run out of memory, takes a candidate before anything else.
_ENTER = (
    "echo 1000 > /proc/self/oom_score_adj || exit 125; "
    'if [ -n "$1" ]; then echo 0 > "$1" || exit 125; fi; shift; '
    # What shells add of themselves to an empty environment.
    'unset PWD OLDPWD SHLVL _; exec "$@"'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What holds the memory of a job on this machine: for the record of a confinement."""

    features: tuple[str, ...]
    missing: tuple[str, ...]


class Cgroups:
    """Makes the cgroups of jobs.

    Args:
        parent: the cgroup to make them in; None where we may make none.
    """

    def __init__(self, parent: Path | None) -> None:
        self._parent = parent

    @classmethod
    def find(cls) -> "Cgroups":
        """Find a place by trying; leftovers of engines that were killed go."""
        for parent in _candidates():
            if _may_use(parent):
                _sweep(parent)
                return cls(parent)
        return cls(None)

    @property
    def parent(self) -> Path | None:
        """The cgroup that jobs' cgroups are made in, if any."""
        return self._parent

    @cached_property
    def controllers(self) -> frozenset[str]:
        """The controllers that a new cgroup has."""
        if self._parent is None:
            return frozenset()
        return frozenset((self._parent / "cgroup.subtree_control").read_text().split())

    def holding(self) -> Holding:
        """What holds a job's memory and processes here, and what does not."""
        features = ["memory of all processes together (watched)"]
        missing = []
        if "memory" in self.controllers:
            features = ["memory of all processes together (cgroup and watched)"]
        else:
            missing.append("memory limit by the kernel (no cgroup v2 memory controller for us)")
        if "pids" in self.controllers:
            features.append("number of processes (cgroup)")
        if self._parent is not None:
            features.append("killed as one (cgroup)")
        return Holding(features=tuple(features), missing=tuple(missing))

    def create(self, limits: Limits) -> "Cgroup | None":
        """Make a cgroup for a job, or None where there is no place for one.

        Raises:
            SandboxError: the place that was found does not take it any more.
        """
        if self._parent is None:
            return None
        path = _new_path(self._parent)
        try:
            path.mkdir()
            if "memory" in self.controllers and limits.memory_bytes is not None:
                (path / "memory.max").write_text(str(limits.memory_bytes))
                (path / "memory.oom.group").write_text("1")
                swap = path / "memory.swap.max"
                if swap.exists():
                    swap.write_text("0")
            if "pids" in self.controllers:
                (path / "pids.max").write_text(str(limits.processes))
        except OSError as error:
            raise SandboxError(
                f"A job needs a cgroup in {self._parent}, and making it failed ({error}): start "
                "Nightlab again, which then looks for a place again."
            ) from error
        return Cgroup(path)


class Cgroup:
    """The cgroup of one job; ``remove`` it when every process of the job is gone."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def out_of_memory(self) -> bool:
        """Whether the kernel ended the job for want of memory within its limit."""
        try:
            events = (self.path / "memory.events").read_text().split()
        except OSError:
            return False
        counts = dict(zip(events[::2], events[1::2], strict=True))
        return int(counts.get("oom_kill", 0)) > 0

    def kill(self) -> None:
        """End every process in it at once; nothing where the kernel is older than 5.14."""
        try:
            (self.path / "cgroup.kill").write_text("1")
        except FileNotFoundError:
            return

    def remove(self) -> None:
        """Remove it, once the last process is gone.

        Raises:
            SandboxError: processes stay in it.
        """
        end = time.monotonic() + ENDING_SECONDS
        while True:
            try:
                self.path.rmdir()
            except FileNotFoundError:
                return
            except OSError as error:
                if time.monotonic() > end:
                    raise SandboxError(
                        f"Processes of a job are still in the cgroup {self.path} "
                        f"{ENDING_SECONDS:.0f} s after its end: look for them with `cat "
                        f"{self.path}/cgroup.procs`."
                    ) from error
                time.sleep(0.005)
            else:
                return


def entering(command: list[str], cgroup: Cgroup | None) -> list[str]:
    """The command, begun by a shell that enters the cgroup and then becomes the command."""
    place = "" if cgroup is None else str(cgroup.path / "cgroup.procs")
    return ["/bin/sh", "-c", _ENTER, "sh", place, *command]


def _candidates() -> list[Path]:
    """Cgroups in which a place may be, the likeliest first."""
    mount, own = _mounted_at(), _own_path()
    if mount is None or own is None:
        return []
    ours = mount / own
    return [ours] if ours == mount else [ours.parent]


def _mounted_at() -> Path | None:
    # At newlines and blanks only: a path may hold whatever else there is.
    for line in filter(None, os.fsdecode(Path("/proc/self/mountinfo").read_bytes()).split("\n")):
        fields = line.split(" ")
        if fields[fields.index("-") + 1] == "cgroup2":
            return Path(fields[4])
    return None


def _own_path() -> str | None:
    for line in os.fsdecode(Path("/proc/self/cgroup").read_bytes()).split("\n"):
        if line.startswith("0::"):
            return line.removeprefix("0::").lstrip("/")
    return None


def _new_path(parent: Path) -> Path:
    pid = os.getpid()
    return parent / f"{_PREFIX}{pid}-{_started(pid)}-{secrets.token_hex(4)}"


def _may_use(parent: Path) -> bool:
    """Whether a process of ours can be born into a cgroup that we make there."""
    trial = Cgroup(_new_path(parent))
    try:
        trial.path.mkdir()
    except OSError:
        return False
    try:
        command = entering(["/bin/sh", "-c", ":"], trial)
        return subprocess.run(command, capture_output=True, check=False, env={}).returncode == 0
    finally:
        trial.remove()


def _sweep(parent: Path) -> None:
    for path in parent.glob(f"{_PREFIX}*"):
        engine, _, rest = path.name.removeprefix(_PREFIX).partition("-")
        if engine.isdigit() and _started(int(engine)) != rest.partition("-")[0]:
            # One that still has processes stays: its engine may live in another container.
            with suppress(OSError):
                path.rmdir()


def _started(pid: int) -> str:
    """When a process began, in ticks since the machine's: its id is used again after its end."""
    fields = stat_fields(pid)
    return fields[19].decode() if fields else "never"
