"""Where text comes from, and how a person names it."""

from collections.abc import Generator
from pathlib import Path
from typing import Protocol

from pydantic import Field

from nightlab.corpus.climbmix import ClimbmixSource
from nightlab.corpus.documents import Progress
from nightlab.corpus.embedded import EmbeddedSource
from nightlab.corpus.files import FolderSource
from nightlab.errors import CorpusError
from nightlab.records import Frozen


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

    @property
    def split_tokens(self) -> int:
        """Tokens that val and holdout must hold: each row scored needs one token more."""
        rows = -(-self.evaluation_tokens // self.sequence_length)
        return rows * (self.sequence_length + 1)


class Source(Protocol):
    """Gives the text of a corpus."""

    def identity(self) -> str:
        """Return what tells this text from another one: found out fast, offline if possible."""

    def texts(self, progress: Progress) -> Generator[str, None, None]:
        """Yield texts, in the same order every time; the taker stops when it has enough."""

    def origins(self) -> tuple[str, ...]:
        """Return what the text came from, one line each, for the manifest."""


def find_source(request: CorpusRequest, cache: Path) -> Source:
    """Return the source that the request names.

    Raises:
        CorpusError: there is none of that name, or what it names is not there.
    """
    kind, _, place = request.source.partition(":")
    if request.source == "embedded":
        return EmbeddedSource()
    if kind == "path" and place:
        return FolderSource(Path(place).expanduser().resolve())
    if request.source == "climbmix" or (kind == "climbmix" and place):
        return ClimbmixSource(place or None, cache / "shards")
    raise CorpusError(
        "a corpus is 'embedded', 'path:DIR', 'climbmix' or 'climbmix:URL', found "
        f"{request.source!r}: correct --corpus."
    )
