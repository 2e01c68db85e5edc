import os
from pathlib import Path

import pytest

from nightlab.errors import UsageError
from nightlab.sandbox.owned_folder import claim
from nightlab.study.work_folder import work_folder


def test_it_is_empty_and_gone_after_the_session(tmp_path: Path) -> None:
    with work_folder(tmp_path, "night") as folder:
        assert list(folder.iterdir()) == []
        (folder / "0001-7.pt").write_bytes(b"weights")
    assert list((tmp_path / "work").iterdir()) == []


def test_what_killed_sessions_left_goes_and_what_others_use_stays(tmp_path: Path) -> None:
    with work_folder(tmp_path, "night") as other:
        left = []
        for study in ("night", "another"):
            path, lock = claim(tmp_path / "work", f"{study}-")
            (path / "0001-7.pt").write_bytes(b"weights")
            os.close(lock)  # as the kernel does when its owner is killed
            left.append(path)
        with work_folder(tmp_path, "night") as folder:
            assert not any(path.exists() for path in left)
            assert folder.is_dir()
            assert other.is_dir()


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "work").touch()
    with pytest.raises(UsageError, match="NIGHTLAB_CACHE"), work_folder(tmp_path, "night"):
        pass
