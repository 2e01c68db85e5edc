"""Who works on a study, as a note that other processes and machines read."""

import hashlib
import os
import socket
import uuid
from datetime import datetime, timedelta
from pathlib import Path

import psutil

from nightlab.records import SCHEMA_VERSION, Frozen, utc_now

# A process's start is reckoned from the system's clock, which may be set in between; a
# process id is not used again so soon.
_CLOCK_TOLERANCE_SECONDS = 60.0


class SessionNote(Frozen):
    """Who works on a study."""

    schema_version: int = SCHEMA_VERSION
    holder: str
    """What works on it, for people: a command, or the name of a flow run."""
    host: str
    pid: int
    process_started: float | None
    """Start of the process, in seconds since the epoch: a process id is used again."""
    machine: str
    """Boot and process namespace: where the process id means something."""
    clone: str
    """Which clone it works in, so that the clone's next session knows its predecessor."""
    since: datetime
    heartbeat: datetime

    def is_abandoned(self, now: datetime, after_seconds: float) -> bool:
        """Say whether the session is gone: silent for long, or its process dead here."""
        return now - self.heartbeat > timedelta(seconds=after_seconds) or self.is_dead_here()

    def is_dead_here(self) -> bool:
        """Say whether it was a process of this machine that lives no more."""
        if (self.host, self.machine) != (socket.gethostname(), _machine()):
            return False
        started = _process_started(self.pid)
        if started is None or self.process_started is None:
            return started is None
        return abs(started - self.process_started) > _CLOCK_TOLERANCE_SECONDS

    def sentence(self, study: str) -> str:
        """Return the refusal that names this session."""
        return (
            f"Study {study!r} has one session at a time, and {self.holder} is working on it "
            f"(host {self.host}, process {self.pid}, since {self.since:%Y-%m-%d %H:%M:%S %Z}): "
            "wait for it, stop it there, or name another study with --study."
        )


def own_note(holder: str, folder: Path) -> SessionNote:
    """Return the note of this process, working in the clone that keeps ``folder``."""
    now = utc_now()
    return SessionNote(
        holder=holder,
        host=socket.gethostname(),
        pid=os.getpid(),
        process_started=_process_started(os.getpid()),
        machine=_machine(),
        clone=clone_name(folder),
        since=now,
        heartbeat=now,
    )


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees all of it or what was there before."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_bytes(content)
    os.replace(beside, path)


def clone_name(folder: Path) -> str:
    """Name the clone that keeps ``folder``: a random number, with host and place."""
    folder.mkdir(exist_ok=True)
    number = folder / "clone"
    if not number.is_file():
        write_whole(number, uuid.uuid4().hex.encode())
    place = f"{number.read_text()} {socket.gethostname()} {folder.resolve()}"
    return hashlib.sha256(place.encode()).hexdigest()[:16]


def _process_started(pid: int) -> float | None:
    """Start of a process, in seconds since the epoch; None when it does not live."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except psutil.NoSuchProcess:
        return None


def _machine() -> str:
    """Tell machines, boots and containers apart; empty parts where the system has none."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    namespace = Path("/proc/self/ns/pid")
    return " ".join(
        (
            boot.read_text().strip() if boot.is_file() else "",
            str(namespace.readlink()) if namespace.is_symlink() else "",
        )
    )
