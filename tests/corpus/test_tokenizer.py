from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from nightlab.corpus.tokenizer import (
    BOS,
    bos_token,
    byte_lengths,
    encode,
    load_tokenizer,
    save_tokenizer,
    train_tokenizer,
)
from nightlab.errors import CorpusError
from tests.corpus.conftest import sentences

FRENCH = "Où est passé le garçon ? Là-bas, près du chêne : « déjà vu », n'est-ce pas…\n"
RUSSIAN = "Все счастливые семьи похожи друг на друга, каждая несчастливая — по-своему.\n"
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n"
SAMPLES = {"french": FRENCH, "russian": RUSSIAN, "japanese": JAPANESE}


@pytest.fixture(scope="module")
def english() -> tiktoken.Encoding:
    """Learnt from ASCII alone: everything else falls into tokens that are parts of characters."""
    return train_tokenizer(iter([sentences(seed, 50) for seed in range(20)]), 512)


@pytest.fixture(scope="module")
def mixed() -> tiktoken.Encoding:
    """Has merges that end inside a character."""
    texts = [sentence * 3 + sentences(n, 9) for n, sentence in enumerate(SAMPLES.values())]
    return train_tokenizer(iter(texts), 400)


@pytest.mark.parametrize("language", SAMPLES)
@pytest.mark.parametrize("tokenizer", ["english", "mixed"])
def test_byte_lengths_add_up_to_the_utf8_length(
    language: str, tokenizer: str, request: pytest.FixtureRequest
) -> None:
    encoding: tiktoken.Encoding = request.getfixturevalue(tokenizer)
    document = SAMPLES[language].encode()
    tokens = encode(encoding, [document, document])
    assert byte_lengths(encoding)[tokens].sum() == 2 * len(document)


def test_decoding_tokens_to_text_would_miscount(english: tiktoken.Encoding) -> None:
    """The mistake that the exact lengths avoid is visible with this tokenizer and text."""
    tokens = english.encode_ordinary(JAPANESE)
    wrong = sum(len(english.decode([token]).encode()) for token in tokens)
    assert wrong > 2 * len(JAPANESE.encode())


@given(st.text(max_size=60))
def test_any_text_comes_back(english: tiktoken.Encoding, text: str) -> None:
    tokens = encode(english, [text.encode()])
    assert english.decode_bytes(tokens[1:].tolist()) == text.encode()


def test_bos_is_the_last_id_and_covers_nothing(english: tiktoken.Encoding) -> None:
    lengths = byte_lengths(english)
    assert english.n_vocab == len(lengths) == 512
    assert bos_token(english) == 511 == english.encode_single_token(BOS)
    assert lengths[511] == 0
    assert lengths[:511].min() == 1
    tokens = encode(english, [b"one", b"two"])
    assert np.flatnonzero(tokens == 511).tolist()[0] == 0
    assert (tokens == 511).sum() == 2
    assert tokens.dtype == np.dtype("<u2")


def test_text_that_reads_like_bos_is_text(english: tiktoken.Encoding) -> None:
    tokens = encode(english, [f"a {BOS} b".encode()])
    assert (tokens == bos_token(english)).sum() == 1


def test_learning_twice_gives_the_same_tokens(text: Callable[[int, int], str]) -> None:
    def learn() -> list[bytes]:
        encoding = train_tokenizer(iter([text(seed, 50) for seed in range(20)]), 600)
        return [encoding.decode_single_token_bytes(token) for token in range(599)]

    assert learn() == learn()


def test_a_saved_tokenizer_encodes_alike(mixed: tiktoken.Encoding, tmp_path: Path) -> None:
    save_tokenizer(mixed, tmp_path / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    text = FRENCH + RUSSIAN + JAPANESE
    assert loaded.encode_ordinary(text) == mixed.encode_ordinary(text)
    assert byte_lengths(loaded).tolist() == byte_lengths(mixed).tolist()


def test_too_little_text_for_the_vocabulary_is_an_error() -> None:
    with pytest.raises(CorpusError, match=r"vocabulary of 2048 .* smaller vocabulary"):
        train_tokenizer(iter(["a few words"]), 2048)


def test_a_damaged_tokenizer_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"tokens": 3}')
    with pytest.raises(CorpusError, match="prepared again"):
        load_tokenizer(tmp_path / "tokenizer.json")
