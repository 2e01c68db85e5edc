import os
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from nightlab.errors import UsageError
from nightlab.machine.network import (
    CERTIFICATE_FILES,
    LOOPBACK,
    PROXIES,
    keep_loopback_direct,
    network_problems,
    prepare_network,
    proxies_in_use,
)
from tests.conftest import find_free_port

EITHER = [name for each in PROXIES for name in (each, each.lower())]


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.mark.parametrize("exceptions", [{}, {"NO_PROXY": "lab.example"}, {"no_proxy": "a,[::1]"}])
@pytest.mark.parametrize("kind", ["http", "socks5", "socks5h"])
def test_no_library_goes_to_loopback_through_a_proxy(
    server: str, monkeypatch: pytest.MonkeyPatch, exceptions: dict[str, str], kind: str
) -> None:
    import requests

    for name in (*EITHER, "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    closed = f"{kind}://127.0.0.1:{find_free_port()}"
    for name in EITHER:
        monkeypatch.setenv(name, closed)
    for name, value in exceptions.items():
        monkeypatch.setenv(name, value)
    prepare_network(os.environ)
    for address in (server, server.replace("127.0.0.1", "localhost")):
        assert httpx.get(address, timeout=5).is_success
        assert requests.get(address, timeout=5).ok
    with pytest.raises(httpx.ConnectError):
        httpx.get("http://lab.invalid/", timeout=5)
    kept = os.environ["NO_PROXY"].split(",")
    assert kept == os.environ["no_proxy"].split(",")
    assert set(kept) >= {*LOOPBACK}
    assert ("lab.example" in kept) == ("NO_PROXY" in exceptions), "what was excepted stays so"


def test_exceptions_are_not_added_twice() -> None:
    environment = {"no_proxy": "::1, example.org,"}
    keep_loopback_direct(environment)
    once = dict(environment)
    keep_loopback_direct(environment)
    assert environment == once
    assert environment["NO_PROXY"].split(",") == ["::1", "example.org", "localhost", "127.0.0.1"]
    everything = {"NO_PROXY": "*"}
    keep_loopback_direct(everything)
    assert everything["NO_PROXY"] == everything["no_proxy"] == "*"
    assert urllib.request.proxy_bypass_environment("example.org", {"no": everything["no_proxy"]})


@pytest.mark.parametrize("name", ["HTTP_PROXY", "all_proxy"])
@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("socks4://me:hidden@127.0.0.1:1080", "'socks4'"),
        ("ftp://127.0.0.1:21", "'ftp'"),
        ("http://me:hidden@127.0.0.1:port", "no address"),
        ("http://127.0.0.1:99999", "no address"),
        ("http:/127.0.0.1:3128", "no address"),
        ("http://", "no address"),
        ("http://:3128", "no address"),
        ("http://[::1", "no address"),
        (" http://127.0.0.1:3128", "'"),
        ("127.0.0.1:3128 # office", "no address"),
        ("://", "'"),
    ],
)
def test_a_proxy_that_no_library_could_use_is_named(name: str, value: str, found: str) -> None:
    (problem,) = network_problems({name: value})
    assert problem.startswith(f"The proxy that {name} names cannot be used")
    assert found in problem
    assert f"`unset {name}`" in problem
    assert "hidden" not in problem
    with pytest.raises(UsageError, match=name):
        prepare_network({name: value})


@pytest.mark.parametrize(
    "value",
    [
        "http://me:secret@127.0.0.1:3128",
        "127.0.0.1:3128",
        "proxy.example/",
        "HTTPS://[::1]:3128",
        "socks5://127.0.0.1:1080",
        "socks5h://me:secret@proxy.example:1080",
    ],
)
def test_a_proxy_as_people_write_it_is_fine(value: str) -> None:
    environment = dict.fromkeys(EITHER, value)
    assert list(network_problems(environment)) == []
    assert sorted(proxies_in_use(environment)) == sorted(EITHER)
    assert proxies_in_use({"HTTP_PROXY": ""}) == []


@pytest.mark.parametrize("entry", ["fe80::/10", "host:port", "[fe80::1]"])
def test_an_exception_that_httpx_fails_on_is_named(entry: str) -> None:
    environment = {"NO_PROXY": f"localhost, {entry}"}
    (problem,) = network_problems(environment)
    assert "NO_PROXY" in problem
    assert entry in problem


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    import certifi

    path = tmp_path / "good.pem"
    path.write_bytes(Path(certifi.where()).read_bytes())
    return path


@pytest.mark.parametrize("name", CERTIFICATE_FILES)
@pytest.mark.parametrize("kind", ["missing", "text", "empty", "binary", "key"])
def test_a_file_that_is_no_certificate_is_named(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / kind
    content = {
        "text": b"hello",
        "empty": b"",
        "binary": bytes(range(256)),
        "key": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    }
    if kind in content:
        path.write_bytes(content[kind])
    (problem,) = network_problems({name: str(path)})
    assert problem.startswith(f"{name} names {str(path)!r}")
    assert f"`unset {name}`" in problem
    assert ("No such file" in problem) == (kind == "missing")


def test_certificates_as_they_should_be_are_fine(certificate: Path, tmp_path: Path) -> None:
    good = {
        **dict.fromkeys(CERTIFICATE_FILES, str(certificate)),
        "SSL_CERT_DIR": f"{tmp_path}{os.pathsep}{certificate.parent}",
    }
    assert list(network_problems(good)) == []
    assert list(network_problems({**good, "REQUESTS_CA_BUNDLE": str(tmp_path)})) == []
    assert list(network_problems(dict.fromkeys((*CERTIFICATE_FILES, "SSL_CERT_DIR"), ""))) == []
    assert "SSL_CERT_FILE" in next(network_problems({"SSL_CERT_FILE": str(tmp_path)}))
    folders = {"SSL_CERT_DIR": f"{tmp_path}{os.pathsep}{tmp_path / 'gone'}"}
    assert "gone" in next(network_problems(folders))
    hashed = {"SSL_CERT_DIR": str(tmp_path)}
    assert "holds none" in next(network_problems(hashed)), "no https would be verified"
    certificate.rename(tmp_path / "4bfab552.0")
    assert list(network_problems(hashed)) == []
