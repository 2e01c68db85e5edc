"""Prefect that cannot be used: each reason in a sentence, before a server starts for nothing."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flows.prefect_health import _require_profile, require_api, require_database
from nightlab.errors import MachineryError, NightlabError, UsageError
from tests.conftest import find_free_port, nightlab_environment


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("PREFECT_PROFILES_PATH", "PREFECT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'active = "x', "Unterminated string"),
        (b"\xff\xfe", "utf-8"),
        (b"profiles = 3", "no [profiles.NAME]"),
        (b'active = "gone"\n[profiles.mine]\n', "'gone'"),
    ],
)
def test_profiles_that_cannot_be_read_are_named(home: Path, content: bytes, found: str) -> None:
    (home / "profiles.toml").write_bytes(content)
    with pytest.raises(UsageError) as refusal:
        _require_profile()
    assert str(home / "profiles.toml") in str(refusal.value)
    assert found in str(refusal.value)


def test_a_folder_in_place_of_the_profiles(home: Path) -> None:
    (home / "profiles.toml").mkdir()
    with pytest.raises(UsageError, match="Is a directory"):
        _require_profile()


def test_a_profile_that_a_variable_names(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "profiles.toml").write_text('active = "mine"\n[profiles.mine]\n')
    _require_profile()
    for name in ("ephemeral", "local", "mine"):
        monkeypatch.setenv("PREFECT_PROFILE", name)
        _require_profile()
    monkeypatch.setenv("PREFECT_PROFILE", "yours")
    with pytest.raises(UsageError, match=r"PREFECT_PROFILE names .*'yours'.*mine.*profile use"):
        _require_profile()


def test_no_profiles_are_fine(home: Path) -> None:
    _require_profile()
    (home / "profiles.toml").touch()
    _require_profile()


def database(path: Path, version: str | None) -> str:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE flow (id INTEGER)")
        if version is not None:
            connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
            connection.execute("INSERT INTO alembic_version VALUES (?)", (version,))
    connection.close()
    return f"sqlite+aiosqlite:///{path}"


def test_a_database_of_this_or_an_older_prefect_is_taken(tmp_path: Path) -> None:
    import prefect

    folder = Path(prefect.__file__).parent / "server/database/_migrations/versions/sqlite"
    names = sorted(path.name for path in folder.glob("*.py"))
    for name in (names[0], names[-1]):
        version = name.split("_")[4]
        require_database(database(tmp_path / f"{version}.db", version))
    require_database(database(tmp_path / "new.db", None))
    require_database(f"sqlite+aiosqlite:///{tmp_path / 'not there.db'}")
    require_database("sqlite+aiosqlite:///:memory:")
    require_database("postgresql+asyncpg://me:hidden@nowhere/prefect")


def test_a_newer_prefects_database_is_moved_away(tmp_path: Path) -> None:
    address = database(tmp_path / "prefect.db", "ffffffffffff")
    with pytest.raises(UsageError) as refusal:
        require_database(address)
    assert f"{tmp_path / 'prefect.db'} was made by another version" in str(refusal.value)
    assert "move it away" in str(refusal.value)


@pytest.mark.parametrize("content", [b"a text" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_database_is_moved_away(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "prefect.db"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"is damaged .*: move it away .*studies are in git"):
        require_database(f"sqlite+aiosqlite:///{path}")


class _Handler(BaseHTTPRequestHandler):
    answer = (200, "application/json", b"true")
    asked_with: str | None = None

    def do_GET(self) -> None:
        type(self).asked_with = self.headers.get("Authorization")
        status, kind, content = self.answer
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[_Handler]]]:
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    ).start()
    yield f"http://127.0.0.1:{server.server_port}/api", handler
    server.shutdown()


def test_a_server_that_is_well(server: tuple[str, type[_Handler]]) -> None:
    require_api(server[0])
    require_api(f"{server[0]}/")


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ((401, "application/json", b"{}"), "PREFECT_API_AUTH_STRING"),
        ((403, "text/html", b"no"), "PREFECT_API_AUTH_STRING"),
        ((404, "application/json", b"{}"), "ends in /api"),
        ((200, "text/html", b"<html>"), "ends in /api"),
        ((307, "text/html", b""), "ends in /api"),
        ((502, "text/html", b""), "fails (502)"),
    ],
)
def test_what_answers_otherwise(
    server: tuple[str, type[_Handler]], answer: tuple[int, str, bytes], found: str
) -> None:
    address, handler = server
    handler.answer = answer
    with pytest.raises(NightlabError) as refusal:
        require_api(address)
    assert found in str(refusal.value)
    assert address in str(refusal.value)


@pytest.mark.parametrize(
    "address",
    ["localhost:4200/api", "127.0.0.1:4200", "htp://host/api", "http://", "http://[::1/api"],
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(UsageError, match="such as http://HOST:4200/api"):
        require_api(address)


def test_nobody_there_and_a_name_that_nobody_knows() -> None:
    for host in (f"127.0.0.1:{find_free_port()}", "nowhere.invalid"):
        with pytest.raises(MachineryError, match="prefect server start") as refusal:
            require_api(f"http://me:hidden@{host}/api")
        assert host in str(refusal.value)
        assert "hidden" not in str(refusal.value)


def test_https_to_a_server_without_it(server: tuple[str, type[_Handler]]) -> None:
    with pytest.raises(UsageError, match="write http://"):
        require_api(server[0].replace("http", "https"))


BEGIN = """
import sys
from pathlib import Path
from flows.local_server import configure_prefect, prefect_server
from nightlab.errors import NightlabError
cache = Path(sys.argv[1])
try:
    configure_prefect(cache, console=False)
    with prefect_server(cache):
        print("began")
except NightlabError as error:
    sys.exit(str(error))
"""


def begin(cache: Path, **extra: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", BEGIN, str(cache)],
        env=nightlab_environment(cache, extra),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("extra", "found"),
    [
        ({"PREFECT_LOGGING_LEVEL": "loud"}, "LoggingSettings.level"),
        ({"PREFECT_SERVER_API_PORT": "many"}, "port"),
        ({"PREFECT_HOME": "/proc/nobody"}, "set PREFECT_HOME"),
        ({"PREFECT_API_URL": "http://127.0.0.1:9/api"}, "prefect server start"),
        ({"PREFECT_PROFILE": "gone"}, "PREFECT_PROFILE"),
    ],
)
def test_a_session_does_not_begin_with_it(
    tmp_path: Path, extra: dict[str, str], found: str
) -> None:
    done = begin(tmp_path, **extra)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert found in line


@pytest.mark.slow
def test_the_log_that_is_named_has_the_error_in_it(tmp_path: Path) -> None:
    nowhere = tmp_path / "a file"
    nowhere.touch()
    address = f"sqlite+aiosqlite:///{nowhere}/prefect.db"
    done = begin(tmp_path, PREFECT_SERVER_DATABASE_CONNECTION_URL=address)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    log = tmp_path / "prefect-server.log"
    assert str(log) in line
    assert "unable to open database file" in line
    assert "Traceback" in log.read_text()


@pytest.mark.slow
def test_a_proxy_does_not_come_between_a_session_and_its_server(tmp_path: Path) -> None:
    closed = f"http://127.0.0.1:{find_free_port()}"
    names = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    done = begin(tmp_path, **dict.fromkeys(names, closed))
    assert done.stdout.strip() == "began", done.stderr
    assert os.environ.get("HTTP_PROXY") != closed
