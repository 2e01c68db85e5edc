"""A real HTTP server on loopback that refuses every request, and repeats its key in all forms."""

import itertools
import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.key_forms import FORMS


def all_forms(key: str) -> str:
    """A key in all forms, as one text."""
    return "; ".join(write(key) for write in FORMS.values())


def needles(key: str) -> set[bytes]:
    """What must be found nowhere: each form of a key, and long parts of the key itself."""
    forms = {write(key).strip() for write in FORMS.values()}
    # Their lines too: what stores a text may break it elsewhere.
    lines = {line for form in forms for line in form.splitlines() if len(line) > 9}
    return {text.encode() for text in {*forms, *lines, key[4:-2], key.upper()[4:-2]}}


@contextmanager
def echoing_endpoint(statuses: Iterable[int]) -> Iterator[tuple[str, list[str]]]:
    """Serve; give the base address, and the list that fills with the keys that came."""
    keys: list[str] = []
    turns = itertools.cycle(statuses)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            key = self.headers["Authorization"].removeprefix("Bearer ")
            keys.append(key)
            error = {"message": all_forms(key), "type": key, "code": key}
            body = json.dumps({"error": error}).encode()
            self.send_response(next(turns), f"No {key}")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Retry-After", key)
            for number, write in enumerate(FORMS.values()):
                text = write(key).encode("ascii", "replace").decode()
                self.send_header(f"X-Echo-{number}", "".join(filter(str.isprintable, text)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1", keys
        server.shutdown()
