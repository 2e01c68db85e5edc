from pathlib import Path

import pytest

from nightlab.corpus import Corpus, open_corpus, prepare_corpus
from nightlab.corpus.folder import fingerprint
from nightlab.corpus.sources import CorpusRequest
from nightlab.errors import CorpusError


@pytest.fixture
def corpus(text_folder: Path, tmp_path: Path) -> Corpus:
    request = CorpusRequest(
        source=f"path:{text_folder}",
        vocab_size=400,
        megabytes=1,
        sequence_length=64,
        evaluation_tokens=1_000,
    )
    return prepare_corpus(request, tmp_path / "cache")


def test_the_fingerprint_is_that_of_the_files(corpus: Corpus) -> None:
    assert fingerprint(corpus.folder) == corpus.fingerprint
    content = bytearray(corpus.path("val").read_bytes())
    content[10] ^= 1
    corpus.path("val").write_bytes(content)
    assert fingerprint(corpus.folder) != corpus.fingerprint


def test_an_opened_corpus_is_the_prepared_one(corpus: Corpus) -> None:
    assert open_corpus(corpus.folder) == corpus


def test_tokens_cannot_be_written_to(corpus: Corpus) -> None:
    with pytest.raises(ValueError, match="read-only"):
        corpus.tokens("train")[0] = 1


def test_an_unknown_split_is_refused(corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match="train, val, holdout, found 'test'"):
        corpus.path("test")


@pytest.mark.parametrize("name", ["train.bin", "token_bytes.bin"])
def test_a_cut_file_is_named(corpus: Corpus, name: str) -> None:
    path = corpus.folder / name
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(CorpusError, match=rf"{name} with \d+ bytes, found \d+: delete"):
        open_corpus(corpus.folder)


def test_a_missing_file_is_named(corpus: Corpus) -> None:
    corpus.path("holdout").unlink()
    with pytest.raises(CorpusError, match=r"holdout\.bin with \d+ bytes, found no such file"):
        open_corpus(corpus.folder)


def test_a_manifest_of_another_version_is_refused(corpus: Corpus) -> None:
    manifest = corpus.folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(CorpusError, match="manifest of version 1"):
        open_corpus(corpus.folder)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"manifest\.json in .* cannot be read"):
        open_corpus(tmp_path)
