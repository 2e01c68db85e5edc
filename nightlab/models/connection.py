"""One request over one connection, bounded in time, and closed when it is given up."""

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import httpx

from nightlab.machine.network import LOOPBACK
from nightlab.models.chat_stream import BrokenOffError, ChatStream, Lines, is_stream
from nightlab.models.said import OK

CONNECT_SECONDS = 30.0
CHARACTERS_PER_TOKEN = 3
"""Of an answer that its endpoint does not limit and the reader has to; fewer than usual, so that a
cap holds."""
MOST_BYTES = 64 * 1024 * 1024
"""Of an answer."""


class OverdueError(httpx.ReadTimeout):
    """An answer had not come in time.

    Attributes:
        which: limit it passed: ``total`` or ``idle``.
    """

    def __init__(self, which: str, request: httpx.Request) -> None:
        super().__init__("no answer in time", request=request)
        self.which = which


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What came back over the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    stream: ChatStream | None = None
    """Where the answer came in events."""
    was_cut: bool = False
    """Whether the reader ended it, since it grew longer than is paid for."""


def exchange(
    request: httpx.Request,
    deadline: float,
    idle_seconds: float,
    *,
    is_chat: bool = False,
    most_tokens: int | None = None,
) -> Received:
    """Send one request and receive its answer in time; the connection is closed in any case.

    Args:
        request: what is sent.
        deadline: for all of it, on the monotonic clock.
        idle_seconds: longest silence once the answer has begun.
        is_chat: whether an answer in events is one of the chat protocol.
        most_tokens: longest answer that is read of it; None where the endpoint was told.

    Raises:
        OverdueError: it took longer.
        httpx.TransportError: no answer came.
    """
    with Watch(deadline, idle_seconds) as watch, _client(request.url) as client:
        left = max(0.001, deadline - time.monotonic())
        request.extensions = {
            "timeout": {"connect": min(CONNECT_SECONDS, left), "read": left, "write": left},
            "trace": watch.trace,
        }
        try:
            response = client.send(request, stream=True, auth=None, follow_redirects=False)
            return _receive(response, watch, is_chat, most_tokens)
        except httpx.TransportError as error:
            if watch.cut is None and isinstance(error, httpx.ReadTimeout):
                watch.cut = "total"
            if watch.cut is None:
                raise
            raise OverdueError(watch.cut, request) from error


def _client(address: httpx.URL) -> httpx.Client:
    """A client of one request: closing it closes the connection.

    Raises:
        httpx.ConnectError: the machine's proxies or certificates are not as they must be.
    """
    try:
        return httpx.Client(
            verify=_certificates() if address.scheme == "https" else False,
            trust_env=address.host not in LOOPBACK,
            timeout=None,
        )
    except (OSError, ValueError, ImportError) as error:
        raise httpx.ConnectError(f"the proxies or certificates set here: {error}") from error


def _certificates() -> Any:
    """Whom an address is believed to, as litellm has it: its variables count here too."""
    from litellm.llms.custom_httpx.http_handler import get_ssl_configuration

    return get_ssl_configuration()


def _receive(
    response: httpx.Response, watch: "Watch", is_chat: bool, most_tokens: int | None
) -> Received:
    headers = {name.lower(): value for name, value in response.headers.items()}
    received = Received(status=response.status_code, headers=headers)
    chunks = response.iter_bytes()
    if is_chat and response.status_code == OK:
        first = next((chunk for chunk in chunks if chunk.strip()), b"")
        chunks = itertools.chain([first], chunks)
        if is_stream(headers.get("content-type", ""), first):
            stream = ChatStream(headers=headers)
            was_cut = _fill(stream, chunks, watch, most_tokens)
            return replace(received, stream=stream, was_cut=was_cut)
    return replace(received, body=_all_of(chunks, watch))


def _all_of(chunks: Iterator[bytes], watch: "Watch") -> bytes:
    body = bytearray()
    for chunk in chunks:
        watch.heard()
        body += chunk
        if len(body) > MOST_BYTES:
            raise httpx.RemoteProtocolError(f"an answer of more than {MOST_BYTES} bytes")
    return bytes(body)


def _fill(
    stream: ChatStream, chunks: Iterator[bytes], watch: "Watch", most_tokens: int | None
) -> bool:
    """Read events until the answer ends; return whether it was cut off for its length."""
    lines = Lines()
    longest = MOST_BYTES if most_tokens is None else most_tokens * CHARACTERS_PER_TOKEN
    try:
        for chunk in chunks:
            watch.heard()
            if _take(stream, lines.feed(chunk), longest):
                return True
            if stream.is_done:
                return False  # Some servers leave the connection open.
        return _take(stream, lines.end(), longest)
    except (UnicodeDecodeError, BrokenOffError) as error:
        raise httpx.RemoteProtocolError(f"a stream that cannot be read: {error}") from None


def _take(stream: ChatStream, events: Iterator[tuple[str, str]], longest: int) -> bool:
    for event, data in events:
        if not stream.is_done:
            stream.take(event, data)
    return stream.num_characters > longest and not stream.is_done


class Watch(threading.Thread):
    """Cuts a connection when its time is over.

    A time-out of the client's bounds each read, and an answer that drips in is never late; so the
    socket is shut down from outside, which wakes whoever reads from it.
    """

    def __init__(self, deadline: float, idle_seconds: float) -> None:
        super().__init__(name="model-call-watch", daemon=True)
        self._deadline, self._idle_seconds = deadline, idle_seconds
        self._stream: Any = None
        self._heard_at: float | None = None
        self._ended = threading.Event()
        self.cut: str | None = None
        """Which limit it was: ``total`` or ``idle``."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def heard(self) -> None:
        """Note that something came."""
        self._heard_at = time.monotonic()

    def trace(self, name: str, details: Mapping[str, Any]) -> None:
        """Note the connection, as the client tells of its steps."""
        opened = details.get("return_value")
        if name.endswith(".complete") and hasattr(opened, "get_extra_info"):
            self._stream = opened

    def run(self) -> None:
        """Wait for the first limit, then shut the socket down until the reader has left."""
        while not self._ended.wait(max(0.0, self._due()[0] - time.monotonic())):
            due, which = self._due()
            if time.monotonic() < due:
                continue
            self.cut = which
            while not self._ended.is_set():
                self._shut_down()
                self._ended.wait(0.1)  # A connection may be opened only now.

    def _due(self) -> tuple[float, str]:
        if self._heard_at is None:
            return self._deadline, "total"
        idle = self._heard_at + self._idle_seconds
        return min((self._deadline, "total"), (idle, "idle"))

    def _shut_down(self) -> None:
        opened = self._stream.get_extra_info("socket") if self._stream is not None else None
        if opened is not None:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
