"""Chromium without a window, driven over its debugging protocol: how long a page takes to show."""

import itertools
import json
import shutil
import subprocess
import tempfile
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect
from websockets.sync.connection import Connection

SIZE = "1600,1000"
START_SECONDS = 60
ANSWER_SECONDS = 60
LOOK_EVERY_SECONDS = 0.05


@dataclass(slots=True)
class Page:
    """A tab."""

    socket: Connection
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def open(self, address: str, shown: str, seconds: float = 120) -> float | None:
        """Open an address; returns the seconds until an expression holds, or None if it never did.

        Args:
            address: of the page.
            shown: JavaScript that is true once what matters can be read on the page.
            seconds: the longest wait.
        """
        self._ask("Page.navigate", url="about:blank")
        began = time.monotonic()
        self._ask("Page.navigate", url=address)
        while time.monotonic() - began < seconds:
            if self.evaluate(f"!!({shown})"):
                return time.monotonic() - began
            time.sleep(LOOK_EVERY_SECONDS)
        return None

    def evaluate(self, expression: str) -> Any:
        """What JavaScript comes to on the page."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer.get("result", {}).get("value")

    def picture(self, path: Path) -> None:
        """Save what the window shows."""
        path.write_bytes(b64decode(self._ask("Page.captureScreenshot")["data"]))

    def _ask(self, method: str, **parameters: object) -> dict[str, Any]:
        number = next(self._numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            said = json.loads(self.socket.recv(timeout=ANSWER_SECONDS))
            if said.get("id") == number:
                answer: dict[str, Any] = said.get("result", {})
                return answer


@contextmanager
def browser(size: str = SIZE) -> Iterator[Page]:
    """A browser of this measurement's own, with nothing cached.

    Args:
        size: of its window, in pixels: WIDTH,HEIGHT.

    Raises:
        RuntimeError: there is no chromium on the PATH, or it does not start.
    """
    program = shutil.which("chromium")
    if program is None:
        raise RuntimeError("Pages are opened in chromium, and there is none on the PATH.")
    with tempfile.TemporaryDirectory(prefix="nightlab-browser-") as folder:
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--window-size={size}"]
        flags += ["--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"]
        process = subprocess.Popen([program, *flags], stderr=subprocess.DEVNULL)
        try:
            with connect(_tab(Path(folder)), max_size=None) as socket:
                yield Page(socket)
        finally:
            process.terminate()
            process.wait()


def _tab(folder: Path) -> str:
    """The address of the first tab, once the browser has written where it listens."""
    said = folder / "DevToolsActivePort"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if said.is_file() and (lines := said.read_text().splitlines()):
            tabs = httpx.get(f"http://127.0.0.1:{lines[0]}/json/list").json()
            address: str = next(
                tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"
            )
            return address
        time.sleep(LOOK_EVERY_SECONDS)
    raise RuntimeError(f"chromium did not start within {START_SECONDS} s")
