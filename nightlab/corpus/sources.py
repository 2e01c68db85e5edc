"""Where text comes from, and how a person names it."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Protocol

from pydantic import Field

from nightlab.corpus.climbmix import ClimbmixSource
from nightlab.corpus.documents import Progress
from nightlab.corpus.embedded import EmbeddedSource
from nightlab.corpus.files import FolderSource
from nightlab.corpus.splits import QUOTAS_NEEDED
from nightlab.errors import CorpusError
from nightlab.machine.folders import at_home
from nightlab.records import Frozen

BYTES_PER_TOKEN = 6.0
"""Assumed at first; ample for every text and vocabulary seen (2.9 to 4.9)."""


class CorpusRequest(Frozen):
    """What a corpus shall be."""

    source: str
    """``embedded``, ``path:DIR``, ``climbmix`` or ``climbmix:URL``."""
    vocab_size: int = Field(ge=258, lt=65_536)
    """BOS counted in. Tokens are stored as uint16."""
    megabytes: int = Field(gt=0)
    """Cap on the text taken in, in 10^6 bytes of UTF-8."""
    sequence_length: int = Field(gt=0)
    evaluation_tokens: int = Field(gt=0)
    """Tokens that one evaluation scores: val and holdout hold at least as many, each."""
    root: Path | None = Field(None, exclude=True)
    """Where a relative ``path:DIR`` begins; None for the working directory."""
    begun_on: str | None = Field(None, exclude=True)
    """Fingerprint that the study's scores rest on; None for a study that begins."""

    @property
    def split_tokens(self) -> int:
        """Tokens that val and holdout must hold: each row scored needs one token more."""
        rows = -(-self.evaluation_tokens // self.sequence_length)
        return rows * (self.sequence_length + 1)

    @property
    def needed_bytes(self) -> int:
        """UTF-8 bytes of text that its splits need at least."""
        return QUOTAS_NEEDED * int(self.split_tokens * BYTES_PER_TOKEN)


class Source(Protocol):
    """Gives the text of a corpus."""

    def identity(self) -> str:
        """Return what tells this text from another one: found out fast, offline if possible."""

    def texts(self, progress: Progress) -> Generator[str, None, None]:
        """Yield texts, in the same order every time; the taker stops when it has enough."""

    def origins(self) -> tuple[str, ...]:
        """Return what the text came from, one line each, for the manifest."""

    def sizes(self) -> Iterator[int] | None:
        """Give the most UTF-8 bytes that each file can hold, unread; None where nobody knows."""


def find_source(request: CorpusRequest, cache: Path) -> Source:
    """Return the source that the request names.

    Raises:
        CorpusError: there is none of that name, or what it names is not there.
    """
    kind, _, place = request.source.partition(":")
    if request.source == "embedded":
        return EmbeddedSource()
    if kind == "path" and place:
        folder = at_home(place)
        if folder is None:
            raise CorpusError(
                f"the corpus 'path:{place}' needs a home folder, and this system knows none of "
                "that name: name the folder in full."
            )
        return FolderSource(((request.root or Path.cwd()) / folder).resolve())
    if request.source == "climbmix" or (kind == "climbmix" and place):
        return ClimbmixSource(place or None, cache / "shards")
    raise CorpusError(
        "a corpus is 'embedded', 'path:DIR', 'climbmix' or 'climbmix:URL', found "
        f"{request.source!r}: correct --corpus."
    )


def text_at_most(request: CorpusRequest, cache: Path) -> int | None:
    """UTF-8 bytes of text that the source has at most, found out fast and without reading it.

    Counting ends where there is enough for the request, or its cap is reached.

    Returns:
        None where that can be known only by fetching or reading all of it.

    Raises:
        CorpusError: there is no such source, or what it names is not there.
    """
    sizes = find_source(request, cache).sizes()
    if sizes is None:
        return None
    found = 0
    for size in sizes:
        found += size
        if found >= request.needed_bytes:
            break
    return min(found, request.megabytes * 10**6)
