from collections.abc import Callable
from hashlib import sha256
from itertools import islice
from pathlib import Path

import pytest

from nightlab.corpus.climbmix import REPOSITORY, ClimbmixSource
from nightlab.corpus.documents import stay_silent
from nightlab.errors import CorpusError
from tests.conftest import find_free_port
from tests.corpus.conftest import Fault, FileServer

FIRST = f"/datasets/{REPOSITORY}/resolve/main/shard_00000.parquet"
SECOND = FIRST.replace("00000", "00001")
Shard = Callable[[int, int], bytes]

pytestmark = pytest.mark.usefixtures("no_pauses")


def source(server: FileServer, folder: Path) -> ClimbmixSource:
    return ClimbmixSource(f"{server.address}/", folder)


def test_only_as_many_shards_are_fetched_as_are_asked_for(
    file_server: FileServer, tmp_path: Path, shard: Shard
) -> None:
    for number, path in enumerate([FIRST, SECOND, FIRST.replace("00000", "00002")]):
        file_server.files[path] = shard(number, 10)
    climbmix = source(file_server, tmp_path)
    assert len(set(islice(climbmix.texts(stay_silent), 15))) == 15
    assert list(dict.fromkeys(asked.path for asked in file_server.requests)) == [FIRST, SECOND]
    assert list(climbmix.origins()) == [
        f"{file_server.address}{path} sha256 {sha256(file_server.files[path]).hexdigest()}"
        for path in (FIRST, SECOND)
    ]


def test_a_mirror_may_be_named_by_the_whole_address_of_the_data_set(
    file_server: FileServer, tmp_path: Path, shard: Shard
) -> None:
    """As studies of before did: their corpus keeps its name."""
    file_server.files[FIRST] = shard(0, 10)
    whole = f"{file_server.address}{FIRST.rpartition('/')[0]}"
    climbmix = ClimbmixSource(whole, tmp_path)
    assert len(list(islice(climbmix.texts(stay_silent), 10))) == 10
    assert climbmix.identity() == whole


def test_shards_are_kept_for_the_next_corpus(
    file_server: FileServer, tmp_path: Path, shard: Shard
) -> None:
    file_server.files[FIRST] = shard(0, 10)
    first = list(islice(source(file_server, tmp_path).texts(stay_silent), 10))
    again = list(islice(source(file_server, tmp_path).texts(stay_silent), 10))
    assert first == again
    assert len(file_server.requests) == 2, "one for what the file is, one for the file"


def test_a_shard_that_was_cut_before_it_was_uploaded_is_refused(
    file_server: FileServer, tmp_path: Path, shard: Shard
) -> None:
    file_server.files[FIRST] = shard(0, 10)[:-100]
    with pytest.raises(CorpusError, match=r"did not come .*Parquet.*\): run the") as caught:
        next(source(file_server, tmp_path).texts(stay_silent))
    assert "climbmix:URL" in str(caught.value)
    assert list(tmp_path.rglob("*.parquet")) == []


def test_a_connection_that_breaks_midway_is_taken_up_again(
    file_server: FileServer, tmp_path: Path, shard: Shard
) -> None:
    file_server.files[FIRST] = shard(0, 10)
    file_server.faults[FIRST] = [Fault(after_bytes=len(file_server.files[FIRST]) // 2)]
    assert len(list(islice(source(file_server, tmp_path).texts(stay_silent), 10))) == 10


def test_a_missing_shard_is_an_error_with_address_and_setting(
    file_server: FileServer, tmp_path: Path, shard: Shard
) -> None:
    file_server.files[FIRST] = shard(0, 10)
    with pytest.raises(CorpusError, match=rf"{SECOND}.* 404 .*climbmix:URL"):
        list(source(file_server, tmp_path).texts(stay_silent))


def test_an_address_needs_a_scheme(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"https:// address, found 'example\.org'"):
        ClimbmixSource("example.org", tmp_path)


def test_the_corpora_of_the_version_before_are_found_again(tmp_path: Path) -> None:
    """And whoever reaches the hub through ``HF_ENDPOINT`` has the hub's corpus."""
    assert ClimbmixSource(None, tmp_path).identity() == (
        "https://huggingface.co/datasets/karpathy/climbmix-400b-shuffle/resolve/main"
    )


def test_a_hub_is_asked_for_its_first_shard_and_nothing_is_fetched(
    file_server: FileServer, tmp_path: Path, shard: Shard
) -> None:
    climbmix = source(file_server, tmp_path)
    with pytest.raises(CorpusError, match=r"cannot be had \(.*404.*climbmix:URL"):
        climbmix.try_hub()
    file_server.files[FIRST] = shard(0, 10)
    climbmix.try_hub()
    assert {asked.method for asked in file_server.requests} == {"HEAD"}
    assert list(tmp_path.iterdir()) == []


def test_a_hub_that_does_not_answer_is_said_with_its_address(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{find_free_port()}"
    with pytest.raises(CorpusError, match=f"{address}/datasets/.* cannot be had"):
        ClimbmixSource(address, tmp_path).try_hub()
