import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightlab.corpus.documents import Documents, collect, stay_silent
from nightlab.corpus.overlap import SHINGLE_WORDS, overlapping, shingles

WORD = re.compile(r"[぀-鿿]|[a-z0-9_а-я]+")
LICENCE = " ".join(f"permission{n} hereby granted" for n in range(30))
Text = Callable[[int, int], str]


def plain_shingles(document: str) -> list[tuple[str, ...]]:
    """Say the same thing slowly."""
    words = WORD.findall(document.lower())
    return [tuple(words[i : i + SHINGLE_WORDS]) for i in range(len(words) - SHINGLE_WORDS + 1)]


@given(
    st.lists(
        st.text(alphabet="abC_1 .\nжя日本", min_size=1, max_size=120).filter(str.strip),
        min_size=1,
        max_size=5,
    )
)
def test_hashes_are_equal_exactly_where_the_words_are(texts: list[str]) -> None:
    expected = [(shingle, n) for n, text in enumerate(texts) for shingle in plain_shingles(text)]
    found = shingles([text.encode() for text in texts])
    assert found.owners.tolist() == [owner for _, owner in expected]
    hash_of: dict[tuple[str, ...], int] = {}
    for (shingle, _), value in zip(expected, found.hashes.tolist(), strict=True):
        assert hash_of.setdefault(shingle, value) == value
    assert len(set(hash_of.values())) == len(hash_of)


def judge(tmp_path: Path, judged: list[str], reference: list[str]) -> list[bool]:
    documents: Documents = collect([*judged, *reference], tmp_path / "text", 10**8)
    assert len(documents) == len(judged) + len(reference)
    numbers = np.arange(len(documents), dtype=np.int64)
    flags = overlapping(documents, numbers[: len(judged)], numbers[len(judged) :], stay_silent)
    return flags.tolist()


def test_a_reformatted_copy_overlaps(tmp_path: Path, text: Text) -> None:
    original = text(1, 40)
    copy = original.upper().replace(" ", "\n  - ").replace(".", " !")
    assert judge(tmp_path, [copy, text(2, 40)], [original]) == [True, False]


def test_a_short_document_inside_a_long_one_is_found(tmp_path: Path, text: Text) -> None:
    short = text(1, 4)
    host = text(2, 80) + short + text(3, 80)
    assert judge(tmp_path, [host], [short]) == [True]


def test_a_licence_that_everybody_carries_drops_nobody(tmp_path: Path, text: Text) -> None:
    judged = [f"{LICENCE}\n{text(seed, 30)}" for seed in range(30)]
    assert judge(tmp_path, judged, [f"{LICENCE}\n{text(99, 30)}"]) == [False] * 30


def test_many_near_copies_are_found_although_they_are_many(tmp_path: Path, text: Text) -> None:
    generated = text(1, 60)
    judged = [f"{generated} version {number}" for number in range(25)]
    assert judge(tmp_path, judged, [f"{generated} version x"]) == [True] * 25


def test_a_quotation_of_a_few_lines_is_allowed(tmp_path: Path, text: Text) -> None:
    quoted = text(1, 200)
    line = "\n".join(quoted.splitlines()[:3])
    assert judge(tmp_path, [text(2, 60) + line], [quoted]) == [False]


@pytest.mark.parametrize("reference", ["too short for a shingle", "x " * 40])
def test_documents_without_shingles_overlap_with_nothing(tmp_path: Path, reference: str) -> None:
    assert judge(tmp_path, ["also too short", "y"], [reference]) == [False, False]


def test_japanese_without_spaces_is_compared_by_character(tmp_path: Path) -> None:
    sentence = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"
    other = "国境の長いトンネルを抜けると雪国であった。夜の底が白くなった。信号所に"
    assert judge(tmp_path, [f"引用、{sentence}", other], [sentence]) == [True, False]
