"""Documents: text cut to a bounded size, rid of exact repeats, and set down on disk.

A *document* is the unit that a split takes whole. A source's text that is longer than
``DOCUMENT_BYTES`` becomes several documents, cut at line borders, so that one long file
can neither fill a split alone nor leave a folder with a single document undividable.
Documents are held in one file and read through a memory map: a corpus of gigabytes needs
only its index in memory.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nightlab.records import Frozen

Progress = Callable[[str, float | None], None]
"""Told a sentence and, where it is known, the share 0..1 of that step which is done."""

DOCUMENT_BYTES = 16_384
"""Longest document. Most source files fit whole; a split of 100 kB still holds several."""

_REPORT_BYTES = 1_000_000


def stay_silent(sentence: str, fraction: float | None) -> None:
    """Take progress and tell nobody."""


class Intake(Frozen):
    """What became of the text on its way in, in documents and UTF-8 bytes."""

    documents: int
    bytes: int
    duplicates: int
    """Documents left out because another one has the same words in the same order."""
    cap_reached: bool
    """Whether the cap in megabytes ended the reading, and not the end of the source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """Documents on disk, in the order in which the source gave them."""

    content: npt.NDArray[np.uint8]
    """All documents end to end, memory-mapped: uint8 [bytes]."""
    offsets: npt.NDArray[np.int64]
    """Where each begins, and the end of the last: int64 [documents + 1]."""
    keys: npt.NDArray[np.uint64]
    """A hash of each one's words: uint64 [documents]. Splits are dealt by it."""
    intake: Intake

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """UTF-8 bytes of each document: int64 [documents]."""
        return np.diff(self.offsets)

    def read(self, number: int) -> bytes:
        """Return one document's UTF-8 bytes."""
        return self.content[self.offsets[number] : self.offsets[number + 1]].tobytes()

    def blocks(
        self, numbers: npt.NDArray[np.int64], block_bytes: int
    ) -> Iterator[npt.NDArray[np.int64]]:
        """Cut ``numbers`` into consecutive groups of about ``block_bytes`` of text each."""
        group = np.cumsum(self.sizes[numbers]) // block_bytes
        yield from (
            part for part in np.split(numbers, np.flatnonzero(np.diff(group)) + 1) if len(part)
        )


def cut(text: bytes, limit: int = DOCUMENT_BYTES) -> Iterator[bytes]:
    """Cut UTF-8 text into pieces of at most ``limit`` bytes that join to the same text.

    The cut falls behind the last line end within the limit; in a line that is longer,
    behind its last space; failing that, between two characters.
    """
    start = 0
    while len(text) - start > limit:
        end = text.rfind(b"\n", start, start + limit) + 1
        if end <= start:
            end = text.rfind(b" ", start, start + limit) + 1
        if end <= start:
            end = start + limit
            while text[end] & 0xC0 == 0x80:  # inside a character
                end -= 1
        yield text[start:end]
        start = end
    yield text[start:]


def collect(
    texts: Iterable[str], path: Path, cap_bytes: int, progress: Progress = stay_silent
) -> Documents:
    """Write the documents of ``texts`` to ``path`` until ``cap_bytes`` are taken in.

    Documents that differ in white space only count as the same one: a copy with another
    indentation or other line ends would otherwise pass from ``train`` into ``val``.

    Args:
        texts: What a source gives, in its order. Blank text is passed over.
        path: The file to write.
        cap_bytes: The document that would go beyond it is left out, and the reading ends.
        progress: Told about every megabyte.
    """
    seen: set[bytes] = set()
    keys: list[int] = []
    ends = [0]
    duplicates = 0
    cap_reached = False
    told = 0
    with path.open("wb") as file:
        for document in (piece for text in texts for piece in cut(text.encode())):
            words = b" ".join(document.split())
            if not words:
                continue
            digest = hashlib.blake2b(words, digest_size=16).digest()
            if digest in seen:
                duplicates += 1
                continue
            if ends[-1] + len(document) > cap_bytes:
                cap_reached = True
                break
            seen.add(digest)
            keys.append(int.from_bytes(digest[:8], "little"))
            file.write(document)
            ends.append(ends[-1] + len(document))
            if ends[-1] - told >= _REPORT_BYTES:
                told = ends[-1]
                progress(f"reading text: {told / 1e6:.0f} MB", min(1.0, told / cap_bytes))
    content = np.memmap(path, dtype=np.uint8, mode="r") if ends[-1] else np.empty(0, np.uint8)
    return Documents(
        content=content,
        offsets=np.array(ends, dtype=np.int64),
        keys=np.array(keys, dtype=np.uint64),
        intake=Intake(
            documents=len(keys), bytes=ends[-1], duplicates=duplicates, cap_reached=cap_reached
        ),
    )
