"""Which documents share text with an evaluation split: overlap of 13-word shingles.

The method follows the decontamination of GPT-3 (Brown et al. 2020, appendix C): runs of
13 words, compared without case and punctuation. *Words* and not tokens, because then the
splits do not depend on the tokenizer, whose training text they decide; because a copy that
was reformatted is still found; and because 13 tokens of a small vocabulary are a mere
forty characters of code, which unrelated files share all the time. A word is a run of
letters, digits and underscores; a character of a script written without spaces (Chinese,
Japanese, Korean) is a word of its own.

Code is full of text that everybody shares, licence headers and import blocks first of
all, and dropping every document that holds a shingle of ``val`` would cost a third of
the corpus. So a shingle that stands in ``COMMON_DOCUMENTS`` or more of the judged
documents is common property (GPT-3 drew the line at ten, too), and a document overlaps if

- ``RARE_SHARE`` of its shingles stand in the evaluation splits and are not common, or
- it holds ``WHOLE_SHARE`` of one evaluation document in shingles that are not common (a
  short document copied into a long one), or
- ``WHOLE_SHARE`` of its shingles stand in the evaluation splits, common or not (one of
  many near-copies, such as generated code).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nightlab.corpus.documents import Documents, Progress

SHINGLE_WORDS = 13
COMMON_DOCUMENTS = 10
RARE_SHARE = 0.1
WHOLE_SHARE = 0.5

_PRIME = 0x100000001B3
_BLOCK_BYTES = 2_000_000

Hashes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shingles:
    """The shingles of some documents, in their order."""

    hashes: Hashes
    """uint64 [shingles]."""
    owners: Numbers
    """Which document each belongs to, counted from 0: int64 [shingles]."""


def shingles(documents: list[bytes]) -> Shingles:
    """Hash every run of 13 words; no run crosses from one document into the next.

    A word's hash is a polynomial over its bytes, taken as the difference of two prefix
    sums (mod 2^64, where an odd base has an inverse), so that all words of a block come
    from a handful of array operations. A document of fewer words has no shingle.

    Args:
        documents: UTF-8 text.
    """
    content = np.frombuffer(b"".join(documents), dtype=np.uint8)
    document_starts = np.cumsum([0, *(len(document) for document in documents)])[:-1]
    values = _byte_values()[content]
    starts = np.flatnonzero(_word_begins(content, values != 0, document_starts))
    if len(starts) < SHINGLE_WORDS:
        return Shingles(hashes=np.empty(0, np.uint64), owners=np.empty(0, np.int64))

    sums = np.cumsum(values * _powers(_PRIME, len(content)), dtype=np.uint64)
    before = np.where(starts > 0, sums[starts - 1], np.uint64(0))
    # Bytes between words add 0 to the sums, so a word may as well end where the next begins.
    last = np.append(starts[1:], len(content)) - 1
    words = _mixed((sums[last] - before) * _powers(pow(_PRIME, -1, 2**64), len(content))[starts])

    count = len(words) - SHINGLE_WORDS + 1
    hashes = np.zeros(count, dtype=np.uint64)
    for offset in range(SHINGLE_WORDS):
        hashes = hashes * np.uint64(_PRIME) + words[offset : offset + count]
    owners = np.searchsorted(document_starts, starts, side="right") - 1
    within_one = owners[:count] == owners[SHINGLE_WORDS - 1 :]
    return Shingles(hashes=_mixed(hashes[within_one]), owners=owners[:count][within_one])


def _byte_values() -> Hashes:
    """Return a random number for each byte of a word, equal for both cases; 0 for the rest."""
    values = _mixed(np.arange(1, 257, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    byte = np.arange(256)
    upper = (byte >= ord("A")) & (byte <= ord("Z"))
    values[upper] = values[byte[upper] + 32]
    in_word = (byte >= 0x80) | (byte == ord("_"))
    for first, last in ("09", "AZ", "az"):
        in_word |= (byte >= ord(first)) & (byte <= ord(last))
    return np.where(in_word, values, np.uint64(0))


def _word_begins(content: npt.NDArray[np.uint8], in_word: Flags, document_starts: Numbers) -> Flags:
    """Mark the first byte of each word: bool [bytes]."""
    begins = in_word.copy()
    begins[1:] &= ~in_word[:-1]
    leads = np.flatnonzero(content >= 0xE3)  # first bytes of characters that are words
    begins[leads] = True
    behind = leads + np.where(content[leads] >= 0xF0, 4, 3)
    begins[behind[behind < len(content)]] = True
    begins[document_starts[document_starts < len(content)]] = True
    return begins & in_word


def _mixed(values: Hashes) -> Hashes:
    """Spread every input bit over the whole word (the finaliser of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _powers(base: int, count: int) -> Hashes:
    """Return ``base`` to the powers 0 .. count-1, mod 2^64."""
    powers = np.full(count, base, dtype=np.uint64)
    powers[:1] = 1
    return np.multiply.accumulate(powers)


def _shingles_of(documents: Documents, numbers: Numbers) -> Iterator[Shingles]:
    """Yield the shingles block by block; their owners count along ``numbers``."""
    first = 0
    for block in documents.blocks(numbers, _BLOCK_BYTES):
        part = shingles([documents.read(number) for number in block])
        yield Shingles(hashes=part.hashes, owners=part.owners + first)
        first += len(block)


class _Reference:
    """The shingles of the evaluation documents, to be looked up many times.

    A table of flags rules out nearly all of the shingles that are not in it, so that the
    binary search, which is slow because it misses every cache, runs for few.
    """

    def __init__(self, documents: Documents, numbers: Numbers) -> None:
        parts = list(_shingles_of(documents, numbers))
        self.hashes, first_places = np.unique(
            np.concatenate([part.hashes for part in parts]), return_index=True
        )
        self.owners = np.concatenate([part.owners for part in parts])[first_places]
        """The first evaluation document that holds each shingle."""
        bits = max(10, len(self.hashes).bit_length() + 4)
        self._shift = np.uint64(64 - bits)
        self._possible = np.zeros(2**bits, dtype=np.bool_)
        self._possible[self.hashes >> self._shift] = True

    def find(self, sought: Shingles) -> "_Found":
        """Return those of ``sought`` that are known."""
        likely = np.flatnonzero(self._possible[sought.hashes >> self._shift])
        places = np.searchsorted(self.hashes, sought.hashes[likely])
        places = np.minimum(places, len(self.hashes) - 1)
        same = self.hashes[places] == sought.hashes[likely]
        return _Found(owners=sought.owners[likely[same]], places=places[same])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Shingles of judged documents that stand in the reference."""

    owners: Numbers
    """The judged document of each: int64 [found]."""
    places: Numbers
    """Where each stands in the reference's hashes: int64 [found]."""


def overlapping(
    documents: Documents, judged: Numbers, reference: Numbers, progress: Progress
) -> Flags:
    """Say which of the ``judged`` documents overlap with the ``reference`` documents.

    Args:
        documents: All documents.
        judged: Numbers of the documents to judge: int64 [n].
        reference: Numbers of the evaluation documents: int64 [m], at least one.
        progress: Told about every block.

    Returns:
        bool [n], by the rule that the module states.
    """
    known = _Reference(documents, reference)
    totals = np.zeros(len(judged), dtype=np.int64)
    found: list[_Found] = []
    if not len(known.hashes):
        return totals > 0
    for part in _shingles_of(documents, judged):
        if not len(part.owners):
            continue
        first, last = part.owners[0], part.owners[-1]
        totals[first : last + 1] = np.bincount(part.owners - first)
        found.append(known.find(part))
        progress("comparing text with the evaluation splits", last / len(judged))
    if not found:
        return totals > 0
    merged = _Found(
        owners=np.concatenate([part.owners for part in found]),
        places=np.concatenate([part.places for part in found]),
    )
    return _judge(merged, totals, known)


def _judge(found: _Found, totals: Numbers, known: _Reference) -> Flags:
    """Apply the rule; ``totals`` counts the shingles of each judged document: int64 [n]."""
    count = len(totals)
    places, owners = np.divmod(np.unique(found.places * count + found.owners), count)
    common = np.bincount(places, minlength=len(known.hashes)) >= COMMON_DOCUMENTS

    enough = np.maximum(totals, 1)
    rare_shingles = np.bincount(found.owners[~common[found.places]], minlength=count)
    all_shingles = np.bincount(found.owners, minlength=count)
    flags: Flags = (rare_shingles >= RARE_SHARE * enough) | (all_shingles >= WHOLE_SHARE * enough)

    places, owners = places[~common[places]], owners[~common[places]]
    pairs, held = np.unique(known.owners[places] * count + owners, return_counts=True)
    sources, holders = np.divmod(pairs, count)
    flags[holders[held >= WHOLE_SHARE * np.bincount(known.owners)[sources]]] = True
    return flags
