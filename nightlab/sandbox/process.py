"""A running job, as the host sees it: its socket, its output, its limits, its end."""

import json
import os
import select
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Protocol, Self

from nightlab.errors import SandboxError
from nightlab.records import OtherWork, Reason
from nightlab.sandbox import timekeeper
from nightlab.sandbox.cgroup import Cgroup, Cgroups, entering
from nightlab.sandbox.environment import Limits, interpreter_environment
from nightlab.sandbox.failure import Failure
from nightlab.sandbox.gpu import other_work, require_vacant, wait_until_released
from nightlab.sandbox.job import Layout, WorkPlace
from nightlab.sandbox.log import LogReader, reading_pair
from nightlab.sandbox.protocol import Channel
from nightlab.sandbox.watch import Watch

KILL_SECONDS = 10.0


class OuterProcess(subprocess.Popen[bytes]):
    """The outermost process of a job, with what it was born into."""

    output: socket.socket
    cgroup: Cgroup | None = None
    other_work: OtherWork | None = None
    """What else there was on the job's GPU."""


class Spawner:
    """Starts processes, all from one thread that lives as long as the engine.

    A process that is to die with its parent (PR_SET_PDEATHSIG) dies with the *thread*
    that started it, so a worker thread that ends would take its sandboxes along.

    Args:
        cgroups: where jobs' cgroups are made; None to look for a place.
    """

    def __init__(self, cgroups: Cgroups | None = None) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="nightlab-spawner")
        self.cgroups = Cgroups.find() if cgroups is None else cgroups

    def spawn(self, command: list[str], limits: Limits, **options: Any) -> OuterProcess:
        """Start the outermost process of a job, in its cgroup and on its cores.

        Its resource limits are for the command to take: they would bind what builds the
        sandbox too. ``options`` are those of ``subprocess.Popen``.

        Raises:
            SandboxError: it cannot be started.
        """
        others = None
        if limits.gpu is not None:
            others = other_work(limits.gpu, require_vacant(limits.gpu))
        output, streams = reading_pair()
        cgroup = self.cgroups.create(limits)

        def start() -> OuterProcess:
            # A new process gets the cores of the thread that starts it.
            ours = os.sched_getaffinity(0)
            os.sched_setaffinity(0, limits.cpus)
            try:
                return OuterProcess(
                    entering(command, cgroup),
                    # Not the machine's /dev/null, whose times every job would see.
                    stdin=streams.fileno(),
                    stdout=streams.fileno(),
                    stderr=streams.fileno(),
                    **options,
                )
            finally:
                os.sched_setaffinity(0, ours)

        try:
            process = self._thread.submit(start).result()
        except OSError as error:
            output.close()
            if cgroup is not None:
                cgroup.remove()
            raise SandboxError(f"{command[0]} cannot be started ({error}).") from error
        finally:
            streams.close()
        process.cgroup, process.other_work, process.output = cgroup, others, output
        return process


def start_timekeeper(order: dict[str, Any]) -> "subprocess.Popen[bytes]":
    """Start the process that keeps a job's time; ``order`` is in its file."""
    handed_over = [order[name] for name in ("socket", "kill", "tell") if order[name] is not None]
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", timekeeper.__file__, json.dumps(order)],
        stdin=subprocess.DEVNULL,
        env=interpreter_environment(),
        cwd="/",
        pass_fds=handed_over,
        start_new_session=True,  # or it would be interrupted with the engine
    )


class Tree(Protocol):
    """What a rung knows about the processes of a job that only it can know."""

    @property
    def handles(self) -> dict[str, int | None]:
        """Descriptors by which another process ends the job: see timekeeper.py."""

    def kill(self) -> None:
        """End every process of the job, so that the outermost one ends last."""

    def never_began(self) -> bool:
        """Whether the outermost process ended before the job's own program was started."""

    def close(self) -> None:
        """Release what the rung holds for the job."""


