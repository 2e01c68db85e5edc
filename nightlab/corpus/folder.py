"""A prepared corpus on disk.

train.bin  val.bin  holdout.bin   tokens, uint16 little-endian; BOS before each document
token_bytes.bin                   UTF-8 bytes that each token covers, uint16; 0 for BOS
tokenizer.json                    the tokenizer, enough to rebuild it offline
manifest.json                     what it was made of, and the fingerprint of all above
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import tiktoken
from pydantic import Field, ValidationError

from nightlab.corpus.documents import Intake
from nightlab.corpus.splits import SPLITS
from nightlab.corpus.tokenizer import load_tokenizer
from nightlab.errors import CorpusError
from nightlab.records import Frozen
from nightlab.records.counting import counted

SCHEMA_VERSION: Final = 1
MANIFEST_FILE = "manifest.json"
TOKENIZER_FILE = "tokenizer.json"
TOKEN_BYTES_FILE = "token_bytes.bin"
TOKEN_DTYPE = np.dtype("<u2")


class SplitSize(Frozen):
    """How much a split holds. ``tokens`` counts BOS, ``bytes`` is UTF-8 text alone."""

    documents: int
    tokens: int
    bytes: int


class Overlap(Frozen):
    """What was dropped because it resembles an evaluation split, and by which rule."""

    shingle_words: int
    common_documents: int
    rare_share: float
    whole_share: float
    dropped_train_documents: int
    """Dropped from train for overlap with val or holdout."""
    dropped_train_bytes: int
    dropped_holdout_documents: int
    """Dropped from holdout for overlap with val."""


class Manifest(Frozen):
    """What a corpus is and was made of."""

    schema_version: Literal[1] = SCHEMA_VERSION
    fingerprint: str
    """SHA-256 over the splits, the byte lengths and the tokenizer, in hexadecimal."""
    source: str
    vocab_size: int = Field(gt=256, lt=65_536)
    """BOS counted in."""
    bos_token: int
    """The last token id."""
    sequence_length: int
    evaluation_tokens: int
    splits: dict[str, SplitSize]
    intake: Intake
    overlap: Overlap
    origins: tuple[str, ...]
    """One line for each distribution, folder or shard that text came from, with its hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """A prepared corpus. Its files are never changed once they stand."""

    folder: Path
    manifest: Manifest

    @property
    def fingerprint(self) -> str:
        """Identity of the content; a study refuses a corpus with another one."""
        return self.manifest.fingerprint

    @property
    def vocab_size(self) -> int:
        """Number of token ids, BOS counted in."""
        return self.manifest.vocab_size

    def path(self, split: str) -> Path:
        """Return the file of ``train``, ``val`` or ``holdout``.

        Raises:
            CorpusError: there is no such split.
        """
        if split not in SPLITS:
            raise CorpusError(f"a split is one of {', '.join(SPLITS)}, found {split!r}.")
        return self.folder / f"{split}.bin"

    def tokens(self, split: str) -> "np.memmap[tuple[int], np.dtype[np.uint16]]":
        """Return a split's tokens, memory-mapped and read-only: uint16 [tokens]."""
        return np.memmap(self.path(split), dtype=TOKEN_DTYPE, mode="r")

    def token_bytes(self) -> npt.NDArray[np.uint16]:
        """Return the UTF-8 bytes that each token covers: uint16 [vocab], 0 for BOS."""
        return np.fromfile(self.folder / TOKEN_BYTES_FILE, dtype=TOKEN_DTYPE)

    def tokenizer(self) -> tiktoken.Encoding:
        """Rebuild the tokenizer, offline."""
        return load_tokenizer(self.folder / TOKENIZER_FILE)


def open_corpus(folder: Path) -> Corpus:
    """Open a prepared corpus; its manifest and the sizes of its files are checked.

    Raises:
        CorpusError: the folder does not hold a whole corpus of this version.
    """
    remedy = "delete that folder; the next session prepares it again."
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
    except OSError as error:
        raise CorpusError(
            f"a corpus needs {MANIFEST_FILE} in {folder}, and it cannot be read "
            f"({error.strerror}): {remedy}"
        ) from error
    except ValidationError as error:
        raise CorpusError(
            f"the corpus in {folder} needs a manifest of version {SCHEMA_VERSION}, found one with "
            f"{counted(error.error_count(), 'field that does', 'fields that do')} not fit: {remedy}"
        ) from error
    corpus = Corpus(folder=folder, manifest=manifest)
    needed = {corpus.path(name): 2 * size.tokens for name, size in manifest.splits.items()}
    needed[folder / TOKEN_BYTES_FILE] = 2 * manifest.vocab_size
    for path, size in needed.items():
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            raise CorpusError(
                f"the corpus needs {path} with {size} bytes, found "
                f"{'no such file' if found is None else found}: {remedy}"
            )
    return corpus


def fingerprint(folder: Path) -> str:
    """Hash the content of a corpus: SHA-256 over its files' names, sizes and bytes."""
    digest = hashlib.sha256()
    for name in (*(f"{split}.bin" for split in SPLITS), TOKEN_BYTES_FILE, TOKENIZER_FILE):
        path = folder / name
        digest.update(f"{name} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
