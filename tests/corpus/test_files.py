import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from nightlab import events
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


@pytest.fixture
def notices() -> Iterator[list[str]]:
    """What people are told while the block runs."""
    heard: list[str] = []

    def hear(event: events.Event) -> None:
        if isinstance(event, events.Notice):
            heard.append(event.text)

    with events.listening(hear):
        yield heard


def test_rows_without_text_are_passed_over_alike_and_counted(
    tmp_path: Path, notices: list[str]
) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": null}\n{"text": "one"}\n{"text": null}\n')
    table = pyarrow.table({"text": ["two", None]})
    pyarrow.parquet.write_table(table, tmp_path / "b.parquet")
    source = FolderSource(tmp_path)
    assert sorted(source.texts(stay_silent)) == ["one", "two"]
    assert f"The corpus passes over 3 rows without text in {tmp_path}." in notices
    assert source.origins()[1:] == ("rows without text: 3",)


def test_people_are_told_what_is_read_as_what(tmp_path: Path, notices: list[str]) -> None:
    for name in ("a.txt", "b.txt", "c.html", "README", "d.jsonl"):
        (tmp_path / name).write_text('{"text": "x"}')
    texts(tmp_path)
    (said,) = notices
    for part in ("5 files", "2 .txt as plain text", "1 .html as plain text", "1 as JSON lines"):
        assert part in said
    assert "1 without an ending as plain text" in said


def test_data_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff")
    (tmp_path / "z.csv").write_text("text\nhello\n")
    with pytest.raises(CorpusError, match=r"z\.csv is \.csv data"):
        texts(tmp_path)


def test_linked_folders_are_read_once_each(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "corpus", tmp_path / "elsewhere"
    (folder / "own").mkdir(parents=True)
    (elsewhere / "deep").mkdir(parents=True)
    (folder / "own" / "a.txt").write_text("own")
    (elsewhere / "deep" / "b.txt").write_text("linked")
    before = FolderSource(folder).identity()
    (folder / "again").symlink_to("own")
    (folder / "own" / "loop").symlink_to("..")
    assert FolderSource(folder).identity() == before, "what is there already adds nothing"
    (folder / "aside").symlink_to(elsewhere)
    (folder / "further").symlink_to(elsewhere / "deep")
    (elsewhere / "back").symlink_to(folder)
    (folder / "c.txt").symlink_to(elsewhere / "deep" / "b.txt")
    assert sorted(texts(folder)) == ["linked", "linked", "own"]


def test_a_link_that_leads_nowhere_is_said(tmp_path: Path, notices: list[str]) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "self").symlink_to("self")
    assert texts(tmp_path) == ["text"]
    assert f"The corpus passes over 2 links that lead nowhere in {tmp_path}." in notices


@pytest.mark.parametrize("ending", [".txt", ".jsonl", ".parquet", ".txt.gz", ".csv"])
def test_a_name_that_is_not_utf8(tmp_path: Path, ending: str, notices: list[str]) -> None:
    folder = tmp_path / os.fsdecode("dé".encode("latin-1"))
    folder.mkdir()
    path = folder / (os.fsdecode("café".encode("latin-1")) + ending)
    content = {
        ".jsonl": b'{"text": "x"}',
        ".txt.gz": gzip.compress(b"x"),
        ".parquet": parquet_of("x"),
    }
    path.write_bytes(content.get(ending, b"x"))
    if ending == ".csv":
        with pytest.raises(CorpusError, match=r"caf\\udce9\.csv"):
            texts(tmp_path)
        return
    assert texts(tmp_path) == ["x"]
    path.write_bytes(b"\xff")
    with pytest.raises(CorpusError, match=r"caf\\udce9") as refusal:
        texts(folder)
    for said in (str(refusal.value), *notices):
        assert said.encode()


def parquet_of(text: str) -> bytes:
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table({"text": [text]}), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


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
