"""What the kernel keeps of a real file on disk."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightlab.sandbox.page_cache import make_resident, resident_pages
from tests.conftest import ROOT

PAGES = 700


@pytest.fixture
def on_disk() -> Iterator[Path]:
    """A file in a file system that can drop its pages."""
    path = ROOT / f".pages-{os.getpid()}"
    path.write_bytes(os.urandom(PAGES * 4096 - 5))
    with path.open("rb") as file:
        os.fsync(file.fileno())
    yield path
    path.unlink()


def test_pages_that_were_dropped_are_read_again(on_disk: Path) -> None:
    with on_disk.open("rb") as file:
        descriptor = file.fileno()
        if resident_pages(descriptor) is None:
            pytest.skip("needs Linux 6.5, which tells what is resident")
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        dropped = resident_pages(descriptor)
        if dropped == PAGES:
            pytest.skip("needs a disk file system that drops pages when told to")
        make_resident([on_disk, on_disk])
        assert resident_pages(descriptor) == PAGES


def test_a_file_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        make_resident([tmp_path / "none"])
