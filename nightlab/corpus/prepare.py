"""Preparing a corpus: once for each request and content, whole or not at all.

A corpus is built in a folder of its own beside its final place and renamed when it is
complete; a file lock keeps two preparers of the same corpus apart. What a killed preparer
left behind is swept by the next one.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tiktoken
from filelock import FileLock, Timeout

from nightlab import events
from nightlab.corpus import overlap
from nightlab.corpus.documents import Documents, Progress, collect, stay_silent
from nightlab.corpus.folder import (
    MANIFEST_FILE,
    SCHEMA_VERSION,
    TOKEN_BYTES_FILE,
    TOKENIZER_FILE,
    Corpus,
    Manifest,
    Overlap,
    SplitSize,
    fingerprint,
    open_corpus,
)
from nightlab.corpus.sources import BYTES_PER_TOKEN, CorpusRequest, Source, find_source
from nightlab.corpus.splits import SPLITS, Division, divide
from nightlab.corpus.tokenizer import (
    TRAINING_BYTES,
    bos_token,
    byte_lengths,
    encode,
    save_tokenizer,
    train_tokenizer,
)
from nightlab.errors import CorpusError, MachineryError
from nightlab.shown import for_terminal

_BUILDING = ".building"
_LOCK = ".lock"
_TEXT_FILE = "documents.txt"
_BLOCK_BYTES = 1_000_000


def prepare_corpus(request: CorpusRequest, cache: Path, progress: Progress = stay_silent) -> Corpus:
    """Return the corpus of the request, prepared now unless it stands already.

    Args:
        request: What it shall be.
        cache: The cache's folder; corpora go to ``cache/corpora``.
        progress: Told a sentence, and the share 0..1 of that step where it is known.

    Raises:
        CorpusError: it cannot be built from what was given; nothing of it stays behind.
    """
    source = find_source(request, cache)
    standing = _standing(request, source, cache / "corpora")
    if standing is not None:
        return standing
    folder = cache / "corpora" / _key(request, source)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        with _alone(folder, progress):
            if not folder.exists():
                _build(request, source, folder, progress)
    except OSError as error:
        raise CorpusError(
            f"preparing the corpus needs to write in {cache}, and the system refused ({error}): "
            "make room or give access there, or set NIGHTLAB_CACHE to another folder."
        ) from error
    return open_corpus(folder)


def _standing(request: CorpusRequest, source: Source, corpora: Path) -> Corpus | None:
    """Return the corpus if it is prepared; a study's own one even if its source has changed since.

    An upgrade of a package changes the embedded text, and a study must not end by that.
    """
    earlier = find_corpus(corpora.parent, request.begun_on) if request.begun_on else None
    try:
        folder = corpora / _key(request, source)
        corpus = open_corpus(folder) if folder.exists() else None
    except CorpusError:
        if earlier is None:
            raise
        corpus = None
    if earlier is None or (corpus is not None and corpus.fingerprint == request.begun_on):
        return corpus
    text = (
        f"The text of the corpus {request.source!r} is not what it was when the study began (an "
        "upgrade of packages changes the embedded one): the study goes on with the text that it "
        "began with, which lies in the cache."
    )
    events.publish(events.Notice(text=for_terminal(text)))
    return earlier


def find_corpus(cache: Path, wanted: str) -> Corpus | None:
    """Find a prepared corpus in the cache by its fingerprint.

    Raises:
        CorpusError: it is there, and damaged.
    """
    for path in sorted((cache / "corpora").glob(f"*/{MANIFEST_FILE}")):
        is_whole = path.parent.suffix != _BUILDING
        # Of the many corpora that may lie here, only the one that is meant is opened and checked.
        if is_whole and f'"fingerprint": "{wanted}"' in path.read_text(encoding="utf-8"):
            return open_corpus(path.parent)
    return None


def _key(request: CorpusRequest, source: Source) -> str:
    """Name a corpus by what it is made from, so that the same one is found again."""
    made_from = f"{SCHEMA_VERSION}\n{request.model_dump_json()}\n{source.identity()}"
    kind = request.source.partition(":")[0]
    digest = hashlib.sha256(made_from.encode(errors="surrogateescape")).hexdigest()
    return f"{kind}-{digest[:16]}"


@contextmanager
def _alone(folder: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock of one corpus; the system frees it when its holder dies."""
    lock = FileLock(folder.with_name(folder.name + _LOCK))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress("waiting for another session that is preparing the same corpus", None)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _sweep(corpora: Path) -> None:
    """Remove what killed preparers left: building folders that nobody holds the lock of."""
    for building in corpora.glob(f"*{_BUILDING}"):
        lock = FileLock(building.with_name(building.name.removesuffix(_BUILDING) + _LOCK))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        try:
            shutil.rmtree(building, ignore_errors=True)
        finally:
            lock.release()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dealt:
    """Documents dealt out, and the tokenizer learnt from those of train."""

    division: Division
    encoding: tiktoken.Encoding


