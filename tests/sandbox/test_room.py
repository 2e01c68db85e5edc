"""Rooms of this very process, and of others that end: what is in them, and who sees it."""

import os
import tempfile
from pathlib import Path

import pytest

from nightlab.errors import SandboxError, SandboxUnavailable
from nightlab.sandbox import room as rooms
from nightlab.sandbox.library import Library
from nightlab.sandbox.room import LARGE_BYTES, Room, room_for


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """A tree as library.py makes it, of a few files."""
    folder = tmp_path / "tree, a:b"
    for part in ("home/lib", "packages", "root/usr/lib"):
        (folder / part).mkdir(parents=True)
    (folder / "packages" / "small.pyc").write_bytes(b"code")
    (folder / "packages" / "small.pyc").chmod(0o644)
    (folder / "packages" / "large.so").write_bytes(bytes(LARGE_BYTES + 1))
    (folder / "home" / "lib" / "just.so").write_bytes(bytes(LARGE_BYTES))
    (folder / "home" / "lib" / "just.so").chmod(0o755)
    (folder / "root" / "lib").symlink_to("usr/lib")
    return Library(folder=folder, system_files=(), has_compiler=False, header_folders={})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where rooms are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / f"nightlab-jobs-{os.getuid()}"


def test_it_holds_small_files_and_names_the_large_ones(library: Library, place: Path) -> None:
    previous = os.umask(0o077)
    try:
        room = room_for(library)
    finally:
        os.umask(previous)
    copy = room.reached / "library"
    assert room.large == ("packages/large.so",)
    assert (copy / "packages" / "small.pyc").read_bytes() == b"code"
    assert (copy / "packages" / "large.so").stat().st_size == 0
    assert (copy / "home" / "lib" / "just.so").stat().st_size == LARGE_BYTES
    assert (copy / "home" / "lib" / "just.so").stat().st_mode & 0o777 == 0o755
    assert (copy / "packages" / "small.pyc").stat().st_mode & 0o777 == 0o644
    assert (copy / "packages").stat().st_mode & 0o777 == 0o755
    assert (copy / "root" / "lib").readlink() == Path("usr/lib")
    assert (room.reached / "disk" / "packages" / "large.so").stat().st_size == LARGE_BYTES + 1


def test_a_process_has_one_and_nobody_else_sees_it(library: Library, place: Path) -> None:
    room = room_for(library)
    assert room_for(library) is room
    (room.reached / "seen").touch()
    room.run('[ -e "$1/seen" ] && touch "$1/made"')
    assert (room.reached / "made").exists()
    assert list(place.iterdir()) == [], "on disk it is empty"
    assert str(place) not in Path("/proc/self/mountinfo").read_text()


def test_what_fails_in_it_is_said_in_one_sentence(library: Library, place: Path) -> None:
    with pytest.raises(SandboxError, match=r"failed \(umount: /nowhere: "):
        room_for(library).run("umount /nowhere")


def test_device_nodes_work_and_cannot_be_changed(library: Library, place: Path) -> None:
    room = room_for(library)
    shown = room.devices(("/dev/null", "/dev/none-of-that-name", "/dev/zero"))
    assert shown == [
        (f"{place}/devices/null", "/dev/null"),
        (f"{place}/devices/zero", "/dev/zero"),
    ]
    assert room.devices(("/dev/null",)) == shown[:1]
    room.run('echo x > "$1/devices/null" && head -c 4 "$1/devices/zero" > "$1/read"')
    assert (room.reached / "read").read_bytes() == bytes(4)
    before = os.stat("/dev/null")
    with pytest.raises(SandboxError, match="Read-only file system"):
        room.run('touch "$1/devices/null"')
    with pytest.raises(SandboxError, match="Read-only file system"):
        room.run('chmod 666 "$1/devices/null"')
    assert os.stat("/dev/null").st_ctime_ns == before.st_ctime_ns


def test_a_system_that_lets_us_make_none_is_told_of(
    library: Library, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "_MAKE", 'mount -t none-of-that-name none "$1" && echo ready')
    with pytest.raises(SandboxUnavailable, match="cannot mount file systems in memory"):
        room_for(library)
    monkeypatch.undo()


def test_a_room_is_made_for_the_mode_that_jobs_can_cross(library: Library, place: Path) -> None:
    room: Room = room_for(library)
    assert room.reached.stat().st_mode & 0o777 == 0o711
