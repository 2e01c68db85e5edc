"""What a job has written: measured while it runs, given back afterwards.

On rung 1 a job writes to a file system of its own, which counts by itself. Elsewhere its folder
lies on a disk that others use too, and is walked. The folder is the candidate's while we walk it,
so nothing is taken by its path: folders are opened one from another, links are never followed,
and what vanishes is left out.
"""

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nightlab.sandbox.process_tree import BLOCK_BYTES

MAX_DEPTH = 64
"""Folders within folders; compile caches need a handful."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(slots=True, kw_only=True)
class ScratchUse:
    """What lies in a folder."""

    used_bytes: int = 0
    """Per file the larger of what it says and what it takes on disk; hard links count once."""
    files: int = 0
    """Names of every kind, folders included."""
    shut: bool = False
    """Whether a folder could not be looked into, or lies deeper than ``MAX_DEPTH``."""


class Scratch(Protocol):
    """Where a job writes to."""

    @property
    def disk(self) -> str | None:
        """The folder on a disk of the machine's; None where it is in memory, and counts there."""

    def use(self, most_files: int) -> ScratchUse:
        """What lies there; a walk may end once it has met ``most_files``. Raises ``OSError``."""


class FolderScratch:
    """A folder on a disk of the machine's, which is walked.

    Args:
        disk: its path.
    """

    def __init__(self, disk: str) -> None:
        self.disk = disk

    def use(self, most_files: int) -> ScratchUse:
        """Walk it."""
        return scratch_use(self.disk, most_files)


class SizedScratch:
    """A file system in memory of which all that is added from now on is the job's.

    Args:
        descriptor: of a folder in it.
    """

    disk = None

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._before = os.fstatvfs(descriptor)

    def use(self, most_files: int) -> ScratchUse:
        """Ask it: files without a name count, and names are not walked."""
        del most_files
        now = os.fstatvfs(self._descriptor)
        return ScratchUse(
            used_bytes=(self._before.f_bfree - now.f_bfree) * now.f_frsize,
            files=self._before.f_ffree - now.f_ffree,
        )


def scratch_use(folder: str, most_files: int) -> ScratchUse:
    """Measure a folder; the walk ends as soon as it has met ``most_files`` names.

    Raises:
        OSError: the folder itself cannot be opened.
    """
    use = ScratchUse()
    linked: set[int] = set()
    root = os.open(folder, _FOLDER)
    try:
        _add(root, use, linked, most_files, MAX_DEPTH)
    finally:
        os.close(root)
    return use


def remove_tree(path: Path) -> None:
    """Delete a folder and all in it, whatever a candidate that has ended made of it.

    It may have shut folders against us, and nested them deeper than a path can name, than
    we may call functions and than we may open files: so one folder is open at a time.
    """
    try:
        here = os.open(path, _FOLDER)
    except FileNotFoundError:
        return
    above: list[tuple[str, list[str]]] = []  # the name of each folder, and what is left beside it
    try:
        left = _empty(here)
        while left or above:
            if left:
                name = left.pop()
                # Another engine may sweep the same leavings at the same time.
                with suppress(FileNotFoundError):
                    here = _move(here, _opened(here, name))
                    above.append((name, left))
                    left = _empty(here)
            else:
                here = _move(here, os.open("..", _FOLDER, dir_fd=here))
                name, left = above.pop()
                with suppress(FileNotFoundError):
                    os.rmdir(name, dir_fd=here)
    finally:
        os.close(here)
    with suppress(FileNotFoundError):
        path.rmdir()


def _add(folder: int, use: ScratchUse, linked: set[int], most_files: int, depth: int) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            use.files += 1
            if use.files > most_files:
                return
            try:
                state = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(state.st_mode):
                if depth == 0:
                    use.shut = True
                    continue
                _descend(folder, entry.name, use, linked, most_files, depth)
            elif state.st_nlink == 1 or state.st_ino not in linked:
                linked.add(state.st_ino)
                use.used_bytes += max(state.st_size, state.st_blocks * BLOCK_BYTES)


def _descend(
    folder: int, name: str, use: ScratchUse, linked: set[int], most_files: int, depth: int
) -> None:
    try:
        inner = os.open(name, _FOLDER, dir_fd=folder)
    except PermissionError:
        use.shut = True
        return
    except OSError:
        return
    try:
        _add(inner, use, linked, most_files, depth - 1)
    finally:
        os.close(inner)


def _empty(folder: int) -> list[str]:
    """Delete all but the folders in a folder, and name those."""
    with os.scandir(folder) as entries:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in names:
        if not is_folder:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
    return [name for name, is_folder in names if is_folder]


def _move(here: int, there: int) -> int:
    os.close(here)
    return there


def _opened(parent: int, name: str) -> int:
    """Open a folder, shut or not."""
    # A handle on the name alone needs no permission, and cannot be a link's target.
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.chmod(f"/proc/self/fd/{handle}", 0o700)
    finally:
        os.close(handle)
    return os.open(name, _FOLDER, dir_fd=parent)
