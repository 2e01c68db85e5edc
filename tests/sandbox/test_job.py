import os
import resource
import tempfile
from pathlib import Path

import pytest

from nightlab.errors import SandboxError
from nightlab.sandbox import job as jobs
from nightlab.sandbox.device import Device
from nightlab.sandbox.job import CHECKPOINT, Job, JobFolder

JOB = Job(program="train", source="x = 1", device=Device(name="cpu", description="", threads=1))


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def folder():
    made = JobFolder.create(JOB)
    yield made
    made.remove()


def test_a_folder_holds_copies_that_cannot_be_written(folder):
    layout = folder.layout
    assert Path(layout.source).read_text() == "x = 1"
    for name in (layout.source, f"{layout.trainer}/runtime.py", f"{layout.trainer}/score.py"):
        assert os.stat(name).st_mode & 0o777 == 0o444
    assert folder.path.parent.stat().st_mode & 0o777 == 0o700


def test_what_a_kill_left_is_swept_and_what_lives_is_not(folder):
    left = JobFolder.create(JOB)
    shut = left.path / "work" / "shut"
    shut.mkdir()
    (shut / "file").write_text("")
    (left.path / "work" / "out").symlink_to("/")
    shut.chmod(0)
    os.close(left._lock)  # as the kernel does when the engine is killed
    another = JobFolder.create(JOB)
    assert not left.path.exists()
    assert folder.path.exists()
    another.remove()
    assert not another.path.exists()


def test_a_folder_that_somebody_else_made_first_is_refused(temporary_folder):
    (temporary_folder / f"nightlab-jobs-{os.getuid()}").mkdir(mode=0o777)
    (temporary_folder / f"nightlab-jobs-{os.getuid()}").chmod(0o777)
    with pytest.raises(SandboxError, match="TMPDIR"):
        JobFolder.create(JOB)


def test_a_link_to_elsewhere_is_refused(temporary_folder):
    (temporary_folder / "elsewhere").mkdir(mode=0o700)
    (temporary_folder / f"nightlab-jobs-{os.getuid()}").symlink_to(temporary_folder / "elsewhere")
    with pytest.raises(SandboxError, match="TMPDIR"):
        JobFolder.create(JOB)


def test_a_complete_checkpoint_is_copied_out(folder, tmp_path):
    Path(folder.layout.checkpoint).write_bytes(b"weights")
    assert folder.take_checkpoint(tmp_path / "taken.pt") is None
    assert (tmp_path / "taken.pt").read_bytes() == b"weights"


def test_only_a_regular_file_of_its_own_is_a_checkpoint(folder, tmp_path, monkeypatch):
    secret = tmp_path / "secret"
    secret.write_text("key")
    place = Path(folder.layout.checkpoint)
    taken = tmp_path / "taken.pt"

    assert CHECKPOINT in (folder.take_checkpoint(taken) or "")
    place.symlink_to(secret)
    assert folder.take_checkpoint(taken)
    place.unlink()
    os.mkfifo(place)
    assert "regular" in (folder.take_checkpoint(taken) or "")
    place.unlink()
    place.mkdir()
    assert "regular" in (folder.take_checkpoint(taken) or "")
    place.rmdir()
    place.touch()
    assert "0 bytes" in (folder.take_checkpoint(taken) or "")
    monkeypatch.setattr(jobs, "CHECKPOINT_MAX_BYTES", 100)
    place.write_bytes(bytes(101))
    assert "101 bytes" in (folder.take_checkpoint(taken) or "")
    place.unlink()
    place.parent.rename(place.parent.with_name("away"))
    place.parent.symlink_to(tmp_path)
    assert "gone" in (folder.take_checkpoint(taken) or "")
    assert not taken.exists()


@pytest.mark.parametrize(
    "parts",
    [
        [(0, b"data")],
        [(5 << 20, b"after a hole")],
        [(0, b"head"), (64 << 20, b"tail")],
        [(0, b"head" * 5_000_000)],
        [(3, b"x" * 100), (1 << 20, b"y"), (9 << 20, b"")],
    ],
)
def test_holes_are_copied_as_holes(folder, tmp_path, parts):
    with open(folder.layout.checkpoint, "wb") as file:
        for place, data in parts:
            file.seek(place)
            file.write(data)
    assert folder.take_checkpoint(tmp_path / "taken.pt") is None
    taken, source = tmp_path / "taken.pt", Path(folder.layout.checkpoint)
    assert taken.read_bytes() == source.read_bytes()
    assert taken.stat().st_blocks <= source.stat().st_blocks + 64


def test_a_file_that_is_nothing_but_a_hole_is_copied_as_one(folder, tmp_path):
    with open(folder.layout.checkpoint, "wb") as file:
        file.truncate(1 << 30)
    assert folder.take_checkpoint(tmp_path / "taken.pt") is None
    assert (tmp_path / "taken.pt").stat().st_size == 1 << 30
    assert (tmp_path / "taken.pt").stat().st_blocks < 64


@pytest.mark.parametrize("size", [10, 10**8])
def test_a_checkpoint_that_changes_under_the_copy_is_none(folder, tmp_path, monkeypatch, size):
    place = Path(folder.layout.checkpoint)
    place.write_bytes(bytes(50_000_000))
    read = os.pread

    def read_while_it_changes(*arguments):
        os.truncate(place, size)
        return read(*arguments)

    monkeypatch.setattr(os, "pread", read_while_it_changes)
    assert "changed" in (folder.take_checkpoint(tmp_path / "taken.pt") or "")
    assert list(tmp_path.glob("taken*")) == []


def test_a_copy_that_fails_is_the_machinerys_fault(folder, tmp_path):
    Path(folder.layout.checkpoint).write_bytes(b"weights")
    with pytest.raises(SandboxError, match="free space"):
        folder.take_checkpoint(tmp_path / "missing" / "taken.pt")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give ids")
def test_a_machine_without_a_descriptor_left_is_not_the_candidates_fault(folder, tmp_path):
    (folder.path / "work" / CHECKPOINT).write_bytes(b"weights")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    for free in (0, 1):  # for the folder, and then for the file in it
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + free, hard))
        try:
            with pytest.raises(SandboxError, match="Too many open files"):
                folder.take_checkpoint(tmp_path / "taken")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert folder.take_checkpoint(tmp_path / "taken") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give ids")
def test_a_folder_for_another_id_can_be_crossed_by_only_its_id(temporary_folder):
    owner = 60578
    made = JobFolder.create(JOB, owner=owner)
    work = Path(made.layout.work)
    assert made.path.parent.stat().st_mode & 0o777 == 0o711
    assert made.path.stat().st_mode & 0o777 == 0o710
    assert (made.path.stat().st_uid, made.path.stat().st_gid) == (0, owner)
    for folder in (work, Path(made.layout.scratch)):
        assert (folder.stat().st_uid, folder.stat().st_gid) == (owner, owner)
    made.remove()
    assert not made.path.exists()
