"""Folders that end with their owner, with owners that are really killed."""

import fcntl
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightlab.sandbox import owned_folder as owned
from nightlab.sandbox.owned_folder import (
    UNCLAIMED_SECONDS,
    claim,
    owned_folder,
    sweep,
    sweep_temporary,
    temporary_folder,
)
from tests.conftest import ROOT

OWNER = """
import sys, time
from pathlib import Path
from nightlab.sandbox.owned_folder import owned_folder
with owned_folder(Path(sys.argv[1]), sys.argv[2]) as folder:
    (folder / "checkpoint.pt").write_bytes(b"weights")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """A process that owns a folder, and the folder."""
    command = [sys.executable, "-c", OWNER, str(tmp_path), "night-"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_it_is_empty_and_gone_at_the_end(tmp_path: Path) -> None:
    with owned_folder(tmp_path, "night-") as folder:
        assert list(folder.iterdir()) == []
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("x")
        sweep(tmp_path)
        assert (folder / "deep" / "file").exists()
    assert list(tmp_path.iterdir()) == []


def test_it_is_gone_where_its_block_raised(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), owned_folder(tmp_path, "night-"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_that_of_a_killed_owner_goes_and_that_of_one_who_lives_stays(
    tmp_path: Path, owner: tuple["subprocess.Popen[str]", Path]
) -> None:
    process, folder = owner
    for _ in range(2):
        sweep(tmp_path)
        assert (folder / "checkpoint.pt").exists()
    process.kill()
    process.wait()
    with owned_folder(tmp_path, "morning-") as other:
        sweep(tmp_path, "morning-")
        assert folder.exists(), "another name"
        sweep(tmp_path)
        assert list(tmp_path.iterdir()) == [other.parent]


def test_one_that_nobody_claims_goes_by_age(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    for folder in (new, old):
        folder.mkdir()
        (folder / "checkpoint.pt").write_bytes(b"weights")
    moment = new.stat().st_mtime - UNCLAIMED_SECONDS
    os.utime(old, (moment - 1, moment - 1))
    os.utime(new, (moment + 60, moment + 60))
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [new]


def test_links_and_files_are_not_followed_and_stay(tmp_path: Path) -> None:
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "root"
    elsewhere.mkdir()
    (elsewhere / owned.ALIVE).touch()
    root.mkdir()
    (root / "link").symlink_to(elsewhere)
    (root / "file").touch()
    sweep(root)
    assert (elsewhere / owned.ALIVE).exists()
    assert sorted(each.name for each in root.iterdir()) == ["file", "link"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_folders_of_other_users_are_theirs_to_sweep(tmp_path: Path) -> None:
    path, lock = claim(tmp_path)
    os.close(lock)
    os.chown(path, 12345, 12345)
    sweep(tmp_path)
    assert path.exists()


def test_a_sweep_between_making_and_locking_takes_only_what_nobody_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, swept = fcntl.flock, threading.Event()

    def lock_late(handle: int, how: int) -> None:
        if not swept.is_set() and not how & fcntl.LOCK_NB:
            swept.set()
            sweep(tmp_path)
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    with owned_folder(tmp_path, "night-") as folder:
        assert swept.is_set()
        assert folder.is_dir()
        assert [each.name for each in tmp_path.iterdir()] == [folder.parent.name]


def test_temporary_folders_that_kills_left_are_swept_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = []
    for kind in ("bait", "command"):
        path, lock = claim(tmp_path, f"nightlab-{kind}-")
        os.close(lock)  # as the kernel does when its owner is killed
        left.append(path)
    by_hand = tmp_path / "nightlab-by-hand-x"
    by_hand.mkdir()
    os.utime(by_hand, (1, 1))
    with temporary_folder("command") as folder:
        assert all(path.exists() for path in left)
        sweep_temporary()
        assert sorted(tmp_path.iterdir()) == [by_hand, folder.parent]


def test_what_is_inside_can_be_reached_by_users_whom_it_is_open_to(tmp_path: Path) -> None:
    with owned_folder(tmp_path, "bait-") as folder:
        assert folder.parent.stat().st_mode & 0o777 == 0o711
        assert folder.stat().st_mode & 0o777 == 0o700
