from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from nightlab.corpus.climbmix import ADDRESS, ClimbmixSource
from nightlab.corpus.documents import stay_silent
from nightlab.corpus.download import Retries
from nightlab.errors import CorpusError
from tests.corpus.conftest import Fault, FileServer

FAST = Retries(attempts=3, first_delay_seconds=0.01)
Shard = Callable[[int, int], bytes]


def source(server: FileServer, folder: Path) -> ClimbmixSource:
    return ClimbmixSource(f"{server.address}/base/", folder, FAST)


def test_only_as_many_shards_are_fetched_as_are_asked_for(
    file_server: FileServer, tmp_path: Path, shard: Shard
) -> None:
    for number in range(3):
        file_server.files[f"/base/shard_{number:05d}.parquet"] = shard(number, 10)
    climbmix = source(file_server, tmp_path)
    assert len(set(islice(climbmix.texts(stay_silent), 15))) == 15
    assert [path for path, _, _ in file_server.requests] == [
        "/base/shard_00000.parquet",
        "/base/shard_00001.parquet",
    ]
    assert [line.split()[0].rpartition("/")[2] for line in climbmix.origins()] == [
        "shard_00000.parquet",
        "shard_00001.parquet",
    ]


def test_shards_are_kept_for_the_next_corpus(
    file_server: FileServer, tmp_path: Path, shard: Shard
) -> None:
    file_server.files["/base/shard_00000.parquet"] = shard(0, 10)
    first = list(islice(source(file_server, tmp_path).texts(stay_silent), 10))
    again = list(islice(source(file_server, tmp_path).texts(stay_silent), 10))
    assert first == again
    assert len(file_server.requests) == 1


def test_a_shard_that_was_cut_before_it_was_uploaded_is_refused(
    file_server: FileServer, tmp_path: Path, shard: Shard
) -> None:
    file_server.files["/base/shard_00000.parquet"] = shard(0, 10)[:-100]
    with pytest.raises(CorpusError, match=r"3 attempts .*whole Parquet files") as caught:
        next(source(file_server, tmp_path).texts(stay_silent))
    assert "climbmix:URL" in str(caught.value)
    assert list(tmp_path.rglob("*.parquet")) == []


def test_a_connection_that_breaks_midway_is_taken_up_again(
    file_server: FileServer, tmp_path: Path, shard: Shard
) -> None:
    name = "/base/shard_00000.parquet"
    file_server.files[name] = shard(0, 10)
    file_server.faults[name] = [Fault(after_bytes=len(file_server.files[name]) // 2)]
    assert len(list(islice(source(file_server, tmp_path).texts(stay_silent), 10))) == 10


def test_a_missing_shard_is_an_error_with_address_and_setting(
    file_server: FileServer, tmp_path: Path, shard: Shard
) -> None:
    file_server.files["/base/shard_00000.parquet"] = shard(0, 10)
    with pytest.raises(CorpusError, match=r"/base/shard_00001\.parquet.* 404 .*climbmix:URL"):
        list(source(file_server, tmp_path).texts(stay_silent))


def test_an_address_needs_a_scheme(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"https:// address, found 'example\.org'"):
        ClimbmixSource("example.org", tmp_path)


def test_the_default_address_is_one() -> None:
    assert ADDRESS.startswith("https://")
