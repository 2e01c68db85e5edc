"""A git that speaks to another machine: what it said, and when it was waited for long enough."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_DUBIOUS = "detected dubious ownership"
_TRUST = "git config --global --add safe.directory FOLDER"
_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitLimits:
    """How long one git that speaks to another machine is waited for."""

    seconds: float
    """In all."""
    silent_seconds: float
    """Without a word of it: of its answer, or of how far it has come (``--progress``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GitResult:
    """What one git command answered."""

    status: int
    stdout: bytes
    stderr: str
    given_up: str | None = None
    """Why it was not waited for any longer, as a clause."""

    @property
    def complaint(self) -> str:
        """The line of git's complaint that says the most.

        Git follows the reason with advice, or with "failed to push some refs".
        """
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        for prefix in ("!", "fatal:", "error:"):
            for line in reversed(lines):
                if line.startswith(prefix):
                    return line.removeprefix(prefix).strip()
        return lines[-1] if lines else f"exit status {self.status}"

    @property
    def remedy(self) -> str | None:
        """Git's own remedy where it refuses to work in another user's repository."""
        if self.status == 0 or _DUBIOUS not in self.stderr:
            return None
        lines = [line.strip() for line in self.stderr.splitlines()]
        return next((line for line in lines if line.startswith("git config")), _TRUST)


def run_within(
    limits: WaitLimits,
    command: Sequence[str],
    stdin: IO[bytes],
    variables: Mapping[str, str],
    folder: str | Path | None,
) -> GitResult:
    """Run git in a process group of its own, which ends whole where it takes too long.

    Args:
        limits: of the wait.
        command: git with its arguments.
        stdin: its standard input.
        variables: of its environment, besides this process's own.
        folder: where it runs.
    """
    # Into files: their sizes tell how far it is, and a helper left alive holds no pipe open.
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=folder,
            # Its words are read below.
            env={**os.environ, "LANGUAGE": "C", "LC_ALL": "C", **variables},
            start_new_session=True,
        )
        try:
            given_up = _await(process, (stdout, stderr), limits)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        for file in (stdout, stderr):
            file.seek(0)
        return GitResult(
            status=process.returncode,
            stdout=stdout.read(),
            stderr=stderr.read().decode(errors="replace"),
            given_up=given_up,
        )


def _await(
    process: subprocess.Popen[bytes], said: Iterable[IO[bytes]], limits: WaitLimits
) -> str | None:
    """Wait for git to end; else say why it was enough."""
    began = heard = time.monotonic()
    size = 0
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_LOOK_SECONDS)
            return None
        now, before = time.monotonic(), size
        size = sum(os.fstat(file.fileno()).st_size for file in said)
        if size != before:
            heard = now
        if now - heard >= limits.silent_seconds:
            return f"no answer within {limits.silent_seconds:g} seconds"
        if now - began >= limits.seconds:
            return f"no end within {limits.seconds:g} seconds"
