"""A file server that misbehaves on request, and text to make corpora of."""

import hashlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(slots=True, kw_only=True)
class Fault:
    """What the hub does instead of answering as it should."""

    method: str = "GET"
    status: int | None = None
    """Answer with this status and no file."""
    after_bytes: int | None = None
    """Promise the whole length, then close the connection after so many bytes."""
    reset: bool = False
    """Close it without a farewell, as a router does that forgets."""
    content: bytes | None = None
    """Send this instead of the file that HEAD described."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    range: str | None
    authorization: str | None
    status: int


@dataclass(slots=True)
class FileServer:
    """Stands in for the hub; takes one of a path's ``faults`` for each request of its method."""

    address: str
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=lambda: {"X-Repo-Commit": COMMIT})
    requests: list[Asked] = field(default_factory=list)

    def asked(self, method: str) -> list[tuple[str | None, int]]:
        """Range and status of each request of the method."""
        return [(one.range, one.status) for one in self.requests if one.method == method]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: FileServer

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        faults = self.served.faults.get(self.path, [])
        fault = faults.pop(0) if faults and faults[0].method == self.command else Fault()
        content = self.served.files.get(self.path)
        status = fault.status or (404 if content is None else 206 if wanted else 200)
        sent = fault.content or content if status in (200, 206) else None
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and sent else 0
        self.served.requests.append(
            Asked(
                method=self.command,
                path=self.path,
                range=wanted,
                authorization=self.headers.get("Authorization"),
                status=status,
            )
        )
        self.send_response(status)
        if content is not None:
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            for name, value in self.served.headers.items():
                self.send_header(name, value)
        if sent is not None and status == 206:
            self.send_header("Content-Range", f"bytes {begin}-{len(sent) - 1}/{len(sent)}")
        body = sent[begin:] if sent is not None else b""
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: fault.after_bytes])
        if fault.after_bytes is not None:
            self._break_off(reset=fault.reset)

    def _break_off(self, *, reset: bool) -> None:
        self.wfile.flush()
        self.close_connection = True
        if reset:
            at_once = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            self.connection.close()
        else:
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def file_server() -> Iterator[FileServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    served = FileServer(f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass = type("Handler", (_Handler,), {"served": served})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let neither the library nor ours wait before it tries again."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def sentences(seed: int, count: int) -> str:
    """Return text that looks like English to a tokenizer and repeats nothing."""
    chance = random.Random(seed)
    syllables = ["ba", "ro", "mi", "ten", "lo", "sha", "ki", "ver", "du", "nal", "pe", "ost"]
    words = ["".join(chance.choices(syllables, k=chance.randint(1, 3))) for _ in range(400)]
    lines = [" ".join(chance.choices(words, k=12)).capitalize() + "." for _ in range(count)]
    return "\n".join(lines) + "\n"


@pytest.fixture
def text() -> Callable[[int, int], str]:
    return sentences


@pytest.fixture
def text_folder(tmp_path: Path) -> Path:
    """About 200 kB of text in 60 files: enough for a tiny corpus."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number:02d}.txt").write_text(sentences(number, 40), encoding="utf-8")
    return folder


@pytest.fixture
def shard() -> Callable[[int, int], bytes]:
    """Make a Parquet shard with a column ``text``."""

    def make(seed: int, rows: int) -> bytes:
        texts = [sentences(seed * 100_000 + row, 20) for row in range(rows)]
        sink = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(pyarrow.table({"text": texts}), sink)
        content: bytes = sink.getvalue().to_pybytes()
        return content

    return make
