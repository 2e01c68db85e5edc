import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiktoken

from nightlab import events
from nightlab.corpus import Corpus, CorpusRequest, open_corpus, prepare_corpus
from nightlab.corpus.climbmix import REPOSITORY
from nightlab.errors import CorpusError
from tests.corpus.conftest import FileServer

Text = Callable[[int, int], str]


def request(source: str, **changes: int) -> CorpusRequest:
    sizes = {
        "vocab_size": 400,
        "megabytes": 1,
        "sequence_length": 64,
        "evaluation_tokens": 1_000,
    }
    return CorpusRequest.model_validate({"source": source, **sizes, **changes})


def documents_of(corpus: Corpus, split: str) -> list[bytes]:
    """Take a split apart again, as a reader who has only the folder would."""
    encoding: tiktoken.Encoding = corpus.tokenizer()
    tokens = corpus.tokens(split)
    starts = np.flatnonzero(tokens == corpus.manifest.bos_token)
    assert starts[0] == 0
    return [encoding.decode_bytes(part[1:].tolist()) for part in np.split(tokens, starts[1:])]


def left_behind(cache: Path) -> list[str]:
    """Name what stands in the cache besides lock files."""
    return [path.name for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_the_splits_hold_the_text_and_nothing_twice(text_folder: Path, tmp_path: Path) -> None:
    corpus = prepare_corpus(request(f"path:{text_folder}"), tmp_path / "cache")
    given = {path.read_bytes() for path in text_folder.iterdir()}
    held = [
        document for split in corpus.manifest.splits for document in documents_of(corpus, split)
    ]
    assert sorted(held) == sorted(given)
    lengths = corpus.token_bytes()
    assert lengths.shape == (corpus.vocab_size,) == (400,)
    for split, size in corpus.manifest.splits.items():
        tokens = corpus.tokens(split)
        assert tokens.dtype == np.uint16
        assert len(tokens) == size.tokens
        assert lengths[tokens].sum(dtype=np.int64) == size.bytes
        assert (tokens == corpus.manifest.bos_token).sum() == size.documents
    for split in ("val", "holdout"):
        assert corpus.manifest.splits[split].tokens >= 1_000 + 16


def test_preparing_twice_does_nothing(text_folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    first = prepare_corpus(
        request(f"path:{text_folder}"), tmp_path / "cache", lambda text, _: said.append(text)
    )
    assert said
    said.clear()
    before = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    second = prepare_corpus(
        request(f"path:{text_folder}"), tmp_path / "cache", lambda text, _: said.append(text)
    )
    assert second == first
    assert said == []
    assert {path: path.stat().st_mtime_ns for path in first.folder.iterdir()} == before


def test_other_text_or_another_request_is_another_corpus(
    text_folder: Path, tmp_path: Path, text: Text
) -> None:
    cache = tmp_path / "cache"
    first = prepare_corpus(request(f"path:{text_folder}"), cache)
    other_size = prepare_corpus(request(f"path:{text_folder}", vocab_size=420), cache)
    (text_folder / "more.txt").write_text(text(999, 40))
    other_text = prepare_corpus(request(f"path:{text_folder}"), cache)
    assert len({first.fingerprint, other_size.fingerprint, other_text.fingerprint}) == 3
    assert open_corpus(first.folder) == first


@pytest.mark.parametrize("change", ["more text", "no folder"])
def test_a_study_finds_its_text_again_by_the_fingerprint(
    text_folder: Path, tmp_path: Path, text: Text, change: str
) -> None:
    cache, asked = tmp_path / "cache", request(f"path:{text_folder}")
    first = prepare_corpus(asked, cache)
    begun = asked.model_copy(update={"begun_on": first.fingerprint})
    said: list[str] = []
    with events.listening(lambda event: said.append(getattr(event, "text", ""))):
        assert prepare_corpus(begun, cache) == first
        assert said == [], "nothing has changed"
        if change == "more text":
            (text_folder / "more.txt").write_text(text(999, 40))
        else:
            text_folder.rename(tmp_path / "moved")
        assert prepare_corpus(begun, cache) == first
    (sentence,) = said
    assert "goes on with the text that it began with" in sentence
    lost = begun.model_copy(update={"begun_on": "f" * 64})
    if change == "more text":
        # A study whose text is nowhere is refused by who compares the fingerprints.
        assert prepare_corpus(lost, cache).fingerprint != first.fingerprint
    else:
        with pytest.raises(CorpusError, match="no such folder"):
            prepare_corpus(lost, cache)


def test_the_same_text_has_the_same_fingerprint_elsewhere(
    text_folder: Path, tmp_path: Path
) -> None:
    first = prepare_corpus(request(f"path:{text_folder}"), tmp_path / "one")
    moved = text_folder.rename(tmp_path / "moved")
    second = prepare_corpus(request(f"path:{moved}"), tmp_path / "two")
    assert first.fingerprint == second.fingerprint


def test_progress_is_a_sentence_and_a_share(text_folder: Path, tmp_path: Path) -> None:
    said: list[tuple[str, float | None]] = []
    prepare_corpus(
        request(f"path:{text_folder}"), tmp_path, lambda text, share: said.append((text, share))
    )
    assert any("tokenizer" in sentence for sentence, _ in said)
    shares = [share for _, share in said if share is not None]
    assert shares
    assert all(0 <= share <= 1 for share in shares)


def test_long_tokens_do_not_leave_the_splits_too_small(tmp_path: Path) -> None:
    """Words of 21 letters, one token each: far more bytes a token than assumed at first."""
    folder = tmp_path / "texts"
    folder.mkdir()
    chance = np.random.default_rng(0)
    words = ["".join(chance.choice(list("abcdefghij"), 20)) for _ in range(16)]
    for number in range(120):
        text = " ".join(chance.choice(words, 100))
        (folder / f"{number}.txt").write_text(f"{number} {text}")
    corpus = prepare_corpus(
        request(f"path:{folder}", vocab_size=560, evaluation_tokens=500), tmp_path / "cache"
    )
    size = corpus.manifest.splits["val"]
    assert size.bytes / size.tokens > 6
    assert size.tokens >= 500


def test_errors_leave_nothing_behind(text_folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (text_folder / "zz.txt").write_bytes(b"fine so far \xff")
    with pytest.raises(CorpusError, match=r"zz\.txt .* byte 12"):
        prepare_corpus(request(f"path:{text_folder}"), cache)
    (text_folder / "zz.txt").unlink()
    with pytest.raises(CorpusError, match="splits need at least"):
        prepare_corpus(request(f"path:{text_folder}", evaluation_tokens=100_000), cache)
    with pytest.raises(CorpusError, match="smaller vocabulary"):
        prepare_corpus(request(f"path:{text_folder}", vocab_size=60_000), cache)
    assert left_behind(cache) == []


def test_an_interrupt_leaves_nothing_behind(text_folder: Path, tmp_path: Path) -> None:
    def interrupt(sentence: str, share: float | None) -> None:
        if "writing" in sentence:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_corpus(request(f"path:{text_folder}"), tmp_path / "cache", interrupt)
    assert left_behind(tmp_path / "cache") == []


def test_a_cache_that_cannot_be_written_is_an_error(text_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(CorpusError, match="NIGHTLAB_CACHE"):
        prepare_corpus(request(f"path:{text_folder}"), tmp_path / "cache")


SCRIPT = """
import sys, time
from pathlib import Path
from nightlab.corpus import CorpusRequest, prepare_corpus

def progress(sentence, share):
    print(sentence, flush=True)
    if sys.argv[3] == "hang" and sentence.startswith("writing"):
        time.sleep(600)

request = CorpusRequest.model_validate_json(sys.argv[1])
print(prepare_corpus(request, Path(sys.argv[2]), progress).fingerprint)
"""


def start(request: CorpusRequest, cache: Path, how: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SCRIPT, request.model_dump_json(), str(cache), how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for(process: "subprocess.Popen[str]", start_of_line: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(start_of_line):
            return
    raise AssertionError(f"the process ended without saying {start_of_line!r}")


def test_a_killed_preparer_is_swept_and_does_not_block(text_folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    victim = start(request(f"path:{text_folder}"), cache, "hang")
    wait_for(victim, "writing")
    victim.send_signal(signal.SIGKILL)
    victim.communicate(timeout=30)
    assert left_behind(cache)
    other = prepare_corpus(request(f"path:{text_folder}", vocab_size=420), cache)
    assert [path for path in (cache / "corpora").iterdir() if path.is_dir()] == [other.folder]
    prepare_corpus(request(f"path:{text_folder}"), cache)


def test_two_preparers_build_once(text_folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = start(request(f"path:{text_folder}"), cache, "hang")
    wait_for(first, "writing")
    second = start(request(f"path:{text_folder}"), cache, "run")
    try:
        wait_for(second, "waiting for another session")
        # A live preparer's folder is not swept by the one that waits.
        assert list((cache / "corpora").glob("*.building"))
    finally:
        first.kill()
        first.communicate(timeout=30)
    output, _ = second.communicate(timeout=60)
    corpus = prepare_corpus(request(f"path:{text_folder}"), cache)
    assert corpus.fingerprint in output


def test_climbmix_is_prepared_once_and_then_needs_no_server(
    file_server: FileServer, tmp_path: Path, shard: Callable[[int, int], bytes]
) -> None:
    for number in range(2):
        path = f"/datasets/{REPOSITORY}/resolve/main/shard_{number:05d}.parquet"
        file_server.files[path] = shard(number, 400)
    asked = request(f"climbmix:{file_server.address}")
    corpus = prepare_corpus(asked, tmp_path)
    assert corpus.manifest.intake.cap_reached
    assert 0 < len(corpus.manifest.origins) <= 2
    requests = len(file_server.requests)
    file_server.files.clear()
    assert prepare_corpus(asked, tmp_path) == corpus
    assert len(file_server.requests) == requests


def test_the_embedded_corpus_at_a_small_cap(tmp_path: Path) -> None:
    corpus = prepare_corpus(
        request("embedded", megabytes=3, vocab_size=1024, evaluation_tokens=16_384), tmp_path
    )
    assert corpus.manifest.intake.bytes > 2_900_000
    assert corpus.manifest.overlap.dropped_train_bytes < 0.1 * corpus.manifest.intake.bytes
    started = time.perf_counter()
    assert (
        prepare_corpus(
            request("embedded", megabytes=3, vocab_size=1024, evaluation_tokens=16_384), tmp_path
        )
        == corpus
    )
    assert time.perf_counter() - started < 30


def test_no_descriptor_stays_open(text_folder: Path, tmp_path: Path) -> None:
    prepare_corpus(request(f"path:{text_folder}"), tmp_path / "warm")
    before = len(os.listdir("/proc/self/fd"))
    for number in range(3):
        prepare_corpus(request(f"path:{text_folder}"), tmp_path / str(number))
    assert len(os.listdir("/proc/self/fd")) <= before + 1
