"""Training tokens in a sealed memory file, and which of them a training gets."""

import fcntl
import os

import numpy as np
import pytest

from nightlab.errors import CorpusError
from nightlab.training import token_file
from nightlab.training.token_file import TokenFile

LENGTH = 8
WIDTH = LENGTH + 1
COUNT = 1_003
SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


@pytest.fixture
def path(tmp_path):
    """A text in which every token is the number of its place."""
    file = tmp_path / "train.bin"
    file.write_bytes(np.arange(COUNT, dtype="<u2").tobytes())
    return file


def rows_of(path, **how):
    with TokenFile.from_windows(path, sequence_length=LENGTH, **how) as tokens:
        data = os.pread(tokens.fileno(), 2**20, 0)
        assert tokens.num_tokens == len(data) / 2
    return np.frombuffer(data, dtype="<u2").reshape(-1, WIDTH)


def test_tokens_that_cannot_be_used_are_refused(tmp_path):
    for data in (b"", b"odd"):
        (tmp_path / "train.bin").write_bytes(data)
        with pytest.raises(CorpusError, match="prepare the corpus again"):
            TokenFile.from_path(tmp_path / "train.bin")
    with pytest.raises(CorpusError, match="missing"):
        TokenFile.from_path(tmp_path / "missing")
    (tmp_path / "train.bin").write_bytes(bytes(2 * LENGTH))
    with pytest.raises(CorpusError, match=r"needs 9 training tokens, and .* has 8"):
        rows_of(tmp_path / "train.bin", seed=1)


def test_a_file_can_be_taken_as_it_is(path):
    with TokenFile.from_path(path) as tokens:
        assert tokens.num_tokens == COUNT
        assert os.pread(tokens.fileno(), 2**20, 0) == path.read_bytes()


@pytest.mark.parametrize("seed", [None, 3])
def test_a_token_file_is_sealed(path, seed):
    made = (
        TokenFile.from_path(path)
        if seed is None
        else TokenFile.from_windows(path, seed=seed, sequence_length=LENGTH)
    )
    with made as tokens:
        assert fcntl.fcntl(tokens.fileno(), fcntl.F_GET_SEALS) == SEALS
        os.fchmod(tokens.fileno(), 0o600)  # as its owner may
        anew = os.open(f"/proc/self/fd/{tokens.fileno()}", os.O_RDWR)
        with open(anew, "wb", buffering=0) as file, pytest.raises(OSError, match="not permitted"):
            file.write(b"x")


def test_a_token_file_is_given_to_one_job_and_no_other(path):
    with TokenFile.from_path(path) as tokens:
        assert tokens.give() == tokens.fileno()
        with pytest.raises(ValueError, match="given to another"):
            tokens.give()
        tokens.close()
        with pytest.raises(ValueError, match="let go"):
            tokens.fileno()


def test_nobody_can_write_run_or_open_it_anew(path):
    with TokenFile.from_path(path) as tokens:
        descriptor = tokens.fileno()
        assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
        assert os.fstat(descriptor).st_mode & 0o7777 == 0o400
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(descriptor, b"x")


def test_windows_reach_all_of_the_text_once_in_another_order(path):
    rows = rows_of(path, seed=5)
    assert (np.diff(rows.astype(int), axis=1) == 1).all(), "each is a piece of the text"
    starts = rows[:, 0].astype(int)
    assert 0 <= starts.min() < LENGTH
    assert sorted(starts) == list(range(starts.min(), COUNT - LENGTH, LENGTH)), "each once"
    assert list(starts) != sorted(starts)
    first_half = starts[: len(starts) // 2]
    assert first_half.max() > 0.9 * COUNT, "not the beginning of the text first"
    assert first_half.min() < 0.1 * COUNT


def test_a_seed_gives_one_text_and_another_seed_another(path):
    assert (rows_of(path, seed=5) == rows_of(path, seed=5)).all()
    texts = [rows_of(path, seed=seed, most_tokens=40 * LENGTH) for seed in range(8)]
    assert len({text.tobytes() for text in texts}) == 8
    assert len({int(text[0, 0]) % LENGTH for text in texts}) > 1, "and other borders of windows"


def test_a_budget_in_tokens_is_exactly_its_text(path):
    for budget, rows in ((40 * LENGTH, 40), (41 * LENGTH - 1, 40), (10**6, 125)):
        assert abs(len(rows_of(path, seed=2, most_tokens=budget)) - rows) <= (budget == 10**6)
    short, long = (rows_of(path, seed=2, most_tokens=count * LENGTH) for count in (20, 40))
    assert (long[:20] == short).all(), "the beginning of the same text"


def test_a_text_has_a_largest_size(path, monkeypatch):
    monkeypatch.setattr(token_file, "MOST_BYTES", 50 * 2 * WIDTH + 3)
    assert len(rows_of(path, seed=2)) == 50
    assert len(rows_of(path, seed=2, most_tokens=100 * LENGTH)) == 50


def test_it_is_gathered_in_pieces(path, monkeypatch):
    whole = rows_of(path, seed=4)
    monkeypatch.setattr(token_file, "_PIECE_TOKENS", 3 * WIDTH + 1)
    assert (rows_of(path, seed=4) == whole).all()
    with TokenFile.from_path(path) as tokens:
        assert os.pread(tokens.fileno(), 2**20, 0) == path.read_bytes()


def test_the_shortest_text_is_one_window(tmp_path):
    path = tmp_path / "train.bin"
    path.write_bytes(np.arange(WIDTH, dtype="<u2").tobytes())
    for seed in range(5):
        assert rows_of(path, seed=seed).tolist() == [list(range(WIDTH))]
