"""The output of a job: read as it comes, capped, made readable."""

import os
import re
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Protocol

from nightlab.sandbox.vital_thread import VitalThread

LOG_HEAD_BYTES = 16 * 1024
LOG_TAIL_BYTES = 48 * 1024

_CHUNK_BYTES = 64 * 1024
_CHUNK_SECONDS = 0.002
"""Waited after every read: a flood of output costs its sender's time, not ours."""
_SETTLE_SECONDS = 0.005

# Escape sequences and control characters: the log is shown in terminals and pages.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[^\[]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class CappedLog:
    """Keeps the head and the tail of a stream, and counts what fell out between."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0
        self._guard = threading.Lock()

    def add(self, data: bytes) -> None:
        """Take in the next bytes of the stream."""
        with self._guard:
            room = LOG_HEAD_BYTES - len(self._head)
            self._head += data[:room]
            self._tail += data[room:] if room > 0 else data
            surplus = len(self._tail) - LOG_TAIL_BYTES
            if surplus > 0:
                del self._tail[:surplus]
                self._dropped += surplus

    def text(self) -> str:
        """What was kept, readable: no control characters, the gap told."""
        with self._guard:
            head, tail, dropped = bytes(self._head), bytes(self._tail), self._dropped
        gap = f"\n… {dropped} bytes of output left out …\n".encode() if dropped else b""
        text = (head + gap + tail).decode("utf-8", errors="replace").replace("\r\n", "\n")
        return _ESCAPES.sub("", text.replace("\r", "\n"))


class Stream(Protocol):
    """The reading end of a pipe or of a socket pair."""

    def fileno(self) -> int:
        """Its descriptor."""

    def close(self) -> None:
        """Let go of it."""


def reading_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends, of which ours reads what is written into the other one.

    Sockets and no pipe: a job of the engine's own user could open a pipe once more for reading,
    through /proc, and take out of it what we wait for. What it reads of a socket is its end.
    """
    ours, theirs = socket.socketpair()
    ours.shutdown(socket.SHUT_WR)
    return ours, theirs


class LogReader:
    """Reads output to its end in a thread of its own, and closes it.

    Args:
        output: what is printed.
        end_job: ends who prints, should the reading break down.
    """

    def __init__(self, output: Stream, end_job: Callable[[], None] = lambda: None) -> None:
        self._output = output
        # Never waited for with the lock in hand: somebody else may have read what came.
        os.set_blocking(output.fileno(), False)
        self._log = CappedLog()
        self._ended = False
        self._reading = threading.Lock()
        self._thread = VitalThread("nightlab-log", self._run, end_job)
        self._thread.start()

    @property
    def broken(self) -> BaseException | None:
        """What ended the reading before the end."""
        return self._thread.broken

    @property
    def text(self) -> str:
        """What came so far."""
        return self._log.text()

    def settle(self, seconds: float) -> None:
        """Wait until all that was printed before now is in, a flood of it ``seconds`` at most."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self._reading:
                if self._ended or not self._readable(0):
                    return
            time.sleep(_SETTLE_SECONDS)

    def join(self, seconds: float) -> None:
        """Wait for the end of the stream."""
        self._thread.join(seconds)

    def _run(self) -> None:
        with closing(self._output):
            while not self._ended:
                self._readable(None)
                with self._reading:
                    self._read()
                time.sleep(_CHUNK_SECONDS)

    def _read(self) -> None:
        try:
            data = os.read(self._output.fileno(), _CHUNK_BYTES)
        except BlockingIOError:
            return
        self._log.add(data)
        self._ended = not data

    def _readable(self, timeout_ms: int | None) -> bool:
        waiting = select.poll()
        waiting.register(self._output.fileno(), select.POLLIN)
        return bool(waiting.poll(timeout_ms))
