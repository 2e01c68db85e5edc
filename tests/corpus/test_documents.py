from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nightlab.corpus.documents import DOCUMENT_BYTES, collect, cut


@given(st.text(alphabet="ab \nжあ🙂", max_size=200), st.integers(4, 40))
def test_pieces_join_to_the_text_and_stay_within_the_limit(text: str, limit: int) -> None:
    pieces = list(cut(text.encode(), limit))
    assert b"".join(pieces) == text.encode()
    assert all(len(piece) <= limit for piece in pieces)
    assert all(piece.decode() is not None for piece in pieces)  # none ends inside a character


def test_cuts_fall_behind_line_ends() -> None:
    text = b"def f():\n    return 1\n" * 10
    pieces = list(cut(text, 50))
    assert len(pieces) > 4
    assert all(piece.endswith(b"\n") for piece in pieces)


def test_a_text_of_exactly_the_limit_is_one_document() -> None:
    assert list(cut(b"x" * 20, 20)) == [b"x" * 20]


def test_repeats_are_left_out_also_with_other_white_space(tmp_path: Path) -> None:
    texts = ["one two\nthree", "one  two three\r\n", "one two four", "one two\nthree", " \n "]
    documents = collect(texts, tmp_path / "text", 1_000)
    assert [documents.read(number) for number in range(len(documents))] == [
        b"one two\nthree",
        b"one two four",
    ]
    assert documents.intake.duplicates == 2
    assert not documents.intake.cap_reached


def test_reading_ends_at_the_cap(tmp_path: Path) -> None:
    taken = []

    def texts() -> object:
        for number in range(100):
            taken.append(number)
            yield f"{number:010d}"

    documents = collect(texts(), tmp_path / "text", 45)
    assert len(documents) == 4
    assert documents.intake.cap_reached
    assert len(taken) == 5


def test_keys_do_not_depend_on_the_neighbours(tmp_path: Path) -> None:
    first = collect(["a b", "c d"], tmp_path / "first", 100)
    second = collect(["c d"], tmp_path / "second", 100)
    assert first.keys[1] == second.keys[0]


def test_blocks_hold_every_document_once_in_order(tmp_path: Path) -> None:
    documents = collect([f"document {n} " * (n % 7 + 1) for n in range(50)], tmp_path / "t", 10**6)
    numbers = np.arange(len(documents), dtype=np.int64)[::-1]
    blocks = list(documents.blocks(numbers, 200))
    assert len(blocks) > 3
    assert np.concatenate(blocks).tolist() == numbers.tolist()
    assert list(documents.blocks(numbers[:0], 200)) == []


def test_long_files_become_several_documents(tmp_path: Path) -> None:
    lines = "\n".join(f"line {number}" for number in range(10_000))
    documents = collect([lines], tmp_path / "text", 10**6)
    assert len(documents) == -(-len(lines) // DOCUMENT_BYTES)
    assert documents.intake.bytes == len(lines)
