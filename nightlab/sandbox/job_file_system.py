"""The file system of one job on rung 1: in memory, its own, and as large as it may write.

In the engine's room (see room.py) each job has a folder, on which a file system is mounted::

    trainer/  candidate/  weights/   what the job may read
    work/  tmp/  shm/                what it may write
    library/  large/                 overlays of the room's library: its small and its large files

Overlays, since locks, names that were asked for and who else has a file open belong to the file
system that a job sees, and so to that job alone. Their content is the room's, and stays the same.
"""

import os
import secrets
from pathlib import Path

from nightlab.errors import SandboxError
from nightlab.sandbox import mounts
from nightlab.sandbox.environment import Limits
from nightlab.sandbox.job import CHECKPOINT, Job, Layout, fill_job_folder, take_file
from nightlab.sandbox.mounts import Mounts
from nightlab.sandbox.page_cache import make_resident
from nightlab.sandbox.room import Room
from nightlab.sandbox.scratch import SizedScratch

_ENGINE_BYTES = 2 * 2**20
_ENGINE_FILES = 64
"""What the engine puts into a job's file system, at most, beside the weights."""
_OVER_BYTES = 2**20
_OVER_FILES = 64
"""How far past its limits a job can go: so far that the watch sees that it did."""

_MAKE = """
cd "$1" && mkdir "$2" && mount -t tmpfs -o "$3" nightlab-job "$2" && cd "$2" &&
mkdir library large &&
mount -t overlay -o ro,lowerdir=../library:../empty nightlab-library library &&
mount -t overlay -o ro,lowerdir=../empty:../disk nightlab-library large
"""
_END = 'cd "$1" && { umount -l "$2"; rmdir "$2"; }'


class JobFileSystem:
    """One job's file system; ``remove`` it when every process of the job is gone.

    Args:
        room: where it is.
        name: of its folder there.
    """

    def __init__(self, room: Room, name: str) -> None:
        self.path = room.place / name
        """In the room: nowhere else there is such a path."""
        self._room = room
        self._name = name
        # Opened before the job runs: whatever it makes of its folders, this one is read.
        work = room.reached / name / "work"
        self._work = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.scratch = SizedScratch(self._work)

    @classmethod
    def create(cls, room: Room, job: Job, *, owner: int | None) -> "JobFileSystem":
        """Make one, with all that the job may read in it.

        Args:
            room: where.
            job: what is to be run.
            owner: the user id that the job's processes will have; None for our own.

        Raises:
            SandboxError: there is no memory for it.
        """
        name = secrets.token_hex(4)
        try:
            make_resident(room.library.folder / file for file in room.large)
            room.run(_MAKE, name, _options(job))
            try:
                _fill(room.reached / name, job, owner)
                return cls(room, name)
            except OSError:
                room.run(_END, name)
                raise
        except OSError as error:
            raise SandboxError(
                f"A job needs a file system in memory, and making it failed ({error}): free memory."
            ) from error

    @property
    def layout(self) -> Layout:
        """The job's paths in the room."""
        return Layout.beneath(str(self.path))

    def shown(self, inner: Layout) -> Mounts:
        """What the job sees of it.

        Args:
            inner: where the job finds its folders.
        """
        own, library = (
            self.layout,
            mounts.library(
                self._room.library,
                small=f"{self.path}/library",
                large=f"{self.path}/large",
                large_files=self._room.large,
            ),
        )
        return library + Mounts(
            read_only=(
                (own.trainer, inner.trainer),
                (own.candidate, inner.candidate),
                (own.weights, inner.weights),
            ),
            writable=(
                (own.work, inner.work),
                (f"{self.path}/tmp", "/tmp"),
                (f"{self.path}/shm", "/dev/shm"),
            ),
        )

    def take_checkpoint(self, destination: Path, name: str = CHECKPOINT) -> str | None:
        """Copy complete weights out: see ``job.take_file``."""
        return take_file(self._work, name, destination)

    def remove(self) -> None:
        """Take it down; its memory is free then.

        Raises:
            SandboxError: that failed.
        """
        os.close(self._work)
        self._room.run(_END, self._name)


def _options(job: Job) -> str:
    limits = Limits.of(job)
    given = 0 if job.weights is None else job.weights.stat().st_size
    size = limits.scratch_bytes + _OVER_BYTES + given + _ENGINE_BYTES
    return f"mode=0711,size={size},nr_inodes={limits.scratch_files + _OVER_FILES + _ENGINE_FILES}"


def _fill(folder: Path, job: Job, owner: int | None) -> None:
    fill_job_folder(folder, job)
    for name, mode in (("work", 0o711), ("tmp", 0o1777), ("shm", 0o1777)):
        place = folder / name
        place.mkdir(exist_ok=True)
        if owner is not None:
            os.chown(place, owner, owner)
        place.chmod(mode)
