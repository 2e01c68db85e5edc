"""Training tokens in a sealed memory file."""

import fcntl
import os

import pytest

from nightlab.errors import CorpusError
from nightlab.training.token_file import TokenFile


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "train.bin"
    file.write_bytes(bytes(range(20)))
    return file


def test_tokens_that_cannot_be_used_are_refused(tmp_path):
    for data in (b"", b"odd"):
        (tmp_path / "train.bin").write_bytes(data)
        with pytest.raises(CorpusError, match="prepare the corpus again"):
            TokenFile.from_path(tmp_path / "train.bin")
    with pytest.raises(CorpusError, match="missing"):
        TokenFile.from_path(tmp_path / "missing")


def test_a_token_file_takes_in_no_more_than_asked_for(path):
    for most, count in ((None, 10), (3, 3), (10, 10), (11, 10)):
        with TokenFile.from_path(path, most) as tokens:
            assert tokens.num_tokens == count
            assert os.pread(tokens.fileno(), 100, 0) == bytes(range(2 * count))


def test_a_token_file_is_sealed(path):
    wanted = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    with TokenFile.from_path(path) as tokens:
        assert fcntl.fcntl(tokens.fileno(), fcntl.F_GET_SEALS) == wanted
        with pytest.raises(OSError, match="not permitted"):
            os.pwrite(tokens.fileno(), b"x", 0)
