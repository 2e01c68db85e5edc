"""A job for a sandbox, and the folder that it works in.

Every job has a folder of its own, with copies of all that it may read, so that nothing
outside depends on its permissions. On rung 1 it is a file system in memory (see room.py),
elsewhere a folder on disk::

    nightlab-jobs-UID/            the engine's alone; as root 0711, so that it can be crossed
      xxxxxxxx/                   a random name; as root 0710 and the job's group's
        .alive                    locked by the engine for as long as the job lives
        trainer/  candidate/  weights/      what the job may read
        work/                     the only place that it may write to
          tmp/                    temporary files, where the sandbox has no other place

A folder that a kill left is swept away at the next start: see owned_folder.py.
"""

import errno
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from nightlab.errors import SandboxError
from nightlab.sandbox.device import Device
from nightlab.sandbox.owned_folder import claim, sweep
from nightlab.sandbox.scratch import FolderScratch, Scratch, remove_tree

CHECKPOINT = "checkpoint.pt"
CHECKPOINT_MAX_BYTES = 4 * 2**30
"""Also the size limit of any one file that a candidate writes."""

WEIGHTS = "model.safetensors"
"""What a ``weights`` job writes."""

ENGINE_FILES = ("runtime.py", "score.py", "weights.py", "generate.py", "sample.py")
_COPY_BYTES = 16 * 2**20
_USED_UP = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be run."""

    program: Literal["train", "score", "weights", "sample"]
    """``train`` runs the candidate's train.py, the others the engine's file of that name:
    ``score`` and ``sample`` on the candidate's, ``weights`` on its checkpoint alone."""
    source: str
    """The text of the candidate's train.py."""
    device: Device
    memory_mb: int = 0
    """Limit on the memory of all processes together; 0 for none."""
    scratch_mb: int = CHECKPOINT_MAX_BYTES // 2**20
    """Limit on the disk space of the work folder."""
    compiles: bool = True
    """Whether torch.compile compiles."""
    weights: Path | None = None
    """A file of weights that the job may read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a job finds its things: paths as its processes see them."""

    trainer: str
    candidate: str
    weights: str
    work: str

    @classmethod
    def beneath(cls, folder: str) -> "Layout":
        """The usual places in a job's folder."""
        return cls(
            trainer=f"{folder}/trainer",
            candidate=f"{folder}/candidate",
            weights=f"{folder}/weights",
            work=f"{folder}/work",
        )

    @property
    def source(self) -> str:
        """The candidate's train.py."""
        return f"{self.candidate}/train.py"

    @property
    def checkpoint(self) -> str:
        """Where the candidate saves."""
        return f"{self.work}/{CHECKPOINT}"

    @property
    def scratch(self) -> str:
        """A folder for temporary files inside the working folder."""
        return f"{self.work}/tmp"

    @property
    def saved_weights(self) -> str:
        """The weights that a job may read."""
        return f"{self.weights}/{CHECKPOINT}"

    @property
    def written_weights(self) -> str:
        """Where a ``weights`` job writes."""
        return f"{self.work}/{WEIGHTS}"

    def script(self, job: Job) -> str:
        """The file that Python runs."""
        return self.source if job.program == "train" else f"{self.trainer}/{job.program}.py"


class WorkPlace(Protocol):
    """The folder of one job; ``remove`` it when every process of the job is gone."""

    @property
    def path(self) -> Path:
        """Where it lies, for who can see it."""

    @property
    def layout(self) -> Layout:
        """Its own paths, as they are outside of the sandbox."""

    @property
    def scratch(self) -> Scratch:
        """Where the job writes to."""

    def take_checkpoint(self, destination: Path, name: str = CHECKPOINT) -> str | None:
        """Copy complete weights out: see ``take_file``."""

    def remove(self) -> None:
        """Delete the folder and everything in it."""


