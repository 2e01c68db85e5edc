"""Corpora as they come: every kind of file is read, or refused by its name; none is mistaken."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from nightlab.corpus.formats import check_parquet, texts_of
from nightlab.errors import CorpusError

ROWS = ["one", None, "two", ""]


def read(path: Path) -> list[str | None]:
    return list(texts_of(path))


def parquet(kind: pyarrow.DataType, rows: list[str | None] = ROWS) -> bytes:
    sink = pyarrow.BufferOutputStream()
    table = pyarrow.table({"id": range(len(rows)), "text": pyarrow.array(rows).cast(kind)})
    pyarrow.parquet.write_table(table, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


@pytest.mark.parametrize(
    "kind",
    [
        pyarrow.string(),
        pyarrow.large_string(),
        pyarrow.string_view(),
        pyarrow.dictionary(pyarrow.int32(), pyarrow.string()),
        pyarrow.dictionary(pyarrow.int8(), pyarrow.large_string()),
        pyarrow.dictionary(pyarrow.int32(), pyarrow.binary()),
        pyarrow.binary(),
        pyarrow.large_binary(),
    ],
    ids=str,
)
@pytest.mark.parametrize("ending", [".parquet", ".parq", ".PARQUET", ".parquet.gz"])
def test_strings_of_every_kind_are_read(
    tmp_path: Path, kind: pyarrow.DataType, ending: str
) -> None:
    content = parquet(kind)
    path = tmp_path / f"a{ending}"
    path.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    assert read(path) == ROWS
    check_parquet(path)


@pytest.mark.parametrize("kind", [pyarrow.int64(), pyarrow.list_(pyarrow.string())], ids=str)
def test_a_column_of_something_else_is_refused_with_what_it_is(
    tmp_path: Path, kind: pyarrow.DataType
) -> None:
    pyarrow.parquet.write_table(
        pyarrow.table({"text": pyarrow.array([None, None], kind)}), tmp_path / "a.parquet"
    )
    with pytest.raises(CorpusError, match=r"a\.parquet, found a column of (int64|list)"):
        read(tmp_path / "a.parquet")


def test_bytes_in_a_column_that_are_no_text_are_refused(tmp_path: Path) -> None:
    table = pyarrow.table({"text": pyarrow.array([b"fine", b"\xff"])})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(CorpusError, match="a part of it cannot be read"):
        read(tmp_path / "a.parquet")


LINES = "".join(json.dumps({"text": row, "id": 1}) + "\n" for row in ROWS)


@pytest.mark.parametrize("ending", [".jsonl", ".ndjson", ".JSONL", ".jsonlines", ".ldjson", ".jl"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("content", [LINES, "\ufeff" + LINES, LINES.replace("\n", "\r\n\r\n")])
def test_json_lines_go_by_several_names(
    tmp_path: Path, ending: str, packed: bool, content: str
) -> None:
    path = tmp_path / f"a{ending}{'.gz' if packed else ''}"
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    assert read(path) == ROWS


@pytest.mark.parametrize("name", ["a.txt.gz", "README.gz", "a.md.GZ"])
def test_text_in_gzip_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress("Grüße\n".encode()))
    assert read(tmp_path / name) == ["Grüße\n"]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def damaged(content: bytes) -> bytes:
    return content[:12] + b"\xff" * 20 + content[32:]


@pytest.mark.parametrize("name", ["a.txt.gz", "a.jsonl.gz", "a.parquet.gz"])
@pytest.mark.parametrize("fault", [cut, damaged, lambda _: b"no gzip at all"])
def test_gzip_that_is_none_is_named(
    tmp_path: Path, name: str, fault: Callable[[bytes], bytes]
) -> None:
    rows = [f"{number} {number * 7919}" for number in range(500)]
    lines = "".join(json.dumps({"text": row}) + "\n" for row in rows).encode()
    content = parquet(pyarrow.string(), rows) if "parquet" in name else lines
    (tmp_path / name).write_bytes(fault(gzip.compress(content)))
    with pytest.raises(CorpusError, match=rf"gzip files .*, and .*{name} is not one"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    "name",
    ["a.json", "a.csv", "a.TSV", "a.xml", "a.yaml", "a.ipynb", "a.json.gz", "a.csv.GZ", "a.arrow"],
)
def test_data_is_never_taken_for_text(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text('{"text": "a"}')
    with pytest.raises(CorpusError) as refusal:
        read(tmp_path / name)
    assert str(tmp_path / name) in str(refusal.value)
    assert ".jsonl file, or rename it to .txt" in str(refusal.value)


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tgz", "a.jsonl.zst", "a.txt.xz"])
def test_an_archive_is_to_be_unpacked(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(CorpusError, match="unpack it"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["LICENSE", "a.rst", "chapter.1", "json", "csv.txt", "a.html"])
def test_other_names_are_plain_text(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("text")
    assert read(tmp_path / name) == ["text"]
