"""Serves the page of one study on this machine alone, while a session rewrites it."""

import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
FRESH_SECONDS = 6.0
"""Who asked within so many seconds has the page open."""
LINGER_SECONDS = 4.0
POLL_SECONDS = 0.05
TYPES = {".html": "text/html; charset=utf-8", ".svg": "image/svg+xml"}


class PageServer:
    """Two files, by their names and nothing else, on a free port of the loopback interface.

    Args:
        folder: where they stand.
        study: their name without the ending.

    Raises:
        OSError: no port can be had.
    """

    def __init__(self, folder: Path, study: str) -> None:
        files = {f"/{study}{ending}": folder / f"{study}{ending}" for ending in TYPES}
        self._server = _Server((HOST, 0), _Handler)
        self._server.files = files
        self._server.home = f"/{study}.html"
        self.address = f"http://{HOST}:{self._server.server_port}{self._server.home}"
        threading.Thread(target=self._server.serve_forever, name="page", daemon=True).start()

    def close(self, *, is_final: bool) -> None:
        """Stop; a browser that has the page open is first given the last one.

        Args:
            is_final: whether the page was changed just now.
        """
        now = time.monotonic()
        is_open = now - self._server.asked_at < FRESH_SECONDS
        while is_final and is_open and time.monotonic() < now + LINGER_SECONDS:
            if self._server.asked_at > now:
                time.sleep(2 * POLL_SECONDS)  # the answer may be on its way
                break
            time.sleep(POLL_SECONDS)
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    files: dict[str, Path]
    home: str
    asked_at = float("-inf")


class _Handler(BaseHTTPRequestHandler):
    """GET alone; another site's page that was led to this address is refused by its Host."""

    server: _Server
    timeout = 10

    def do_GET(self) -> None:
        """Answer with one of the files, or that it has not changed."""
        port = self.server.server_port
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            self._refuse(HTTPStatus.FORBIDDEN)
            return
        if self.path == "/":
            self.send_response(HTTPStatus.FOUND)
            self.send_header("Location", self.server.home)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path = self.server.files.get(self.path)
        if path is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        self.server.asked_at = time.monotonic()
        try:
            content = path.read_bytes()
            tag = f'"{path.stat().st_mtime_ns:x}-{len(content):x}"'
        except OSError:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        is_known = self.headers.get("If-None-Match") == tag
        self.send_response(HTTPStatus.NOT_MODIFIED if is_known else HTTPStatus.OK)
        self.send_header("ETag", tag)
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "DENY")
        if not is_known:
            self.send_header("Content-Type", TYPES[path.suffix])
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not is_known:
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing: the terminal is the session's."""

    def _refuse(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
