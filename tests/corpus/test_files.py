import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from nightlab.corpus.documents import stay_silent
from nightlab.corpus.files import FolderSource
from nightlab.errors import CorpusError


def texts(folder: Path) -> list[str]:
    return list(FolderSource(folder).texts(stay_silent))


def test_all_kinds_of_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfplain")
    (tmp_path / "deep" / "b.rst").write_text("в глубине", encoding="utf-8")
    (tmp_path / "noending").write_text("no ending")
    (tmp_path / "c.jsonl").write_text('{"text": "one", "id": 1}\n\n{"text": "two"}\n')
    table = pyarrow.table({"text": ["three", None, "four"]})
    pyarrow.parquet.write_table(table, tmp_path / "d.parquet")
    expected = ["four", "no ending", "one", "plain", "three", "two", "в глубине"]
    assert sorted(texts(tmp_path)) == expected
    assert texts(tmp_path) == texts(tmp_path)


def test_dot_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "index").write_bytes(b"\xff\xfe")
    (tmp_path / ".DS_Store").write_bytes(b"\x80")
    (tmp_path / "a.md").write_text("text")
    assert texts(tmp_path) == ["text"]


def test_identity_follows_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("text")
    first = FolderSource(tmp_path).identity()
    assert FolderSource(tmp_path).identity() == first
    (tmp_path / "a.md").write_text("tex2")
    second = FolderSource(tmp_path).identity()
    (tmp_path / "a.md").rename(tmp_path / "b.md")
    assert len({first, second, FolderSource(tmp_path).identity()}) == 3


def test_a_byte_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("un garçon".encode("latin-1"))
    with pytest.raises(CorpusError, match=r"latin\.txt .* byte 6 \(0xe7\)"):
        texts(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "cut', r"line 2 of .*c\.jsonl is not JSON"),
        (b'{"body": "x"}', r"line 2 of .*c\.jsonl has none"),
        (b'["text"]', r"line 2 of .*c\.jsonl has none"),
        (b'{"text": 3}', r"line 2 of .*c\.jsonl has none"),
        (b'{"text": "\xff"}', r"byte 10 of line 2"),
        (json.dumps({"text": "ab\ud800"}).encode(), r"line 2 .*character 2"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    (tmp_path / "c.jsonl").write_bytes(b'{"text": "fine"}\n' + line + b"\n")
    with pytest.raises(CorpusError, match=message):
        texts(tmp_path)


def test_parquet_without_a_text_column_lists_its_columns(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"body": ["x"], "n": [1]}), tmp_path / "d.parquet")
    with pytest.raises(CorpusError, match=r"d\.parquet, found the columns body, n"):
        texts(tmp_path)


def test_a_text_column_of_numbers_is_refused(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pyarrow.table({"text": [1, 2]}), tmp_path / "d.parquet")
    with pytest.raises(CorpusError, match="column 'text' of strings"):
        texts(tmp_path)


def test_a_cut_parquet_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": ["x" * 1000]}), path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorpusError, match=r"whole Parquet files, and .*d\.parquet is not one"):
        texts(tmp_path)


def test_parquet_with_damaged_pages_is_named(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": [f"text {n}" for n in range(2000)]}), path)
    content = bytearray(path.read_bytes())
    content[4:600] = b"\xff" * 596
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=r"d\.parquet, and a part of it cannot be read"):
        texts(tmp_path)


@pytest.mark.parametrize("name", ["nowhere", "empty", "file"])
def test_no_folder_or_an_empty_one_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(CorpusError, match=r"correct --corpus"):
        FolderSource(tmp_path / name).identity()
