"""What the page's server gives out: two files, to this machine alone."""

import http.client
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.page_server import LINGER_SECONDS, PageServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PageServer]:
    (tmp_path / "night.html").write_text("<p>page</p>")
    (tmp_path / "night.svg").write_text("<svg/>")
    (tmp_path / "other.html").write_text("secret")
    (tmp_path.parent / "outside.html").write_text("secret")
    made = PageServer(tmp_path, "night")
    yield made
    made.close(is_final=False)


def ask(
    server: PageServer, path: str, method: str = "GET", **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    port = int(server.address.split(":")[2].split("/")[0])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content, answer.headers


def test_the_page_and_its_picture_are_served(server: PageServer) -> None:
    assert server.address.startswith("http://127.0.0.1:")
    assert server.address.endswith("/night.html")
    status, content, headers = ask(server, "/night.html")
    assert (status, content) == (200, b"<p>page</p>")
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert ask(server, "/night.svg")[:2] == (200, b"<svg/>")
    status, _, headers = ask(server, "/")
    assert (status, headers["Location"]) == (302, "/night.html")


@pytest.mark.parametrize(
    "path",
    [
        "/other.html",
        "/../outside.html",
        "/%2e%2e/outside.html",
        "/night.html/../other.html",
        "/night.html?x",
        "/.",
        "/night",
        "night.html",
        "/other.html#/night.html",
    ],
)
def test_nothing_else_is_served(server: PageServer, path: str) -> None:
    status, content, _ = ask(server, path)
    assert (status, content) == (404, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_nothing_but_reading_is_answered(server: PageServer, method: str) -> None:
    assert ask(server, "/night.html", method)[0] == 501


def test_a_name_that_another_site_pointed_here_is_refused(server: PageServer) -> None:
    assert ask(server, "/night.html", Host="evil.example")[0] == 403


def test_a_page_that_has_not_changed_is_not_sent_again(server: PageServer, tmp_path: Path) -> None:
    tag = ask(server, "/night.html")[2]["ETag"]
    assert ask(server, "/night.html", **{"If-None-Match": tag})[:2] == (304, b"")
    (tmp_path / "night.html").write_text("<p>another</p>")
    assert ask(server, "/night.html", **{"If-None-Match": tag})[0] == 200
    (tmp_path / "night.html").unlink()
    assert ask(server, "/night.html")[0] == 404


def test_who_has_the_page_open_is_given_the_last_one(tmp_path: Path) -> None:
    (tmp_path / "night.html").write_text("last")
    server = PageServer(tmp_path, "night")
    ask(server, "/night.html")
    found: list[bytes] = []
    threading.Timer(0.3, lambda: found.append(ask(server, "/night.html")[1])).start()
    began = time.monotonic()
    server.close(is_final=True)
    assert found == [b"last"]
    assert time.monotonic() - began < LINGER_SECONDS
    with pytest.raises(OSError, match="refused"):
        ask(server, "/night.html")


def test_who_has_no_page_open_waits_for_nothing(tmp_path: Path) -> None:
    server = PageServer(tmp_path, "night")
    began = time.monotonic()
    server.close(is_final=True)
    assert time.monotonic() - began < 2
