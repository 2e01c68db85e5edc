from pathlib import Path

import pytest
from pydantic import ValidationError

from nightlab.corpus.climbmix import ClimbmixSource
from nightlab.corpus.documents import collect, stay_silent
from nightlab.corpus.embedded import EmbeddedSource
from nightlab.corpus.files import FolderSource
from nightlab.corpus.sources import BYTES_PER_TOKEN, CorpusRequest, find_source, text_at_most
from nightlab.corpus.splits import divide
from nightlab.errors import CorpusError


def request(source: str = "embedded", **changes: int) -> CorpusRequest:
    sizes = {
        "vocab_size": 512,
        "megabytes": 1,
        "sequence_length": 64,
        "evaluation_tokens": 1000,
    }
    return CorpusRequest.model_validate({"source": source, **sizes, **changes})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("embedded", EmbeddedSource),
        ("path:/some/where", FolderSource),
        ("climbmix", ClimbmixSource),
        ("climbmix:https://mirror.example/base", ClimbmixSource),
    ],
)
def test_sources_are_found_by_name(tmp_path: Path, name: str, kind: type) -> None:
    assert isinstance(find_source(request(name), tmp_path), kind)


def test_a_mirror_is_another_text_than_the_original(tmp_path: Path) -> None:
    mirror = find_source(request("climbmix:https://mirror.example/base/"), tmp_path)
    assert mirror.identity() == "https://mirror.example/base"
    assert mirror.identity() != find_source(request("climbmix"), tmp_path).identity()


@pytest.mark.parametrize("name", ["", "path", "path:", "wiki", "embedded:x", "climbmix:"])
def test_other_names_are_refused_with_the_list(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match="'embedded', 'path:DIR', 'climbmix'"):
        find_source(request(name), tmp_path)


@pytest.mark.parametrize("vocab_size", [256, 257, 65_536])
def test_vocabularies_that_do_not_fit_are_refused(vocab_size: int) -> None:
    with pytest.raises(ValidationError):
        request(vocab_size=vocab_size)


def test_split_tokens_leave_room_for_the_last_target_of_each_row() -> None:
    assert request(evaluation_tokens=640).split_tokens == 10 * 65
    assert request(evaluation_tokens=641).split_tokens == 11 * 65


def test_how_much_text_there_is_at_most_is_known_without_reading_it(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.md").write_bytes(b"a" * 300)
    (folder / "sub" / "b").write_bytes(b"b" * 200)
    (folder / ".hidden").write_bytes(b"c" * 100)
    asked = request(f"path:{folder}")
    assert asked.needed_bytes > 500
    assert text_at_most(asked, tmp_path) == 500
    (folder / "large.txt").write_bytes(b"d" * asked.needed_bytes)
    found = text_at_most(asked, tmp_path)
    assert found is not None
    assert found >= asked.needed_bytes
    (folder / "large.txt").write_bytes(b"d" * 2 * 10**6)
    assert text_at_most(asked, tmp_path) == 10**6, "no more than the cap is taken in"
    (folder / "c.parquet").touch()
    assert text_at_most(asked, tmp_path) is None
    assert text_at_most(request("climbmix"), tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == ["texts"]


def test_what_a_request_needs_is_what_dealing_the_documents_asks_for(tmp_path: Path) -> None:
    asked = request(evaluation_tokens=6400)
    documents = collect(["a b c"], tmp_path / "text", 10**6)
    quota = int(asked.split_tokens * BYTES_PER_TOKEN)
    with pytest.raises(CorpusError, match=rf"at least {asked.needed_bytes / 1e6:.2f} MB"):
        divide(documents, quota, stay_silent)


def test_a_relative_folder_is_the_same_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, elsewhere = tmp_path / "clone", tmp_path / "elsewhere"
    for folder in (root / "texts", elsewhere / "texts"):
        folder.mkdir(parents=True)
    asked = request("path:texts").model_copy(update={"root": root})
    for folder in (root, root / "texts", elsewhere):
        monkeypatch.chdir(folder)
        source = find_source(asked, tmp_path)
        assert isinstance(source, FolderSource)
        assert source.folder == root / "texts"
    absolute = asked.model_copy(update={"source": f"path:{elsewhere}/texts"})
    found = find_source(absolute, tmp_path)
    assert isinstance(found, FolderSource)
    assert found.folder == elsewhere / "texts"
    assert asked.model_dump() == request("path:texts").model_dump(), "no part of its name"


def test_a_home_that_nobody_knows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="name the folder in full"):
        find_source(request("path:~nobody-of-this-name/texts"), tmp_path)
