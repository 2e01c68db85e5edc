import hashlib
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nightlab.corpus.documents import stay_silent
from nightlab.corpus.download import fetch
from nightlab.errors import CorpusError
from tests.corpus.conftest import Fault, FileServer

REPOSITORY = "owner/texts"
NAME = f"/datasets/{REPOSITORY}/resolve/main/data.bin"
CONTENT = bytes(range(256)) * 100_000
"""25.6 MB: the library takes ten at a time, and keeps of a part what it took."""
DIGEST = hashlib.sha256(CONTENT).hexdigest()

pytestmark = pytest.mark.usefixtures("no_pauses")


def accept(path: Path) -> None:
    pass


def get(
    server: FileServer,
    folder: Path,
    check: Callable[[Path], None] = accept,
    progress: Callable[[str, float | None], None] = stay_silent,
) -> str:
    return fetch(
        REPOSITORY,
        "data.bin",
        folder,
        endpoint=server.address,
        check=check,
        setting="the address",
        progress=progress,
    )


def assert_whole(folder: Path, digest: str) -> None:
    assert digest == DIGEST
    assert (folder / "data.bin").read_bytes() == CONTENT
    assert list(folder.rglob("*.incomplete")) == []


def test_a_file_comes_whole_and_tells_its_progress(file_server: FileServer, tmp_path: Path) -> None:
    file_server.files[NAME] = CONTENT
    told: list[tuple[str, float | None]] = []
    digest = get(file_server, tmp_path, progress=lambda text, share: told.append((text, share)))
    assert_whole(tmp_path, digest)
    assert told[-1] == ("fetching data.bin: 26 MB", 1.0)


def test_a_break_is_resumed_where_it_happened(file_server: FileServer, tmp_path: Path) -> None:
    file_server.files[NAME] = CONTENT
    file_server.faults[NAME] = [Fault(after_bytes=22_000_000)]
    assert_whole(tmp_path, get(file_server, tmp_path))
    (first, _), (second, status) = file_server.asked("GET")
    assert first is None
    assert second is not None
    assert status == 206
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) <= 22_000_000


@pytest.mark.parametrize(
    "fault",
    [
        Fault(after_bytes=22_000_000, reset=True),
        Fault(status=503),
        Fault(method="HEAD", status=503),
        Fault(content=CONTENT[:-1] + b"?"),
        Fault(content=CONTENT[:1_000_000]),
    ],
    ids=["reset", "busy", "busy before", "altered", "cut"],
)
def test_what_may_pass_is_tried_again(
    file_server: FileServer, tmp_path: Path, fault: Fault
) -> None:
    file_server.files[NAME] = CONTENT
    file_server.faults[NAME] = [fault]
    assert_whole(tmp_path, get(file_server, tmp_path))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(after_bytes=0, reset=True), "ReadError"),
        (Fault(status=503), "the server answered 503 Service Unavailable"),
        (Fault(content=CONTENT[:-1] + b"?"), "its SHA-256 is .*…, the hub's .*…"),
        (Fault(content=CONTENT[:1_000_000]), "file should be of size 25600000"),
    ],
    ids=["reset", "busy", "altered", "cut"],
)
def test_what_stays_broken_is_one_sentence(
    file_server: FileServer, tmp_path: Path, fault: Fault, reason: str
) -> None:
    file_server.files[NAME] = CONTENT
    file_server.faults[NAME] = [fault] * 3
    with pytest.raises(CorpusError, match=rf"data\.bin, .*{reason}.*again later.*the address\.$"):
        get(file_server, tmp_path)
    assert len(file_server.asked("GET")) == 3
    assert [path.name for path in tmp_path.glob("*") if path.is_file()] == []
    assert list(tmp_path.rglob("*.incomplete")) == []


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_final_and_names_address_and_setting(
    file_server: FileServer, tmp_path: Path, status: int
) -> None:
    file_server.faults[NAME] = [Fault(method="HEAD", status=status)]
    with pytest.raises(CorpusError, match=rf"{file_server.address}{NAME}.* {status} .*the address"):
        get(file_server, tmp_path)
    assert file_server.asked("HEAD") == [(None, status)]


def test_a_server_that_is_no_hub_is_told_so(file_server: FileServer, tmp_path: Path) -> None:
    file_server.files[NAME] = CONTENT
    file_server.headers.clear()
    with pytest.raises(CorpusError, match=r"X-Repo-Commit.*set the address\.$"):
        get(file_server, tmp_path)


