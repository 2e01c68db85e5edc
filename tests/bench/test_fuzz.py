"""Hostile texts, the same ones each time: no exception but the declared ones, and none too slow."""

import sys

import pytest

from tests.conftest import ROOT
from tests.samples import sample_record

sys.path.insert(0, str(ROOT / "bench"))

from fuzz import Reader, fuzz, readers, trouble

READERS = readers((sample_record(1).model_dump_json(),))


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_readers_stand_mutated_texts(reader: Reader) -> None:
    count = 3 if reader.name == "source" else 15
    assert list(filter(None, (fuzz(reader, seed) for seed in range(count)))) == []


def test_what_is_wrong_is_found() -> None:
    strict = Reader("strict", ("1",), int, (KeyError,))
    assert "raised ValueError" in (trouble(strict, "one") or "")
    slow = Reader("slow", ("1",), lambda text: sum(range(20_000_000)))
    assert "took" in (trouble(slow, "") or "")
    assert trouble(Reader("declared", ("",), int, (ValueError,)), "one") is None
