"""Start a job under a warden and through ``confine``: rung 2, and code that is trusted."""

import marshal
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightlab.errors import SandboxError
from nightlab.sandbox.confine import BEGAN
from nightlab.sandbox.environment import Limits, interpreter_environment
from nightlab.sandbox.identity import Identity
from nightlab.sandbox.job import JobFolder, Layout
from nightlab.sandbox.process import SandboxedProcess, Spawner
from nightlab.sandbox.protocol import Pair
from nightlab.sandbox.warden import NO_IDENTITY

_WARDEN = Path(__file__).with_name("warden.py")
_CONFINE = Path(__file__).with_name("confine.py")

CORE_BYTES = 1
"""Limit on core files. At 0 the kernel would still feed a crash handler of the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wall:
    """What a job may reach, by paths of the machine; everything else is refused."""

    readable: tuple[str, ...]
    writable: tuple[str, ...]
    devices: tuple[str, ...]
    program: bytes
    """The filter for system calls."""
    names_threads: bool = False
    """Whether it may write to its own threads' files in /proc, as a GPU's driver does."""

    def specification(self) -> dict[str, Any]:
        """As ``confine`` reads it."""
        return {
            "readable": self.readable,
            "writable": self.writable,
            "devices": self.devices,
            "filter": self.program,
            "names_threads": self.names_threads,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What is to be run, and how."""

    command: Sequence[str]
    environment: Mapping[str, str]
    limits: Limits
    processes: int | None
    """Processes and threads that the user may have, the engine's own among them if it is the
    same user; None for no limit."""
    wall: Wall | None
    """None to hold nothing back."""

    def specification(self, identity: Identity, pair: Pair, layout: Layout) -> bytes:
        """As ``confine`` reads it."""
        resources = {
            "RLIMIT_CORE": CORE_BYTES,
            "RLIMIT_DATA": self.limits.data_bytes,
            "RLIMIT_FSIZE": self.limits.file_bytes,
            "RLIMIT_NOFILE": self.limits.open_files,
            "RLIMIT_SIGPENDING": self.limits.pending_signals,
            "RLIMIT_RTPRIO": 0,
            "RLIMIT_NICE": 0,
            "RLIMIT_NPROC": self.processes,
        }
        content = {
            "limits": {name: value for name, value in resources.items() if value is not None},
            "identity": identity.uid,
            "wall": None if self.wall is None else self.wall.specification(),
            "keep": [pair.candidate],
            "folder": layout.work,
            "environment": dict(self.environment),
            "command": list(self.command),
        }
        return marshal.dumps(content)


def launch(
    program: Program, *, spawner: Spawner, folder: JobFolder, pair: Pair, identity: Identity
) -> SandboxedProcess:
    """Start a program under a warden; everything handed over is released with the job.

    Args:
        program: what is to be run.
        spawner: starts the warden.
        folder: the job's folder.
        pair: the job's socket.
        identity: the job's user id, which the warden holds until the last process is gone.

    Raises:
        SandboxError: it cannot be started.
    """
    pipe, leash = os.pipe()
    status, told = os.pipe()
    event = os.eventfd(0)
    specification = _memory_file(program.specification(identity, pair, folder.layout))
    inherited = [specification, told, pair.candidate]
    uid = NO_IDENTITY if identity.uid is None else str(identity.uid)
    command = [sys.executable, "-I", "-S", "-B", str(_WARDEN)]
    command += [f"{pipe},{event}", uid, ",".join(map(str, inherited))]
    command += [sys.executable, "-I", "-S", "-B", str(_CONFINE), str(specification), str(told)]
    held = [] if identity.lock is None else [identity.lock]
    try:
        process = spawner.spawn(
            command,
            program.limits,
            env=interpreter_environment(),
            cwd="/",
            pass_fds=(pipe, event, *inherited, *held),
            start_new_session=True,
        )
    except SandboxError:
        for descriptor in (leash, status, event):
            os.close(descriptor)
        pair.channel.close()
        folder.remove()
        identity.release()
        raise
    finally:
        for descriptor in (pipe, specification, told):
            os.close(descriptor)
        pair.close_candidate()
    return SandboxedProcess(
        process=process,
        channel=pair.channel,
        folder=folder,
        layout=folder.layout,
        tree=_Leash(leash, status, event, identity),
        limits=program.limits,
    )


class _Leash:
    """The engine's end of the warden's pipe: letting it go ends the job."""

    def __init__(self, leash: int, status: int, event: int, identity: Identity) -> None:
        self._leash: int | None = leash
        self._status = status
        self._event = event
        self._identity = identity

    @property
    def handles(self) -> dict[str, int | None]:
        """The event that the warden waits for, beside the pipe."""
        return {"kill": None, "tell": self._event}

    def kill(self) -> None:
        """Let go."""
        if self._leash is not None:
            os.close(self._leash)
            self._leash = None

    def never_began(self) -> bool:
        """Whether ``confine`` ended without a word, or with one more than it should say."""
        said = b""
        while data := os.read(self._status, 4096):
            said += data
        return said != BEGAN

    def close(self) -> None:
        """Let go, if not done yet, of everything."""
        self.kill()
        os.close(self._status)
        os.close(self._event)
        self._identity.release()


def _memory_file(content: bytes) -> int:
    descriptor = os.memfd_create("specification")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