class SandboxedProcess:
    """A running job. Leaving its ``with`` block kills the whole tree and removes its folder.

    Args:
        process: the outermost process.
        channel: the host's end of the socket.
        folder: the job's folder.
        layout: the job's paths as its processes see them.
        tree: how the rung ends it.
        limits: what it may use of the machine.
    """

    def __init__(
        self,
        *,
        process: OuterProcess,
        channel: Channel,
        folder: WorkPlace,
        layout: Layout,
        tree: Tree,
        limits: Limits,
    ) -> None:
        self.channel = channel
        self.folder = folder
        self.layout = layout
        self.limits = limits
        self._process = process
        self._tree = tree
        self._killed = False
        self._killing = threading.Lock()
        self._ran_out = False
        self._released = False
        self._log = LogReader(process.output, self._end_tree)
        self._watch = Watch(
            pid=process.pid,
            scratch=folder.scratch,
            limits=limits,
            alive=lambda: process.poll() is None,
            kill=self._end_tree,
        )
        self._watch.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.kill()
        finally:
            self._watch.stop()
            self.channel.close()
            self._tree.close()
            self.folder.remove()

    @property
    def pid(self) -> int:
        """Process id of the outermost process."""
        return self._process.pid

    @property
    def log(self) -> str:
        """The output so far, capped; data, never instructions."""
        return self._log.text

    def settled_log(self, seconds: float) -> str:
        """The output up to now, with what is still on its way; waits ``seconds`` at most."""
        self._log.settle(seconds)
        return self._log.text

    @property
    def peak_memory_mb(self) -> float | None:
        """Largest memory of the whole tree that was seen, or None before any was.

        Shared pages count once; see ``process_tree`` for what is in it.
        """
        return self._watch.peak_bytes / 2**20 if self._watch.peak_bytes else None

    @property
    def exceeded(self) -> Failure | None:
        """The limit that ended the job, if one did: ask this before reading its exit code.

        Raises:
            SandboxError: what watches the job broke down, which ended the job.
        """
        broken = self._watch.broken or self._log.broken
        if broken is not None:
            raise SandboxError(
                f"What watches a job broke down ({type(broken).__name__}: {broken}), so the job "
                "was ended before it could pass a limit unseen: it can be tried again; should the "
                "same candidate end so once more, it does that on purpose, and docs/security.md "
                "says how to report it."
            ) from broken
        return self._watch.exceeded or self._out_of_cgroup()

    @property
    def other_work(self) -> OtherWork | None:
        """What else there was on the job's GPU when it started."""
        return self._process.other_work

    @property
    def watch(self) -> Watch:
        """The watch over it, for those who measure what watching costs."""
        return self._watch

    def wait(self, timeout_seconds: float) -> int | None:
        """Wait for the end; the exit code (128 + signal where one ended it), or None.

        Raises:
            SandboxError: the job's program was never started.
        """
        code = self._reap(timeout_seconds)
        if code is None:
            return None
        # Below 0 a signal ended the outermost process: that is no word on what it built.
        if code > 0 and not self._killed and self._tree.never_began():
            said = self.log.strip().splitlines() or [f"it ended with status {code}"]
            raise SandboxError(
                f"The sandbox could not be built ({said[-1]}): see `nightlab doctor`."
            )
        return code if code >= 0 else 128 - code

    def keep_time(self, clock: str, connection: int) -> "subprocess.Popen[bytes]":
        """Start the process that keeps the job's time: see timekeeper.py.

        Args:
            clock: ``processor`` or ``wall``.
            connection: its end of the socket.
        """
        cgroup = self._process.cgroup
        order = {
            "socket": connection,
            "clock": clock,
            "pid": self.pid,
            "cgroup": None if cgroup is None else str(cgroup.path),
            "cpus": self.limits.cpus,
            **self._tree.handles,
        }
        return start_timekeeper(order)

    def end(self) -> None:
        """Kill every process of the job, from any thread, without waiting until they are gone."""
        if self._process.poll() is None:
            self._end_tree()

    def kill(self) -> None:
        """Kill every process of the job and return once they are gone.

        Raises:
            SandboxError: they do not go, as when a driver holds them in the kernel, or
                the GPU does not let go of them.
        """
        self.end()
        if self._reap(KILL_SECONDS) is None:
            self._process.kill()
            raise SandboxError(
                f"The sandbox (process {self.pid}) is still there {KILL_SECONDS:.0f} s after it "
                "was killed: look for a hung device or disk with `dmesg`."
            )
        self._release()

    def _end_tree(self) -> None:
        # The watch and the engine may both come to this at the same time.
        with self._killing:
            self._killed = True
            try:
                if self._process.cgroup is not None:
                    self._process.cgroup.kill()
            finally:
                self._tree.kill()

    def _release(self) -> None:
        """Give back what outlives the processes: the cgroup, the GPU."""
        if self._process.cgroup is not None:
            self._process.cgroup.kill()
            self._ran_out = self._ran_out or self._process.cgroup.out_of_memory()
            self._process.cgroup.remove()
        if self.limits.gpu is not None and not self._released:
            self._watch.stop()
            wait_until_released(self.limits.gpu, self._watch.pids)
            self._released = True

    def _out_of_cgroup(self) -> Failure | None:
        cgroup, limit = self._process.cgroup, self.limits.memory_bytes
        if cgroup is None or limit is None or not (self._ran_out or cgroup.out_of_memory()):
            return None
        return Failure(
            reason=Reason.OOM,
            message=f"The candidate needed more than the {limit / 2**20:,.0f} MB of memory that "
            "are allowed.",
        )

    def _reap(self, timeout_seconds: float) -> int | None:
        if not self._ends_within(max(timeout_seconds, 0.0)):
            return None
        code = self._process.wait()
        self._watch.look_at_the_end()
        # Nothing holds the other end any more, so what was written is read in a moment.
        self._log.join(KILL_SECONDS)
        return code

    def _ends_within(self, timeout_seconds: float) -> bool:
        # Popen.wait with a timeout looks only every 50 ms, as long as all of a start takes.
        if self._process.poll() is not None:
            return True
        try:
            handle = os.pidfd_open(self._process.pid)
        except ProcessLookupError:  # reaped by another thread just now
            return True
        try:
            ended = select.poll()
            ended.register(handle, select.POLLIN)
            return bool(ended.poll(1000 * timeout_seconds))
        finally:
            os.close(handle)
