import os
import tempfile
from pathlib import Path

import pytest

from nightlab.device import Device
from nightlab.errors import SandboxError
from nightlab.sandbox import job as jobs
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


def test_a_copy_that_fails_is_the_machinerys_fault(folder, tmp_path):
    Path(folder.layout.checkpoint).write_bytes(b"weights")
    with pytest.raises(SandboxError, match="free space"):
        folder.take_checkpoint(tmp_path / "missing" / "taken.pt")
