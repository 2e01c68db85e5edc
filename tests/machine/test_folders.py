import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightlab.errors import UsageError
from nightlab.machine.folders import require_writable


def refused(folder: Path) -> str:
    with pytest.raises(UsageError) as refusal:
        require_writable(folder, "Nightlab keeps corpora in", "set NIGHTLAB_CACHE")
    return str(refusal.value)


def test_a_folder_is_made_and_nothing_stays_in_it(tmp_path: Path) -> None:
    require_writable(tmp_path / "a" / "b", "Nightlab keeps corpora in", "set NIGHTLAB_CACHE")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_file_in_the_way_and_a_place_that_takes_no_folders_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "inside", Path("/proc/nightlab")):
        sentence = refused(folder)
        assert sentence.startswith(f"Nightlab keeps corpora in {folder}, and writing there failed")
        assert sentence.endswith(": set NIGHTLAB_CACHE.")


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a megabyte, all of it in use."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)], check=False
    )
    if not made or made.returncode != 0:
        pytest.skip("only root can mount a disk")
    try:
        with (folder / "filler").open("wb", buffering=0) as file:
            while file.write(bytes(4096)) == 4096:
                pass
    except OSError:
        pass
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_found_before_anything_is_trained(full_disk: Path) -> None:
    assert "No space left on device" in refused(full_disk)
