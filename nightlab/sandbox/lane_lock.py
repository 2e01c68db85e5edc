"""Locks of this machine's lanes: one training at a time on each GPU or core, whoever starts it.

Lock files rather than Prefect's slots: a device belongs to one machine, and the kernel frees the
lock at once when its holder is killed. A lock is named by the device itself, as this machine knows
it: a GPU by its identifier, whatever number it has among those that are visible here, and a core
by its number. It lies where every user of the machine may write, whatever their cache folders are.

There anybody may also have put something before us. So a file is made whole and linked to its name,
never opened through a link, and never opened with O_CREAT, which Linux refuses for files of others
in such folders (fs.protected_regular).
"""

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nightlab.errors import UsageError
from nightlab.events import Notice, publish
from nightlab.sandbox.device import Device
from nightlab.settings import Places

SHARED = (Path("/run/lock"), Path("/tmp"))
"""Where programs of all users leave locks. The first that everybody may write to is taken: that is
the machine's to say and not the user's, so all come to the same."""

POLL_SECONDS = 0.2

_EVERYBODYS = stat.S_ISVTX | 0o777
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def lock_folder(places: Places) -> Path:
    """Where the locks of devices are; said where that is not where all users share them.

    Raises:
        UsageError: the folder that NIGHTLAB_LOCKS names cannot be made.
    """
    if places.locks is not None:
        return _made(places.locks, _EVERYBODYS)
    for folder in SHARED:
        if _is_everybodys(folder):
            return folder
    own = _made(places.cache / "locks", 0o777)
    names = " nor ".join(map(str, SHARED))
    publish(
        Notice(
            text=f"Devices are locked in {own}, since neither {names} can be written by every user "
            "here: one who has another cache may train on the same device at the same time. "
            "NIGHTLAB_LOCKS names a folder for all of them."
        )
    )
    return own


@contextmanager
def lane_lock(
    folder: Path, device: Device, lanes: int = 1, while_waiting: Callable[[], None] | None = None
) -> Iterator[None]:
    """Hold a lane of a device for the block; wait for one where all are in use.

    Args:
        folder: where the locks are, as ``lock_folder`` says.
        device: whose lane is asked for.
        lanes: how many trainings it has room for, side by side.
        while_waiting: called now and then; what it raises ends the wait.

    Raises:
        UsageError: a lock cannot be opened.
    """
    files = [folder / f"nightlab-{name}.lock" for name in lane_names(device, lanes)]
    taken = _first_free(files)
    if taken is None:
        publish(Notice(text=f"Waiting for {device.name}: it is in use."))
    while taken is None:
        time.sleep(POLL_SECONDS)
        if while_waiting is not None:
            while_waiting()
        taken = _first_free(files)
    try:
        yield
    finally:
        os.close(taken)


def lane_names(device: Device, lanes: int) -> list[str]:
    """What a device's lanes are called on this machine, whoever asks."""
    if device.kind == "cuda":
        return [device.identity.replace(":", "-").replace("/", "-")]
    return [f"core-{core}" for core in sorted(os.sched_getaffinity(0))[:lanes]]


def _first_free(files: list[Path]) -> int | None:
    for file in files:
        try:
            handle = _locked(file)
        except OSError as error:
            raise UsageError(
                f"A training needs to lock {file}, and that failed ({error.strerror}): remove it, "
                "or set NIGHTLAB_LOCKS to a folder that all who train on this machine may write to."
            ) from error
        if handle is not None:
            return handle
    return None


def _locked(file: Path) -> int | None:
    """Lock a file that is made where it is missing; its descriptor, or None where others hold it.

    Raises:
        OSError: it is no plain file that we may write.
    """
    handle = _opened(file)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # What cleans the folder up may have taken the file away meanwhile, for being old.
        if os.fstat(handle).st_nlink:
            os.utime(handle)
            return handle
    except BlockingIOError:
        pass
    except OSError:
        os.close(handle)
        raise
    os.close(handle)
    return None


def _opened(file: Path) -> int:
    while True:
        try:
            handle = os.open(file, _OPEN)
        except FileNotFoundError:
            _make(file)
            continue
        if stat.S_ISREG(os.fstat(handle).st_mode):
            return handle
        os.close(handle)
        raise OSError(0, "it is no plain file")


def _make(file: Path) -> None:
    """Make a file that everybody may lock, so that it is never seen with fewer rights."""
    handle, new = tempfile.mkstemp(prefix=f"{file.name}-", dir=file.parent)
    try:
        os.fchmod(handle, 0o666)
        with suppress(FileExistsError):
            os.link(new, file)
    finally:
        os.unlink(new)
        os.close(handle)


def _is_everybodys(folder: Path) -> bool:
    try:
        state, mount = folder.stat(), os.statvfs(folder)
    except OSError:
        return False
    is_open = stat.S_ISDIR(state.st_mode) and state.st_mode & _EVERYBODYS == _EVERYBODYS
    return is_open and not mount.f_flag & os.ST_RDONLY


def _made(folder: Path, mode: int) -> Path:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir()
            folder.chmod(mode)
        if not os.access(folder, os.W_OK | os.X_OK) or not folder.is_dir():
            raise PermissionError(0, "it is no folder that we may write to")
    except OSError as error:
        raise UsageError(
            f"Locks of devices need the folder {folder}, and it cannot be used ({error.strerror}): "
            "set NIGHTLAB_LOCKS to a folder that all who train on this machine may write to."
        ) from error
    return folder
