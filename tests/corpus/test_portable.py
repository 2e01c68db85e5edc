"""The tokens of generate.py's own encoder are tiktoken's, whatever the text."""

import importlib
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from nightlab.corpus.portable import members, portable_tokenizer, python_pattern
from nightlab.corpus.tokenizer import load_tokenizer, save_tokenizer
from tests.conftest import ROOT
from tests.kept_samples import tokenizer

pytest.importorskip("torch")

EVERY = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
SPACES = "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\ufeff"
TRICKY = "aZ_é中́̈٣½²Ⅷ१👩‍💻🇫🇷'’\"(.…<|bos|>"


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The study's tokenizer, and the one beside an exported model."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    save_tokenizer(tokenizer(), path)
    path.write_text(portable_tokenizer(path), encoding="utf-8")
    sys.path.insert(0, str(ROOT / "trainer"))
    try:
        generate = importlib.import_module("generate")
    finally:
        sys.path.remove(str(ROOT / "trainer"))
    # The portable file still is the study's own tokenizer.
    return load_tokenizer(path), generate.Tokenizer(path)


def agree(encoders: tuple[tiktoken.Encoding, Any], text: str) -> None:
    known, own = encoders
    tokens = known.encode(text, disallowed_special=())
    assert own.encode(text) == tokens
    assert own.decode(tokens) == known.decode(tokens)


def test_of_every_character_there_is(encoders: Any) -> None:
    agree(encoders, "".join(EVERY))
    agree(encoders, " ".join(EVERY[:0x3000]))


def test_of_this_repository(encoders: Any) -> None:
    for path in (*ROOT.glob("nightlab/corpus/*.py"), *ROOT.glob("*.md")):
        agree(encoders, path.read_text(encoding="utf-8"))


@given(st.text(st.one_of(st.sampled_from(SPACES + TRICKY), st.characters())))
def test_of_any_text(encoders: Any, text: str) -> None:
    agree(encoders, text)


def test_of_text_that_is_no_text(encoders: Any) -> None:
    agree(encoders, "a\ud800b\udcffc")
    agree(encoders, "")


def test_of_the_ends_and_middles_of_characters(encoders: Any) -> None:
    known, own = encoders
    draw = random.Random(3)
    for _ in range(200):
        tokens = [draw.randrange(known.n_vocab - 1) for _ in range(9)]
        assert own.decode(tokens) == known.decode(tokens)


def test_a_class_stands_in_brackets_of_its_own_outside_of_brackets(tmp_path: Path) -> None:
    space, number = members(r"\s"), members(r"\p{N}")
    pattern = python_pattern(r"[^\s\p{N}]+|\p{N}|\[\S\]")
    assert pattern == rf"[^{space}{number}]+|[{number}]|\[[^{space}]\]"
    with pytest.raises(ValueError, match="no counterpart"):
        python_pattern(r"[\S]")
    path = tmp_path / "tokenizer.json"
    save_tokenizer(tokenizer(), path)
    before = json.loads(path.read_text(encoding="utf-8"))
    after = json.loads(portable_tokenizer(path))
    assert {**before, "python_pattern": after["python_pattern"]} == after
