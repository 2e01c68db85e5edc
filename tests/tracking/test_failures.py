"""Stores that MLflow cannot use: each is told in a sentence with the remedy that is its own."""

import re
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlalchemy.exc import DatabaseError

from nightlab.errors import TrackingError
from nightlab.tracking.connection import connect
from nightlab.tracking.failures import check_store, explain
from tests.conftest import find_free_port


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as the installed MLflow makes it, which takes seconds."""
    folder = tmp_path_factory.mktemp("store")
    connect(f"sqlite:///{folder / 'mlflow.db'}", folder)
    return folder / "mlflow.db"


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made, tmp_path / "mlflow.db"))


def refused(address: str, folder: Path) -> str:
    with pytest.raises(TrackingError) as refusal:
        check_store(address, folder)
    sentence = str(refusal.value)
    assert "\n" not in sentence
    return sentence


def told(path: Path, *statements: str) -> None:
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()


def test_a_store_that_is_as_it_should_be_is_good(store: Path) -> None:
    check_store(f"sqlite:///{store}", store.parent)


@pytest.mark.parametrize("also", [(), ("DROP TABLE trace_info",)])
def test_another_versions_store_is_upgraded_or_moved_away(
    store: Path, also: tuple[str, ...]
) -> None:
    told(store, "UPDATE alembic_version SET version_num = 'ffffffffffff'", *also)
    sentence = refused(f"sqlite:///{store}", store.parent)
    assert "another version of MLflow" in sentence
    assert f"`mlflow db upgrade sqlite:///{store}`" in sentence
    assert f"move {store} away" in sentence


def test_a_half_made_older_store_is_moved_away(store: Path) -> None:
    told(
        store,
        "UPDATE alembic_version SET version_num = 'bd07f7e963c5'",
        "DROP TABLE trace_info",
    )
    assert f"move {store} away" in refused(f"sqlite:///{store}", store.parent)


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"no database, but a text",
        lambda content: content[:5000],
        lambda content: content[:4096] + b"\xff" * (len(content) - 4096),
    ],
)
def test_a_damaged_store_is_moved_away(store: Path, damage: Callable[[bytes], bytes]) -> None:
    store.write_bytes(damage(store.read_bytes()))
    sentence = refused(f"sqlite:///{store}", store.parent)
    assert f"move {store} away: `nightlab sync` makes it anew from git" in sentence


def test_a_store_that_cannot_be_reached_now_is_not_moved_away(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for error in (
        sqlite3.OperationalError("database is locked"),
        sqlite3.OperationalError("database or disk is full"),
        sqlite3.OperationalError("attempt to write a readonly database"),
    ):
        wrapped = DatabaseError("INSERT", {}, error)
        failure = explain(wrapped, f"sqlite:///{tmp_path / 'mlflow.db'}")
        assert "move" not in failure.remedy
        assert str(error) in failure.what
    inside = tmp_path / "file" / "mlflow.db"
    assert "set NIGHTLAB_TRACKING_URI" in refused(f"sqlite:///{inside}", tmp_path)


@dataclass(slots=True)
class Answer:
    status: int
    content: bytes = b""
    health: tuple[int, bytes] | None = None


class _Handler(BaseHTTPRequestHandler):
    answer: Answer

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked_health = self.path == "/health" and self.answer.health is not None
        status, content = (
            self.answer.health
            if asked_health and self.answer.health
            else (self.answer.status, self.answer.content)
        )
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, type[_Handler]]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", _Handler
    server.shutdown()


HEALTHY = (200, b"OK")


@pytest.mark.parametrize(
    ("answer", "found", "remedy"),
    [
        (Answer(401, b"who are you"), "refuses to answer (401)", "MLFLOW_TRACKING_USERNAME"),
        (Answer(401, b"no", HEALTHY), "refuses to answer (401)", "MLFLOW_TRACKING_PASSWORD"),
        (Answer(403, b"Invalid Host header"), "refuses to answer (403)", "--allowed-hosts"),
        (Answer(401, b'{"message": "no"}'), "refuses to answer (401)", "MLFLOW_TRACKING_TOKEN"),
        (Answer(404, b"<html>"), "as an MLflow server does", "correct NIGHTLAB_TRACKING_URI"),
        (Answer(200, b"<html>"), "as an MLflow server does", "correct NIGHTLAB_TRACKING_URI"),
        (Answer(302), "as an MLflow server does", "correct NIGHTLAB_TRACKING_URI"),
        (Answer(503, b"busy"), "fails (503)", "start it again"),
        (Answer(404, b"{}", HEALTHY), "failed", "what the server says"),
    ],
)
def test_a_server_that_is_not_mlflow_or_refuses(
    server: tuple[str, type[_Handler]], tmp_path: Path, answer: Answer, found: str, remedy: str
) -> None:
    address, handler = server
    handler.answer = answer
    sentence = refused(address, tmp_path)
    assert sentence.startswith(f"MLflow at {address} ")
    assert found in sentence
    assert remedy in sentence


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{find_free_port()}"
    sentence = refused(address, tmp_path)
    assert "does not answer" in sentence
    assert "start it" in sentence


def test_https_to_a_server_without_it(server: tuple[str, type[_Handler]], tmp_path: Path) -> None:
    address, handler = server
    handler.answer = Answer(200, b"{}", HEALTHY)
    assert f"write {address}" in refused(address.replace("http", "https"), tmp_path)


@pytest.mark.parametrize("address", ["127.0.0.1:5000", "htp://host", "http://", "http://[::1"])
def test_what_is_no_address_is_told_how_one_looks(tmp_path: Path, address: str) -> None:
    assert re.search(r"NIGHTLAB_TRACKING_URI", refused(address, tmp_path))


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    address = f"http://me:hidden@127.0.0.1:{find_free_port()}"
    assert "hidden" not in refused(address, tmp_path)
