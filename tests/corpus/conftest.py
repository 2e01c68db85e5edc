"""A file server that misbehaves on request, and text to make corpora of."""

import random
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest


@dataclass(slots=True, kw_only=True)
class Fault:
    """What the server does instead of sending a file whole."""

    status: int | None = None
    """Answer with this status and no file."""
    after_bytes: int | None = None
    """Promise the whole length, then close the connection after so many bytes."""


@dataclass(slots=True)
class FileServer:
    """Serves ``files``; takes one of a path's ``faults`` for each request until none is left."""

    address: str
    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    tags: bool = True
    requests: list[tuple[str, str | None, int]] = field(default_factory=list)
    """Path, Range header, status."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: FileServer

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        faults = self.served.faults.get(self.path, [])
        fault = faults.pop(0) if faults else Fault()
        content = self.served.files.get(self.path)
        status = fault.status or (404 if content is None else 200)
        begin = 0
        if status == 200 and content is not None and wanted is not None:
            fresh = self.headers.get("If-Range") in (None, self._tag(content))
            begin = int(wanted.removeprefix("bytes=").rstrip("-")) if fresh else 0
            status = 206 if fresh else 200
            status = 416 if begin >= len(content) else status
        self.served.requests.append((self.path, wanted, status))
        self.send_response(status)
        body = content[begin:] if content is not None and status in (200, 206) else b""
        if status in (206, 416) and content is not None:
            part = f"{begin}-{len(content) - 1}" if status == 206 else "*"
            self.send_header("Content-Range", f"bytes {part}/{len(content)}")
        if self.served.tags and content is not None:
            self.send_header("ETag", self._tag(content))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: fault.after_bytes])
        if fault.after_bytes is not None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    @staticmethod
    def _tag(content: bytes) -> str:
        return f'"{hash(content):x}"'

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
