"""A user id of its own for each job, where the engine runs as root.

An id is nobody else's when it has no account, no process, and a lock that only its
holder has. So the processes of a job can be counted, limited and ended by their id, they
cannot touch those of another job, and what they leave in shared places is known as theirs.
Started by anyone else, jobs have the engine's own id.
"""

import fcntl
import os
import pwd
import re
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from nightlab.errors import SandboxUnavailable

IDENTITIES = range(60578, 61184)
"""Ids that fit 16 bits and that, by systemd's list of ids, no system gives to anything."""

_LOCKS = Path("/run/nightlab")
_SHARED_MEMORY = Path("/dev/shm")
_NEEDED_CAPABILITIES = {"CHOWN": 0, "DAC_OVERRIDE": 1, "KILL": 5, "SETGID": 6, "SETUID": 7}


class Identity:
    """The user and group id that a job's processes have; use it in a ``with`` block.

    Args:
        uid: the id; None for the engine's own.
        lock: a descriptor; whoever holds it open holds the id, so a process that must
            outlive the engine to clear the id up inherits it. None without an id.
    """

    def __init__(self, uid: int | None, lock: int | None = None) -> None:
        self.uid = uid
        self.lock = lock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the id back, once the job's processes are gone; again does nothing."""
        if self.uid is not None and self.lock is not None:
            _clear_shared_memory(self.uid)
            os.close(self.lock)
            self.lock = None


def claim_identity() -> Identity:
    """Take an id that nobody has, where we are root; else there is nothing to take.

    Raises:
        SandboxUnavailable: root may not change ids here, or none is free.
    """
    if os.geteuid() != 0:
        return Identity(None)
    _require_capabilities()
    mapped = [*filter(_mapped("gid"), filter(_mapped("uid"), IDENTITIES))]
    for uid in mapped:
        lock = _try_lock(uid)
        if lock is None:
            continue
        # Looked for with the lock in hand, or another engine's job might just begin.
        if uid in _ids_with_processes() or _has_account(uid):
            os.close(lock)
            continue
        _clear_shared_memory(uid)
        return Identity(uid, lock)
    raise SandboxUnavailable(
        "Started by root, Nightlab gives each job a user id of its own, of "
        f"{IDENTITIES.start} to {IDENTITIES.stop - 1}; {len(mapped)} of these exist here and "
        "none is free: start the container with at least 65536 ids (see /proc/self/uid_map), or "
        "run Nightlab as an ordinary user."
    )


def _require_capabilities() -> None:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
    effective = int(found[1], 16) if found else 0
    lacking = [name for name, bit in _NEEDED_CAPABILITIES.items() if not effective >> bit & 1]
    if lacking:
        raise SandboxUnavailable(
            "Started by root, Nightlab gives each job a user id of its own, and this process "
            f"lacks the capabilities for it ({', '.join(lacking)}): do not drop them from the "
            "container, or run Nightlab as an ordinary user."
        )


def _mapped(kind: str) -> Callable[[int], bool]:
    """Tells whether a user or group id exists in our user namespace."""
    text = Path(f"/proc/self/{kind}_map").read_text(encoding="ascii")
    lines = [tuple(map(int, line.split())) for line in text.splitlines()]
    known = [range(first, first + count) for first, _, count in lines]
    return lambda number: any(number in ids for ids in known)


def _has_account(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _ids_with_processes() -> set[int]:
    """Every user id, real, effective or saved, of a process that is there."""
    found: set[int] = set()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/status", "rb", buffering=0) as file:
                line = re.search(rb"\nUid:(.*)\n", file.read(4096))
        except OSError:  # it has ended
            continue
        found |= set(map(int, line[1].split())) if line else set()
    return found


def _try_lock(uid: int) -> int | None:
    try:
        _LOCKS.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(_LOCKS / f"{uid}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SandboxUnavailable(
            f"Started by root, Nightlab locks user ids for its jobs in {_LOCKS}, and cannot "
            f"({error}): make /run writable (in a container, `--tmpfs /run`), or run Nightlab as "
            "an ordinary user."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _clear_shared_memory(uid: int) -> None:
    """Remove what an earlier holder of the id left for a later one to find."""
    if not _SHARED_MEMORY.is_dir():
        return
    for entry in os.scandir(_SHARED_MEMORY):
        try:
            if entry.stat(follow_symlinks=False).st_uid == uid:
                os.unlink(entry.path)
        except (FileNotFoundError, IsADirectoryError):
            continue