class JobFolder:
    """The folder of one job on disk."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def create(cls, job: Job, owner: int | None = None) -> "JobFolder":
        """Sweep what kills have left, then make a folder and fill it.

        Args:
            job: what is to be run.
            owner: the user id that the job's processes will have, root's to give; None for
                our own.

        Raises:
            SandboxError: the temporary folder is not ours, full, or not writable.
        """
        root = jobs_root(crossed=owner is not None)
        try:
            sweep(root)
            folder = cls(*claim(root))
            folder._fill(job, owner)
        except OSError as error:
            raise _unmade(error) from error
        return folder

    @property
    def layout(self) -> Layout:
        """The folder's own paths, as they are outside of any sandbox."""
        return Layout.beneath(str(self.path))

    @property
    def scratch(self) -> FolderScratch:
        """Where the job writes to."""
        return FolderScratch(self.layout.work)

    def take_checkpoint(self, destination: Path, name: str = CHECKPOINT) -> str | None:
        """Copy complete weights out: see ``take_file``."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY
        try:
            work = os.open(self.path / "work", flags)
        except OSError as error:
            _require_candidates_fault(error)
            return "the working folder is gone"
        try:
            return take_file(work, name, destination)
        finally:
            os.close(work)

    def remove(self) -> None:
        """Delete the folder and everything in it."""
        remove_tree(self.path)
        os.close(self._lock)

    def _fill(self, job: Job, owner: int | None) -> None:
        fill_job_folder(self.path, job)
        (self.path / "work" / "tmp").mkdir(mode=0o700)
        if owner is not None:
            os.chown(self.path / "work" / "tmp", owner, owner)
            os.chown(self.path / "work", owner, owner)
            os.chown(self.path, -1, owner)
            self.path.chmod(0o710)
        (self.path / "work").chmod(0o711)


def fill_job_folder(folder: Path, job: Job) -> None:
    """Make what a job may read, and an empty ``work``, in an empty folder. Raises ``OSError``."""
    engine = Path(__file__).resolve().parents[2] / "trainer"
    for name in ("trainer", "candidate", "weights", "work"):
        (folder / name).mkdir()
        (folder / name).chmod(0o755)
    for name in ENGINE_FILES:
        shutil.copyfile(engine / name, folder / "trainer" / name)
    (folder / "candidate" / "train.py").write_text(job.source, encoding="utf-8")
    if job.weights is not None:
        with job.weights.open("rb") as weights:
            _copy(weights.fileno(), folder / "weights" / CHECKPOINT)
    for part in ("trainer", "candidate", "weights"):
        for file in (folder / part).iterdir():
            file.chmod(0o444)


def take_file(work: int, name: str, destination: Path) -> str | None:
    """Copy a complete file out of a job's folder; anything may be in its place.

    Args:
        work: a descriptor of the folder.
        name: of the file in it.
        destination: where to.

    Returns:
        None when ``destination`` now is a complete copy that belongs to the engine,
        else a sentence that says why there is none.

    Raises:
        SandboxError: the machine has no room to open it, or the copy cannot be written.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        # Non-blocking, or a named pipe in the file's place would hold us forever.
        source = os.open(name, flags | os.O_NONBLOCK, dir_fd=work)
    except OSError as error:
        _require_candidates_fault(error)
        return f"there is no {name} ({os.strerror(error.errno or 0)})"
    try:
        return _copy_weights(source, name, destination)
    finally:
        os.close(source)


def _require_candidates_fault(error: OSError) -> None:
    if error.errno in _USED_UP:
        raise SandboxError(
            f"The weights cannot be opened ({error}): other work on this machine, or of this user, "
            "holds what it takes; end that, and it is tried again."
        ) from error


def _copy_weights(source: int, name: str, destination: Path) -> str | None:
    state = os.fstat(source)
    if not stat.S_ISREG(state.st_mode):
        return f"{name} is not a regular file"
    if not 0 < state.st_size <= CHECKPOINT_MAX_BYTES:
        return f"{name} has {state.st_size} bytes; 1 to {CHECKPOINT_MAX_BYTES} are allowed"
    partial = destination.with_name(destination.name + ".partial")
    try:
        complete = _copy(source, partial) == state.st_size == os.fstat(source).st_size
        if complete:
            partial.replace(destination)
        else:
            partial.unlink()
    except OSError as error:
        raise SandboxError(
            f"The weights cannot be copied to {destination} ({error}): free space there."
        ) from error
    return None if complete else f"{name} changed while it was copied"


def _copy(source: int, destination: Path) -> int:
    """Copy a file of the size that it has now, its holes as holes; the bytes copied or skipped.

    A file that only claims to be large costs the disk of its copy no more than its own.
    """
    size = os.fstat(source).st_size
    with destination.open("wb") as copy:
        at = 0
        while at < size:
            try:
                at = os.lseek(source, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # a hole up to the end, or the file has shrunk
                    at = min(size, os.fstat(source).st_size)
                    break
                raise
            hole = min(size, os.lseek(source, at, os.SEEK_HOLE))
            copy.seek(at)
            while at < hole:
                data = os.pread(source, min(_COPY_BYTES, hole - at), at)
                if not data:
                    return at
                at += copy.write(data)
        copy.truncate(at)
    return at


def jobs_root(*, crossed: bool = False) -> Path:
    """The folder of all jobs.

    Args:
        crossed: let other users pass through it, to folders that they can name.

    Raises:
        SandboxError: the temporary folder is not ours, full, or not writable.
    """
    root = Path(tempfile.gettempdir()) / f"nightlab-jobs-{os.getuid()}"
    try:
        root.mkdir(mode=0o700, exist_ok=True)
        state = root.lstat()
    except OSError as error:
        raise _unmade(error) from error
    # The temporary folder is everybody's: somebody else may have made this name first.
    if (
        not stat.S_ISDIR(state.st_mode)
        or state.st_uid != os.getuid()
        or stat.S_IMODE(state.st_mode) & (0o066 if os.getuid() == 0 else 0o077)
    ):
        raise SandboxError(
            f"Jobs need {root} to be a folder that only its owner, user {os.getuid()}, can read, "
            f"and found mode {stat.filemode(state.st_mode)} of user {state.st_uid}: remove it, or "
            "set TMPDIR to another place."
        )
    # What cleans temporary folders of old ones is to see that it is in use.
    os.utime(root)
    if crossed:
        root.chmod(0o711)
    return root


def _unmade(error: OSError) -> SandboxError:
    return SandboxError(
        f"A job needs a folder in {tempfile.gettempdir()}, and making it failed "
        f"({error}): free space there, or set TMPDIR to another place."
    )
