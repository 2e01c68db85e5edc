"""Text from files: plain text in UTF-8, JSON lines and Parquet with a column ``text``."""

import hashlib
import json
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightlab.corpus.documents import Progress
from nightlab.errors import CorpusError

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

TEXT_FIELD = "text"
_PARQUET_ROWS = 1024


@dataclass(frozen=True)  # no slots: a cached property needs a __dict__
class FolderSource:
    """The files under a folder, read by their ending.

    ``.jsonl``: one JSON object a line, its field ``text``. ``.parquet``: the column
    ``text``. All others are plain text in UTF-8. Files and folders whose names begin
    with a dot are passed over.
    """

    folder: Path

    def identity(self) -> str:
        """Return a hash over the names and contents of all files; reads them once, whole."""
        return self._summary

    def origins(self) -> tuple[str, ...]:
        """Return one line for the whole folder, which may hold very many files."""
        return (self._summary,)

    @cached_property
    def _summary(self) -> str:
        files = self._files()
        summary = hashlib.sha256()
        for path in files:
            try:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise _unreadable(path, error) from error
            summary.update(self._name(path) + f" {digest}\n".encode())
        return f"{len(files)} files, names and contents sha256 {summary.hexdigest()}"

    def sizes(self) -> Iterator[int] | None:
        """Give the size of every file; of Parquet, which is compressed, only reading tells."""
        files = self._files()
        if any(path.suffix.lower() == ".parquet" for path in files):
            return None
        return (path.stat().st_size for path in files)

    def texts(self, progress: Progress) -> Generator[str, None, None]:
        """Yield the files' texts, in an order that mixes the sub-folders (hash of the name)."""

        def place(path: Path) -> bytes:
            return hashlib.blake2b(self._name(path), digest_size=16).digest()

        for path in sorted(self._files(), key=place):
            match path.suffix.lower():
                case ".parquet":
                    yield from parquet_texts(path)
                case ".jsonl":
                    yield from _jsonl_texts(path)
                case _:
                    yield _plain_text(path)

    def _name(self, path: Path) -> bytes:
        return os.fsencode(path.relative_to(self.folder).as_posix())

    def _files(self) -> list[Path]:
        if not self.folder.is_dir():
            raise CorpusError(
                f"the corpus 'path:{self.folder}' needs a folder with text files, and there is "
                "no such folder: correct --corpus."
            )
        files = sorted(
            path
            for path in self.folder.rglob("*")
            if path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(self.folder).parts)
        )
        if not files:
            raise CorpusError(
                f"the corpus 'path:{self.folder}' needs text files (.txt .md .py .jsonl .parquet "
                "or other UTF-8 text), found none: put some there, or correct --corpus."
            )
        return files


def open_parquet(path: Path) -> "ParquetFile":
    """Open a Parquet file, its footer read, its column ``text`` of strings present.

    Raises:
        CorpusError: the file is not Parquet, is cut short, or has no such column.
    """
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        file = ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise CorpusError(
            f"the corpus needs whole Parquet files, and {path} is not one ({error}): "
            "replace or remove it."
        ) from error
    names = file.schema_arrow.names
    kind = file.schema_arrow.field(TEXT_FIELD).type if names.count(TEXT_FIELD) == 1 else None
    if kind not in (pyarrow.string(), pyarrow.large_string(), pyarrow.string_view()):
        file.close()
        raise CorpusError(
            f"the corpus needs a column {TEXT_FIELD!r} of strings in {path}, found the columns "
            f"{', '.join(names) or '(none)'}: rename the column, or remove the file."
        )
    return file


def parquet_texts(path: Path) -> Iterator[str]:
    """Yield the column ``text`` of a Parquet file; empty fields are passed over."""
    import pyarrow

    with open_parquet(path) as file:
        try:
            for batch in file.iter_batches(_PARQUET_ROWS, columns=[TEXT_FIELD]):
                yield from (text for text in batch.column(0).to_pylist() if text)
        except (OSError, UnicodeDecodeError, pyarrow.ArrowException) as error:
            raise CorpusError(
                f"the corpus needs text in {path}, and a part of it cannot be read ({error}): "
                "replace or remove the file."
            ) from error


def _plain_text(path: Path) -> str:
    try:
        content = path.read_bytes()
        return content.decode("utf-8").removeprefix("\ufeff")
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"the corpus needs text in UTF-8, and {path} is something else at byte {error.start} "
            f"(0x{content[error.start]:02x}): convert the file to UTF-8, or move it out of the "
            "folder."
        ) from error


def _jsonl_texts(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _jsonl_text(path, number, line)
    except OSError as error:
        raise _unreadable(path, error) from error


def _jsonl_text(path: Path, number: int, line: bytes) -> str:
    needed = f"the corpus needs JSON objects with a string field {TEXT_FIELD!r}, one a line"
    try:
        found: Any = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{needed}, in UTF-8, and {path} is something else at byte {error.start} of line "
            f"{number}: correct or remove the line."
        ) from error
    except ValueError as error:
        raise CorpusError(
            f"{needed}, and line {number} of {path} is not JSON ({error}): correct or remove it."
        ) from error
    text = found.get(TEXT_FIELD) if isinstance(found, dict) else None
    if not isinstance(text, str):
        raise CorpusError(
            f"{needed}, and line {number} of {path} has none: correct or remove the line."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(
            f"{needed}, and line {number} of {path} holds half of a surrogate pair "
            f"(character {error.start} of the field): correct or remove the line."
        ) from error
    return text


def _unreadable(path: Path, error: OSError) -> CorpusError:
    return CorpusError(
        f"the corpus needs to read {path}, and the system refused ({error.strerror}): "
        "make the file readable, or move it out of the folder."
    )
