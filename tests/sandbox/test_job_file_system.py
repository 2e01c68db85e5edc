"""A job's file system, made in the real room of this process."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightlab.errors import SandboxError
from nightlab.sandbox.device import Device
from nightlab.sandbox.job import CHECKPOINT, Job
from nightlab.sandbox.job_file_system import JobFileSystem
from nightlab.sandbox.library import prepare_library
from nightlab.sandbox.room import Room, room_for

CPU = Device(name="cpu", description="", threads=1)


def job(**options: object) -> Job:
    return Job(**{"program": "train", "source": "x = 1", "device": CPU, "scratch_mb": 8, **options})


@pytest.fixture(scope="module")
def room() -> Room:
    return room_for(prepare_library())


@pytest.fixture
def made(room: Room) -> Iterator[JobFileSystem]:
    file_system = JobFileSystem.create(room, job(), owner=None)
    yield file_system
    file_system.remove()


def reached(made: JobFileSystem, room: Room) -> Path:
    return room.reached / made.path.name


def test_it_holds_what_the_job_may_read(made: JobFileSystem, room: Room) -> None:
    folder = reached(made, room)
    assert (folder / "candidate" / "train.py").read_text() == "x = 1"
    assert (folder / "trainer" / "runtime.py").stat().st_mode & 0o777 == 0o444
    assert list((folder / "work").iterdir()) == []
    assert made.scratch.disk is None
    assert made.scratch.use(0).used_bytes == made.scratch.use(0).files == 0


def test_the_library_is_whole_and_its_own(made: JobFileSystem, room: Room) -> None:
    folder, library = reached(made, room), room.library.folder
    another = JobFileSystem.create(room, job(), owner=None)
    try:
        for file in room.large[:3]:
            assert (folder / "large" / file).stat().st_size == (library / file).stat().st_size
        name = os.path.relpath(room.library.python, library)
        paths = [reached(each, room) / "library" / name for each in (made, another)]
        assert paths[0].stat().st_dev != paths[1].stat().st_dev
        assert paths[0].stat().st_dev != (folder / "work").stat().st_dev
    finally:
        another.remove()


def test_what_one_job_does_no_other_sees(made: JobFileSystem, room: Room) -> None:
    name = os.path.relpath(room.library.python, room.library.folder)
    inside = ("library/" + name, "large/" + room.large[0], "weights", "trainer", "work")

    def seen(each: JobFileSystem) -> list[object]:
        states = []
        for path in inside:
            found, system = (
                (reached(each, room) / path).stat(),
                os.statvfs(reached(each, room) / path),
            )
            states.append((found.st_ino, found.st_atime_ns, system.f_bfree, system.f_ffree))
        return states

    other = JobFileSystem.create(room, job(), owner=None)
    try:
        before = [seen(other), seen(other)]
        assert before[0] == before[1]
        folder = reached(made, room)
        (folder / "work" / "file").write_bytes(bytes(4 << 20))
        with contextlib.ExitStack() as held:
            for path in inside[:2]:
                mine = held.enter_context(open(folder / path, "rb"))
                mine.read(1)
                fcntl.flock(mine, fcntl.LOCK_EX)
            assert not (folder / "library" / "home" / "nowhere").exists()
            for path in inside[:2]:
                with open(reached(other, room) / path, "rb") as theirs:
                    fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
            assert seen(other) == before[0]
    finally:
        other.remove()


def test_jobs_begin_with_the_same_inode_numbers(room: Room) -> None:
    numbers = []
    for _ in range(2):
        made = JobFileSystem.create(room, job(), owner=None)
        place = reached(made, room) / "work" / "file"
        place.touch()
        numbers.append(place.stat().st_ino)
        for count in range(100):
            (place.parent / str(count)).touch()
        made.remove()
    assert numbers[0] == numbers[1]


def test_what_is_written_counts_by_name_and_without(made: JobFileSystem, room: Room) -> None:
    folder = reached(made, room)
    (folder / "tmp" / "named").write_bytes(bytes(2 << 20))
    with open(folder / "shm" / "nameless", "wb") as file:
        file.write(bytes(3 << 20))
        os.unlink(folder / "shm" / "nameless")
        file.flush()
        use = made.scratch.use(0)
        assert use.used_bytes == 5 << 20
        assert use.files == 2
    assert made.scratch.use(0).used_bytes == 2 << 20


def test_it_takes_no_more_than_its_size(room: Room, tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(bytes(30 << 20))
    made = JobFileSystem.create(room, job(weights=weights), owner=None)
    try:
        place = reached(made, room)
        assert (place / "weights" / CHECKPOINT).stat().st_size == 30 << 20
        with pytest.raises(OSError, match="No space left"):
            (place / "work" / "x").write_bytes(bytes(64 << 20))
        assert 8 << 20 < made.scratch.use(0).used_bytes < 12 << 20
    finally:
        made.remove()


def test_a_checkpoint_is_read_from_the_folder_that_was_there_first(
    made: JobFileSystem, room: Room, tmp_path: Path
) -> None:
    folder, taken = reached(made, room), tmp_path / "taken.pt"
    (folder / "work" / CHECKPOINT).write_bytes(b"weights")
    (folder / "work").rename(folder / "away")
    (folder / "work").symlink_to(tmp_path)
    assert made.take_checkpoint(taken) is None
    assert taken.read_bytes() == b"weights"


def test_it_is_gone_when_it_is_removed(room: Room) -> None:
    made = JobFileSystem.create(room, job(), owner=None)
    folder = reached(made, room)
    held = os.open(folder / "work", os.O_RDONLY)
    made.remove()
    os.close(held)
    assert not folder.exists()


def test_weights_that_are_gone_are_an_error_and_leave_nothing(room: Room, tmp_path: Path) -> None:
    before = sorted(room.reached.iterdir())
    with pytest.raises(SandboxError, match="file system in memory"):
        JobFileSystem.create(room, job(weights=tmp_path / "none"), owner=None)
    assert sorted(room.reached.iterdir()) == before
