"""Run a person's own program on a leash: it ends, with all that it started, when its time or
its folder is full, or when this process ends, however that ends.

No sandbox: the program has the person's files, network and keys, as it would have without us.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nightlab.errors import SandboxError
from nightlab.sandbox.log import LogReader
from nightlab.sandbox.scratch import scratch_use
from nightlab.sandbox.warden import NO_IDENTITY

_WARDEN = Path(__file__).parents[2] / "sandbox" / "warden.py"
LOOK_SECONDS = 0.25
"""Between two looks at the clock and the folder."""
KILL_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the program may use."""

    seconds: float
    """Wall clock."""
    folder_bytes: int
    """Disk space of its folder."""
    folder_files: int
    """Names of every kind in its folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How it ended."""

    code: int
    """Exit status; 128 + signal where one ended it."""
    broke: str | None
    """The bound for which it was ended, as a clause; None where it ended by itself."""
    log: str
    """What it printed, capped in the middle, without control characters; data."""
    seconds: float


def run_on_leash(
    command: Sequence[str], *, folder: Path, environment: Mapping[str, str], bounds: Bounds
) -> Outcome:
    """Run a program in a folder until it ends or breaks a bound; nothing of it is left then.

    Raises:
        SandboxError: it cannot be started, or does not go when it is ended.
    """
    began = time.monotonic()
    pipe, leash = os.pipe()
    try:
        process = _start(command, folder, environment, pipe)
    except OSError as error:
        os.close(leash)
        raise SandboxError(f"{command[0]} cannot be started ({error}).") from error
    finally:
        os.close(pipe)
    try:
        if process.stdout is None:
            raise ValueError("the program's output needs to be a pipe")
        log = LogReader(process.stdout)
        broke = _watch(process, folder, bounds, began + bounds.seconds)
    finally:
        os.close(leash)
        _reap(process)
    log.join(KILL_SECONDS)
    code = process.returncode
    return Outcome(
        code=code if code >= 0 else 128 - code,
        broke=broke,
        log=log.text,
        seconds=time.monotonic() - began,
    )


def _start(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], pipe: int
) -> subprocess.Popen[bytes]:
    """Start it under a warden, which ends its whole tree once the pipe's other end is gone."""
    warden = [sys.executable, "-I", "-S", "-B", str(_WARDEN), str(pipe), NO_IDENTITY, ""]
    return subprocess.Popen(
        [*warden, *command],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(pipe,),
        start_new_session=True,
    )


def _watch(
    process: subprocess.Popen[bytes], folder: Path, bounds: Bounds, deadline: float
) -> str | None:
    """Return when it has ended (None) or has broken a bound (the clause on it)."""
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return f"it was still running after {bounds.seconds:g} s"
        try:
            process.wait(min(left, LOOK_SECONDS))
        except subprocess.TimeoutExpired:
            broke = _overflow(folder, bounds)
            if broke is not None:
                return broke
        else:
            return None


def _overflow(folder: Path, bounds: Bounds) -> str | None:
    try:
        use = scratch_use(str(folder), bounds.folder_files)
    except OSError:
        return None  # It has removed its folder, which takes no space.
    if use.files > bounds.folder_files:
        return f"it made more than {bounds.folder_files:,} files in its folder"
    if use.used_bytes > bounds.folder_bytes:
        return f"it wrote more than {bounds.folder_bytes / 2**20:,.0f} MB into its folder"
    return None


def _reap(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(KILL_SECONDS)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.wait()
        raise SandboxError(
            f"A program (process {process.pid}) was still there {KILL_SECONDS:.0f} s after it was "
            "ended: look for a hung disk with `dmesg`."
        ) from error
