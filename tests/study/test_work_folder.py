from pathlib import Path

from nightlab.study.work_folder import work_folder


def test_it_is_empty_and_gone_after_the_session(tmp_path: Path) -> None:
    with work_folder(tmp_path, "night", "clone-1") as folder:
        assert list(folder.iterdir()) == []
        (folder / "0001-7.pt").write_bytes(b"weights")
    assert list((tmp_path / "work").iterdir()) == []


def test_what_a_killed_session_left_goes_and_what_others_use_stays(tmp_path: Path) -> None:
    killed = work_folder(tmp_path, "night", "clone-1")
    left = killed.__enter__()
    (left / "0001-7.pt").write_bytes(b"weights")
    with (
        work_folder(tmp_path, "night", "clone-2") as other_clone,
        work_folder(tmp_path, "nights", "clone-1") as other_study,
        work_folder(tmp_path, "night", "clone-1") as folder,
    ):
        assert not left.exists()
        assert folder.is_dir()
        assert other_clone.is_dir()
        assert other_study.is_dir()
