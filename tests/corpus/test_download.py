import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from nightlab.corpus.documents import stay_silent
from nightlab.corpus.download import Retries, Sidecar, default_client, fetch
from nightlab.errors import CorpusError
from tests.corpus.conftest import Fault, FileServer

NAME = "/data.bin"
CONTENT = bytes(range(256)) * 20_000
FAST = Retries(attempts=4, first_delay_seconds=0.01)


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with default_client() as client:
        yield client


def accept(path: Path) -> None:
    pass


def get(client: httpx.Client, server: FileServer, folder: Path) -> Sidecar:
    return fetch(
        client,
        server.address + NAME,
        folder / "data.bin",
        check=accept,
        setting="the address",
        retries=FAST,
        progress=stay_silent,
    )


def assert_whole(folder: Path, sidecar: Sidecar, content: bytes = CONTENT) -> None:
    assert (folder / "data.bin").read_bytes() == content
    assert sidecar.bytes == len(content)
    assert sidecar.sha256 == hashlib.sha256(content).hexdigest()
    assert sorted(path.name for path in folder.iterdir()) == ["data.bin", "data.bin.json"]


def test_a_break_is_resumed_where_it_happened(
    client: httpx.Client, file_server: FileServer, tmp_path: Path
) -> None:
    file_server.files[NAME] = CONTENT
    file_server.faults[NAME] = [Fault(after_bytes=3_000_000), Fault(status=503)]
    assert_whole(tmp_path, get(client, file_server, tmp_path))
    ranges = [(wanted, status) for _, wanted, status in file_server.requests]
    assert ranges[0] == (None, 200)
    assert ranges[-1][1] == 206
    assert ranges[-1][0] is not None
    assert 0 < int(ranges[-1][0].removeprefix("bytes=").rstrip("-")) <= 3_000_000


def test_the_next_run_resumes_after_all_attempts_broke(
    client: httpx.Client, file_server: FileServer, tmp_path: Path
) -> None:
    file_server.files[NAME] = CONTENT
    file_server.faults[NAME] = [Fault(after_bytes=1_500_000)] * 2 + [Fault(status=429)] * 2
    with pytest.raises(CorpusError, match=r"data\.bin, and 4 attempts broke off .*429.*goes on"):
        get(client, file_server, tmp_path)
    assert len(file_server.requests) == 4
    assert not (tmp_path / "data.bin").exists()
    assert_whole(tmp_path, get(client, file_server, tmp_path))
    assert file_server.requests[-1][2] == 206


def test_a_file_that_changed_meanwhile_starts_over(
    client: httpx.Client, file_server: FileServer, tmp_path: Path
) -> None:
    file_server.files[NAME] = CONTENT
    file_server.faults[NAME] = [Fault(after_bytes=3_000_000), *[Fault(status=500)] * 3]
    with pytest.raises(CorpusError):
        get(client, file_server, tmp_path)
    changed = CONTENT[::-1]
    file_server.files[NAME] = changed
    assert_whole(tmp_path, get(client, file_server, tmp_path), changed)
    assert file_server.requests[-1][1] is not None
    assert file_server.requests[-1][2] == 200


def test_a_server_without_tags_starts_over(
    client: httpx.Client, file_server: FileServer, tmp_path: Path
) -> None:
    file_server.files[NAME] = CONTENT
    file_server.tags = False
    file_server.faults[NAME] = [Fault(after_bytes=2_000_000)]
    assert_whole(tmp_path, get(client, file_server, tmp_path))
    assert [wanted for _, wanted, _ in file_server.requests] == [None, None]


def test_a_part_that_lacks_nothing_is_taken(
    client: httpx.Client, file_server: FileServer, tmp_path: Path
) -> None:
    """A run that was killed between the last byte and the check."""
    file_server.files[NAME] = CONTENT
    file_server.faults[NAME] = [Fault(after_bytes=3_000_000), *[Fault(status=500)] * 3]
    with pytest.raises(CorpusError):
        get(client, file_server, tmp_path)
    (tmp_path / "data.bin.part").write_bytes(CONTENT)
    assert_whole(tmp_path, get(client, file_server, tmp_path))
    assert file_server.requests[-1][2] == 416


def test_a_part_that_is_longer_than_the_file_starts_over(
    client: httpx.Client, file_server: FileServer, tmp_path: Path
) -> None:
    file_server.files[NAME] = CONTENT
    file_server.faults[NAME] = [Fault(after_bytes=3_000_000), *[Fault(status=500)] * 3]
    with pytest.raises(CorpusError):
        get(client, file_server, tmp_path)
    (tmp_path / "data.bin.part").write_bytes(CONTENT + b"more")
    assert_whole(tmp_path, get(client, file_server, tmp_path))


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_final_and_names_address_and_setting(
    client: httpx.Client, file_server: FileServer, tmp_path: Path, status: int
) -> None:
    file_server.faults[NAME] = [Fault(status=status)]
    with pytest.raises(CorpusError, match=rf"{file_server.address}{NAME}.* {status} .*the address"):
        get(client, file_server, tmp_path)
    assert len(file_server.requests) == 1


def test_a_file_that_fails_its_check_is_fetched_anew_and_then_refused(
    client: httpx.Client, file_server: FileServer, tmp_path: Path
) -> None:
    file_server.files[NAME] = CONTENT

    def refuse(path: Path) -> None:
        assert path.read_bytes() == CONTENT
        raise CorpusError("not what it should be")

    with pytest.raises(CorpusError, match=r"4 attempts .* not what it should be"):
        fetch(
            client,
            file_server.address + NAME,
            tmp_path / "data.bin",
            check=refuse,
            setting="the address",
            retries=FAST,
            progress=stay_silent,
        )
    assert list(tmp_path.iterdir()) == []


def test_a_whole_file_is_not_asked_for_again_but_a_damaged_one_is(
    client: httpx.Client, file_server: FileServer, tmp_path: Path
) -> None:
    file_server.files[NAME] = CONTENT
    get(client, file_server, tmp_path)
    assert_whole(tmp_path, get(client, file_server, tmp_path))
    assert len(file_server.requests) == 1
    damaged = bytearray(CONTENT)
    damaged[1000] ^= 1
    (tmp_path / "data.bin").write_bytes(damaged)
    assert_whole(tmp_path, get(client, file_server, tmp_path))
    assert len(file_server.requests) == 2


def test_nobody_listening_is_one_error_after_bounded_attempts(
    client: httpx.Client, tmp_path: Path
) -> None:
    server = FileServer("http://127.0.0.1:1")
    with pytest.raises(CorpusError, match=r"127\.0\.0\.1:1/data\.bin, and 4 attempts .*Connect"):
        get(client, server, tmp_path)


def test_delays_double_up_to_the_longest() -> None:
    retries = Retries(attempts=6, first_delay_seconds=1, longest_delay_seconds=5)
    assert list(retries.delays()) == [1, 2, 4, 5, 5]
