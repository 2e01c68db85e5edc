"""The tokenizer: byte-pair merges learnt with rustbpe, applied with tiktoken.

It is learnt from ``train`` alone and saved as JSON in the corpus's folder. No part of it
is fetched. Token ids run over the learnt merges first; the last id is the BOS token,
which stands before every document and covers no bytes.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rustbpe
import tiktoken

from nightlab.errors import CorpusError

BOS = "<|bos|>"
TRAINING_BYTES = 64_000_000
"""Text that the merges are learnt from, at most: the gain beyond is not measurable."""

SPLIT_PATTERN = "|".join(
    (
        r"[^\s\p{L}\p{N}]?[\p{L}\p{M}]+",  # a word, with the mark before it: (self _name .join
        r" [\p{L}\p{M}]+",  # a word, with the space before it
        r" ?\p{N}{1,2}",  # numbers by two digits: a table of all pairs is soon learnt
        r" ?[^\s\p{L}\p{N}]+",  # a run of marks
        r"\s*[\r\n]+[ \t]*",  # line ends, with the next line's indentation
        r"\s+(?!\S)",  # white space, except a last space that belongs to a word
        r"\s+",
    )
)
"""Where merges may not cross. Every character falls into one of the branches."""


def train_tokenizer(texts: Iterator[str], vocab_size: int) -> tiktoken.Encoding:
    """Learn a tokenizer of exactly ``vocab_size`` tokens, BOS counted in.

    Raises:
        CorpusError: the text has too few different pairs for so many tokens.
    """
    learner = rustbpe.Tokenizer()
    learner.train_from_iterator(texts, vocab_size - 1, pattern=SPLIT_PATTERN)
    ranks = {bytes(token): rank for token, rank in learner.get_mergeable_ranks()}
    if len(ranks) != vocab_size - 1:
        raise CorpusError(
            f"a vocabulary of {vocab_size} tokens needs text with as many frequent pieces, found "
            f"{len(ranks) + 1}: give more text, or a smaller vocabulary (vocab_size)."
        )
    return _encoding(ranks, SPLIT_PATTERN)


def save_tokenizer(encoding: tiktoken.Encoding, path: Path) -> None:
    """Write the tokenizer as JSON: its pattern, its BOS, and every token in base64 by id."""
    tokens = [
        base64.b64encode(encoding.decode_single_token_bytes(token)).decode()
        for token in range(encoding.n_vocab - 1)
    ]
    content = {"pattern": SPLIT_PATTERN, "bos": BOS, "tokens": tokens}
    path.write_text(json.dumps(content, indent=0) + "\n", encoding="utf-8")


def load_tokenizer(path: Path) -> tiktoken.Encoding:
    """Rebuild a saved tokenizer.

    Raises:
        CorpusError: the file is not one that ``save_tokenizer`` wrote.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        ranks = {base64.b64decode(token): rank for rank, token in enumerate(content["tokens"])}
        return _encoding(ranks, content["pattern"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(
            f"the corpus needs its tokenizer at {path}, and it cannot be read ({error}): "
            "delete the corpus's folder; it is then prepared again."
        ) from error


def bos_token(encoding: tiktoken.Encoding) -> int:
    """Return the id of BOS, the last one."""
    return encoding.n_vocab - 1


def byte_lengths(encoding: tiktoken.Encoding) -> npt.NDArray[np.uint16]:
    """Return how many bytes of UTF-8 each token covers: uint16 [vocab], 0 for BOS.

    Of a token that is part of a character only its own bytes count; decoding it to text
    would count a replacement character's three and make every score look better.
    """
    lengths = [
        len(encoding.decode_single_token_bytes(token)) for token in range(encoding.n_vocab - 1)
    ]
    return np.array([*lengths, 0], dtype="<u2")


def encode(encoding: tiktoken.Encoding, documents: list[bytes]) -> npt.NDArray[np.uint16]:
    """Return the documents' tokens end to end, BOS before each: uint16 [tokens].

    Text that reads like the BOS token is text.
    """
    bos = np.array([bos_token(encoding)], dtype="<u2")
    parts: list[npt.NDArray[np.uint16]] = []
    for document in documents:
        tokens = encoding.encode_to_numpy(document.decode(), disallowed_special=())
        parts += (bos, tokens.astype("<u2"))
    return np.concatenate(parts)


def _encoding(ranks: dict[bytes, int], pattern: str) -> tiktoken.Encoding:
    return tiktoken.Encoding(
        name="nightlab",
        pat_str=pattern,
        mergeable_ranks=ranks,
        special_tokens={BOS: len(ranks)},
    )