@pytest.mark.parametrize(
    ("address", "reason"),
    [("http://127.0.0.1:1", "ConnectError"), ("http://127.0.0.1:one", "InvalidURL: ")],
)
def test_nobody_listening_is_one_sentence(tmp_path: Path, address: str, reason: str) -> None:
    with pytest.raises(CorpusError, match=rf"{address}/.*\({reason}.*set the address\.$"):
        get(FileServer(address), tmp_path)


def test_a_file_that_fails_its_check_is_fetched_anew_and_then_refused(
    file_server: FileServer, tmp_path: Path
) -> None:
    file_server.files[NAME] = CONTENT

    def refuse(path: Path) -> None:
        assert path.read_bytes() == CONTENT
        raise CorpusError("not what it should be: replace it.")

    with pytest.raises(
        CorpusError, match=r"data\.bin, .*not what it should be\): run the.*the address"
    ):
        get(file_server, tmp_path, refuse)
    assert len(file_server.asked("GET")) == 3
    assert not (tmp_path / "data.bin").exists()


def test_a_whole_file_is_not_asked_for_again_but_a_damaged_one_is(
    file_server: FileServer, tmp_path: Path
) -> None:
    file_server.files[NAME] = CONTENT
    get(file_server, tmp_path)
    before = len(file_server.requests)
    assert_whole(tmp_path, get(file_server, tmp_path))
    assert len(file_server.requests) == before
    path = tmp_path / "data.bin"
    came = path.stat().st_mtime
    path.write_bytes(CONTENT[:-1] + b"?")
    os.utime(path, (came, came))  # as a bad disk does it
    assert_whole(tmp_path, get(file_server, tmp_path))
    assert len(file_server.requests) > before


def test_files_of_the_version_before_are_kept_if_the_hub_knows_their_hash(
    file_server: FileServer, tmp_path: Path
) -> None:
    file_server.files[NAME] = CONTENT
    (tmp_path / "data.bin").write_bytes(CONTENT)
    for _ in range(2):
        assert_whole(tmp_path, get(file_server, tmp_path))
    assert [asked.method for asked in file_server.requests] == ["HEAD"]


def test_what_a_killed_session_left_is_swept(file_server: FileServer, tmp_path: Path) -> None:
    file_server.files[NAME] = CONTENT
    left = tmp_path / ".cache/huggingface/download/name.etag.12345678.incomplete"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"part")
    assert_whole(tmp_path, get(file_server, tmp_path))


def test_a_full_disk_is_the_systems_own_error(file_server: FileServer, tmp_path: Path) -> None:
    """Which ``prepare_corpus`` turns into its sentence; a limit on files stands in for the disk."""
    file_server.files[NAME] = CONTENT
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (15_000_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            get(file_server, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(file_server.asked("GET")) == 1
    assert list(tmp_path.rglob("*.incomplete")) == []


def test_the_mirror_of_the_variable_gets_no_key_and_nothing_is_written_elsewhere(
    file_server: FileServer, tmp_path: Path
) -> None:
    """Nor is the other protocol spoken, or told which tools run here, whatever the hub offers."""
    file_server.files[NAME] = CONTENT
    file_server.headers |= {
        "X-Xet-Hash": "0" * 64,
        "X-Xet-Refresh-Route": f"{file_server.address}/api/token",
    }
    home, folder = tmp_path / "home", tmp_path / "folder"
    home.mkdir()
    folder.mkdir()
    code = (
        "import sys; from pathlib import Path; from nightlab.corpus import download, documents\n"
        "assert 'huggingface_hub' not in sys.modules\n"
        f"download.fetch({REPOSITORY!r}, 'data.bin', Path({str(folder)!r}), endpoint=None,\n"
        "    check=lambda path: None, setting='', progress=documents.stay_silent)"
    )
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environment = kept | {
        "HOME": str(home),
        "HF_ENDPOINT": file_server.address,
        "HF_TOKEN": "hf_key",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert_whole(folder, DIGEST)
    assert [(asked.method, asked.path) for asked in file_server.requests] == [
        ("HEAD", NAME),
        ("GET", NAME),
    ]
    assert {asked.authorization for asked in file_server.requests} == {None}
    assert list(home.iterdir()) == []
