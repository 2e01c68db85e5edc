"""Folders that end with the process that made them, however that ends.

Each has a file, ``.alive``, that its owner keeps locked. The kernel frees a lock when its holder
dies, so a folder whose file is not locked was left by a kill: the next start sweeps it away,
whatever study, clone or session it was of. One without the file has been made by another version,
or just this moment: it goes once nothing was put into it for a day.
"""

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from nightlab.sandbox.scratch import remove_tree

ALIVE = ".alive"
UNCLAIMED_SECONDS = 86_400.0

Kind = Literal["bait", "command"]
TEMPORARY: tuple[Kind, ...] = ("bait", "command")
"""What lies in the system's temporary folder, beside the jobs' (see job.py)."""

_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def temporary_folder(kind: Kind) -> Iterator[Path]:
    """Give an empty folder in the system's temporary one for the block. Raises ``OSError``."""
    with owned_folder(Path(tempfile.gettempdir()), f"nightlab-{kind}-") as folder:
        yield folder


def sweep_temporary() -> None:
    """Remove the temporary folders of processes that are gone."""
    for kind in TEMPORARY:
        sweep(Path(tempfile.gettempdir()), f"nightlab-{kind}-")


@contextmanager
def owned_folder(root: Path, prefix: str) -> Iterator[Path]:
    """Give an empty folder for the block, ours as long as this process lives.

    Args:
        root: where to make it.
        prefix: what its name begins with.

    Raises:
        OSError: it cannot be made there.
    """
    outer, lock = claim(root, prefix)
    try:
        # Root's jobs have users of their own: they come to what is meant for them.
        outer.chmod(0o711)
        (outer / "files").mkdir(mode=0o700)
        yield outer / "files"
    finally:
        remove_tree(outer)
        os.close(lock)


def claim(root: Path, prefix: str = "") -> tuple[Path, int]:
    """Make a folder of our own; its path, and the lock to close once it is removed.

    Raises:
        OSError: it cannot be made there.
    """
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
        lock = os.open(path / ALIVE, _FILE | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:
            return path, lock
        os.close(lock)  # A sweep was there before the lock.


def sweep(root: Path, prefix: str = "") -> None:
    """Remove the folders of processes that are gone, this user's alone."""
    for path in root.glob(f"{prefix}*"):
        try:
            state = path.lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(state.st_mode) and state.st_uid == os.geteuid():
            _remove_if_left(path, state.st_mtime)


def _remove_if_left(path: Path, changed: float) -> None:
    try:
        lock = os.open(path / ALIVE, _FILE)
    except FileNotFoundError:
        if time.time() - changed > UNCLAIMED_SECONDS:
            remove_tree(path)
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    else:
        remove_tree(path)
    finally:
        os.close(lock)