def _build(request: CorpusRequest, source: Source, folder: Path, progress: Progress) -> None:
    """Build the corpus beside ``folder`` and rename it to that when it is complete."""
    building = folder.with_name(folder.name + _BUILDING)
    shutil.rmtree(building, ignore_errors=True)  # of one that was killed while we waited
    building.mkdir()
    try:
        text_path = building / _TEXT_FILE
        with closing(source.texts(progress)) as texts:
            documents = collect(texts, text_path, request.megabytes * 10**6, progress)
        dealt = _deal(documents, request, progress)
        manifest = _write(building, request, source, documents, dealt, progress)
        (building / MANIFEST_FILE).write_text(
            manifest.model_dump_json(indent=1) + "\n", encoding="utf-8"
        )
        text_path.unlink()
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _deal(documents: Documents, request: CorpusRequest, progress: Progress) -> _Dealt:
    """Deal the documents out so that val and holdout hold the tokens asked for.

    How many tokens a text makes is known only after the tokenizer was learnt from train,
    which is what val leaves: where the assumed length of a token was too short, the
    documents are dealt again with twice as much text, until that no longer suffices.
    """
    bytes_per_token = BYTES_PER_TOKEN
    while True:
        division = divide(documents, int(request.split_tokens * bytes_per_token), progress)
        progress("learning the tokenizer", None)
        encoding = train_tokenizer(_training_texts(documents, division), request.vocab_size)
        if all(
            _token_count(documents, division.split(name), encoding) >= request.split_tokens
            for name in ("val", "holdout")
        ):
            return _Dealt(division=division, encoding=encoding)
        bytes_per_token *= 2


def _training_texts(documents: Documents, division: Division) -> Iterator[str]:
    """Yield every n-th document of train, so that a sample of all stays within bounds."""
    size = int(documents.sizes[division.train].sum())
    for number in division.train[:: -(-size // TRAINING_BYTES)]:
        yield documents.read(number).decode()


def _token_count(
    documents: Documents, numbers: npt.NDArray[np.int64], encoding: tiktoken.Encoding
) -> int:
    return sum(
        len(encode(encoding, [documents.read(number) for number in block]))
        for block in documents.blocks(numbers, _BLOCK_BYTES)
    )


def _write(
    building: Path,
    request: CorpusRequest,
    source: Source,
    documents: Documents,
    dealt: _Dealt,
    progress: Progress,
) -> Manifest:
    """Write every file but the manifest, and return that."""
    lengths = byte_lengths(dealt.encoding)
    lengths.tofile(building / TOKEN_BYTES_FILE)
    save_tokenizer(dealt.encoding, building / TOKENIZER_FILE)
    sizes = {
        name: _write_split(
            building / f"{name}.bin",
            documents,
            dealt.division.split(name),
            dealt.encoding,
            progress,
        )
        for name in SPLITS
    }
    return Manifest(
        fingerprint=fingerprint(building),
        source=request.source,
        vocab_size=dealt.encoding.n_vocab,
        bos_token=bos_token(dealt.encoding),
        sequence_length=request.sequence_length,
        evaluation_tokens=request.evaluation_tokens,
        splits=sizes,
        intake=documents.intake,
        overlap=Overlap(
            shingle_words=overlap.SHINGLE_WORDS,
            common_documents=overlap.COMMON_DOCUMENTS,
            rare_share=overlap.RARE_SHARE,
            whole_share=overlap.WHOLE_SHARE,
            dropped_train_documents=dealt.division.dropped_train,
            dropped_train_bytes=dealt.division.dropped_train_bytes,
            dropped_holdout_documents=dealt.division.dropped_holdout,
        ),
        origins=source.origins(),
    )


def _write_split(
    path: Path,
    documents: Documents,
    numbers: npt.NDArray[np.int64],
    encoding: tiktoken.Encoding,
    progress: Progress,
) -> SplitSize:
    """Tokenise the documents in their order, several blocks at a time, into one file."""
    lengths = byte_lengths(encoding)

    def tokens_of(block: npt.NDArray[np.int64]) -> npt.NDArray[np.uint16]:
        return encode(encoding, [documents.read(number) for number in block])

    text_bytes = int(documents.sizes[numbers].sum())
    token_count = byte_count = 0
    blocks = list(documents.blocks(numbers, _BLOCK_BYTES))
    with ThreadPoolExecutor(os.cpu_count()) as pool, path.open("wb") as file:
        for tokens in pool.map(tokens_of, blocks):
            tokens.tofile(file)
            token_count += len(tokens)
            byte_count += int(lengths[tokens].sum(dtype=np.int64))
            progress(f"writing the tokens of {path.stem}", byte_count / text_bytes)
    if byte_count != text_bytes:
        raise MachineryError(
            f"the tokens of {path.stem} must cover its {text_bytes} bytes of text, and they cover "
            f"{byte_count}: this is a fault in nightlab/corpus/tokenizer.py, report it."
        )
    return SplitSize(documents=len(numbers), tokens=token_count, bytes=byte_count)
