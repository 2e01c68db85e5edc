"""How texts stand in one file: plain UTF-8, JSON lines or Parquet, each of them also in gzip."""

import gzip
import io
import json
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from nightlab.errors import CorpusError

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.parquet import ParquetFile

TEXT_FIELD = "text"
READABLE = ".txt .md .py or other UTF-8 text, .jsonl, .ndjson, .parquet; each also as .gz"
_PARQUET_ROWS = 1024
_GZIP_FAULTS = (gzip.BadGzipFile, EOFError, zlib.error)


class Format(StrEnum):
    """What is in a file, by its ending."""

    PLAIN = "plain text"
    LINES = "JSON lines"
    PARQUET = "Parquet"


_FORMATS = {
    **dict.fromkeys((".jsonl", ".ndjson", ".jsonlines", ".ldjson", ".jl"), Format.LINES),
    **dict.fromkeys((".parquet", ".parq", ".pq"), Format.PARQUET),
}
# Data rather than text: a model would learn their commas and quotes.
_RECORDS = frozenset({".json", ".json5", ".geojson", ".ipynb", ".xml", ".yaml", ".yml"})
_TABLES = frozenset({".csv", ".tsv", ".tab", ".psv", ".xls", ".xlsx", ".ods", ".db", ".sqlite"})
_COLUMNS = frozenset({".arrow", ".feather", ".ipc", ".avro", ".orc", ".h5", ".hdf5", ".tfrecord"})
_ARRAYS = frozenset({".npy", ".npz", ".pkl", ".pickle", ".pt", ".safetensors", ".msgpack"})
_PAGES = frozenset({".pdf", ".doc", ".docx", ".odt", ".rtf", ".epub"})
_DATA = _RECORDS | _TABLES | _COLUMNS | _ARRAYS | _PAGES
_PACKED = frozenset({".zip", ".tar", ".tgz", ".bz2", ".xz", ".lzma", ".zst", ".lz4", ".7z", ".rar"})


def ending_of(path: Path) -> str:
    """The ending that tells the format: in lower case, of what is in a ``.gz``."""
    inner = path.with_suffix("") if is_compressed(path) else path
    return inner.suffix.lower()


def format_of(path: Path) -> Format:
    """Tell how a file is to be read.

    Raises:
        CorpusError: its ending is that of data or of an archive, which is no text.
    """
    ending = ending_of(path)
    if ending in _DATA | _PACKED:
        remedy = (
            "unpack it"
            if ending in _PACKED
            else f'write its texts as lines {{"{TEXT_FIELD}": …}} of a .jsonl file, or rename it '
            "to .txt if it is meant as plain text"
        )
        raise CorpusError(
            f"a corpus is read from text ({READABLE}), and {path} is {ending} data: {remedy}, or "
            "move it out of the folder."
        )
    return _FORMATS.get(ending, Format.PLAIN)


def texts_of(path: Path) -> Generator[str | None, None, None]:
    """Yield a file's texts; None for each row whose text is null.

    Raises:
        CorpusError: the file is not what its ending says, or cannot be read.
    """
    read = {
        Format.PLAIN: _plain_text,
        Format.LINES: _jsonl_texts,
        Format.PARQUET: parquet_texts,
    }[format_of(path)]
    try:
        yield from read(path)
    except _GZIP_FAULTS as error:
        raise CorpusError(
            f"the corpus needs whole gzip files where they end in .gz, and {path} is not one "
            f"({error}): replace or remove it."
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error


def check_parquet(path: Path) -> None:
    """Read a Parquet file's footer.

    Raises:
        CorpusError: the file is not Parquet, is cut short, or has no column of texts.
    """
    with _parquet(path):
        pass


def parquet_texts(path: Path) -> Generator[str | None, None, None]:
    """Yield the column ``text`` of a Parquet file."""
    import pyarrow

    with _parquet(path) as file:
        try:
            for batch in file.iter_batches(_PARQUET_ROWS, columns=[TEXT_FIELD]):
                # The cast takes dictionaries and views apart, and checks bytes for UTF-8.
                yield from batch.column(0).cast(pyarrow.large_string()).to_pylist()
        except (OSError, UnicodeDecodeError, pyarrow.ArrowException) as error:
            raise CorpusError(
                f"the corpus needs text in {path}, and a part of it cannot be read ({error}): "
                "replace or remove the file."
            ) from error


def unreadable(path: Path, error: OSError) -> CorpusError:
    """The sentence on what the system refused to read."""
    return CorpusError(
        f"the corpus needs to read {path}, and the system refused ({error.strerror}): "
        "make it readable, or move it out of the folder."
    )


@contextmanager
def _parquet(path: Path) -> "Iterator[ParquetFile]":
    import pyarrow
    from pyarrow.parquet import ParquetFile

    # Opened here and not by pyarrow, which takes no name that is not UTF-8.
    with _opened(path) as content:
        try:
            file = ParquetFile(io.BytesIO(content.read()) if is_compressed(path) else content)
        except (OSError, pyarrow.ArrowException) as error:
            if isinstance(error, _GZIP_FAULTS):
                raise
            raise CorpusError(
                f"the corpus needs whole Parquet files, and {path} is not one ({error}): "
                "replace or remove it."
            ) from error
        _require_texts(path, file.schema_arrow)
        yield file


def _require_texts(path: Path, schema: "pyarrow.Schema") -> None:
    from pyarrow import types

    found = f"the columns {', '.join(schema.names) or '(none)'}"
    if schema.names.count(TEXT_FIELD) == 1:
        kind = schema.field(TEXT_FIELD).type
        plain = kind.value_type if types.is_dictionary(kind) else kind
        strings = (types.is_string, types.is_large_string, types.is_string_view)
        # Some writers leave out that a column of bytes is text.
        as_bytes = (types.is_binary, types.is_large_binary, types.is_binary_view)
        if any(is_one(plain) for is_one in (*strings, *as_bytes)):
            return
        found = f"a column of {kind}"
    raise CorpusError(
        f"the corpus needs a column {TEXT_FIELD!r} of strings in {path}, found {found}: give it "
        "one, or remove the file."
    )


def _plain_text(path: Path) -> Iterator[str]:
    with _opened(path) as file:
        content = file.read()
    try:
        yield content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"the corpus needs text in UTF-8, and {path} is something else at byte {error.start} "
            f"(0x{content[error.start]:02x}): convert the file to UTF-8, or move it out of the "
            "folder."
        ) from error


def _jsonl_texts(path: Path) -> Iterator[str | None]:
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield _jsonl_text(path, number, line)


def _jsonl_text(path: Path, number: int, line: bytes) -> str | None:
    needed = f"the corpus needs JSON objects with a string field {TEXT_FIELD!r}, one a line"
    try:
        found: Any = json.loads(line.decode("utf-8").removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{needed}, in UTF-8, and {path} is something else at byte {error.start} of line "
            f"{number}: correct or remove the line."
        ) from error
    except (ValueError, RecursionError) as error:
        raise CorpusError(
            f"{needed}, and line {number} of {path} is not JSON ({error}): correct or remove it."
        ) from error
    if isinstance(found, dict) and TEXT_FIELD in found and found[TEXT_FIELD] is None:
        return None
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


def _opened(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if is_compressed(path) else path.open("rb")


def is_compressed(path: Path) -> bool:
    """Whether a file is in gzip, by its ending."""
    return path.suffix.lower() == ".gz"
