"""The wire under litellm: every request of a call passes here, whichever provider it is for.

litellm reads whole answers well and streams badly (an error in an event loses its words, content
in parts cannot be read, an endpoint that does not stream gives an empty answer), and nothing in
it closes a request that was given up. So litellm is asked for whole answers, and this transport,
which it has all its HTTP sent through, asks an endpoint of the chat protocol for a stream and
hands litellm the completion that the stream makes. Here too a refused parameter is found and the
request sent again without it, and what a server said is kept in its own words.
"""

import contextlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from nightlab.proposers.chat_stream import (
    BrokenOffError,
    ChatStream,
    Lines,
    is_stream,
    whole_completion,
)
from nightlab.proposers.said import OK, Said, error_in, said_in, said_of
from nightlab.proposers.terms import ANSWER_LIMITS, Terms

CHAT_PATH = "/chat/completions"
CONNECT_SECONDS = 30.0
CHARACTERS_PER_TOKEN = 3
"""Of an answer that its endpoint does not limit and the reader has to; fewer than usual, so that a
cap holds."""
MOST_BYTES = 64 * 1024 * 1024
"""Of an answer."""
FIRST_ERROR_STATUS = 400
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
# Of the answer as it came; what litellm is handed is in another form.
_FORM_HEADERS = frozenset(
    {"content-length", "content-encoding", "transfer-encoding", "content-type", "connection"}
)


@dataclass(slots=True, kw_only=True)
class Call:
    """One call of a model: how long it may take, and what came of it on the wire."""

    terms: Terms
    total_seconds: float
    idle_seconds: float
    """Longest silence once the answer has begun."""
    answer_tokens: int | None = None
    """The longest answer that is paid for."""
    say_dropped: Callable[[str], None] = lambda name: None
    """Told of each parameter that the endpoint does not take."""
    said: Said | None = None
    """What the server answered in place of a completion."""
    overdue: str | None = None
    """Which limit ended it: ``total`` or ``idle``."""
    broken: str | None = None
    """Why the connection did not bring an answer."""
    _began: float = field(default_factory=time.monotonic)
    _refusal: httpx.Response | None = None

    @property
    def deadline(self) -> float:
        """On the monotonic clock."""
        return self._began + self.total_seconds


_CALL: ContextVar[Call | None] = ContextVar("model_call", default=None)


@contextmanager
def calling(call: Call) -> Iterator[None]:
    """Have the requests of the block belong to a call, those of threads with its context too."""
    token = _CALL.set(call)
    try:
        yield
    finally:
        _CALL.reset(token)


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


class Wire(httpx.BaseTransport):
    """The transport that litellm is given."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and make of what comes back one answer with a body.

        Raises:
            httpx.TransportError: no answer came, or not in time.
        """
        call = _CALL.get() or Call(terms=Terms(), total_seconds=60.0, idle_seconds=60.0)
        if call._refusal is not None:
            return call._refusal  # litellm asks again after some: it would be refused again.
        try:
            return self._answer(request, call)
        except httpx.TransportError as error:
            call.broken = " ".join(str(error).split()) or type(error).__name__
            raise

    def _answer(self, request: httpx.Request, call: Call) -> httpx.Response:
        chat = _chat_body(request)
        if chat is None:
            received = exchange(request, call)
            said = None
            if received.status >= FIRST_ERROR_STATUS:
                said = said_in(received.status, received.headers, received.body)
            return _handed_on(request, received, received.body, said, call)
        while True:
            sent = call.terms.applied(chat)
            is_limited = any(name in sent for name in ANSWER_LIMITS)
            most = None if is_limited else call.answer_tokens
            received = exchange(_with_body(request, sent), call, most)
            said, body = _read(received)
            changed = None if said is None else call.terms.learn(sent, said)
            if changed is None:
                return _handed_on(request, received, body, said, call)
            call.say_dropped(changed)


def _read(received: Received) -> tuple[Said | None, bytes]:
    """What a server said, or the completion's body."""
    if received.status >= FIRST_ERROR_STATUS:
        return said_in(received.status, received.headers, received.body), received.body
    stream = received.stream
    if stream is not None:
        if stream.error is not None:
            return stream.error, b""
        try:
            made = stream.completion("length" if received.was_cut else None)
        except BrokenOffError as error:
            raise httpx.RemoteProtocolError(str(error)) from None
        return None, json.dumps(made).encode()
    try:
        body = json.loads(received.body)
    except ValueError:
        return None, received.body  # litellm says what is wrong with it.
    error = error_in(body)
    if error is not None:
        return said_of(error, received.headers), b""
    if isinstance(body, dict):
        return None, json.dumps(whole_completion(body)).encode()
    return None, received.body


def _handed_on(
    request: httpx.Request, received: Received, body: bytes, said: Said | None, call: Call
) -> httpx.Response:
    """What litellm is given."""
    headers = {name: value for name, value in received.headers.items() if name not in _FORM_HEADERS}
    if received.stream is not None or said is not None:
        headers["content-type"] = "application/json"
    elif "content-type" in received.headers:
        headers["content-type"] = received.headers["content-type"]
    status = received.status
    if said is not None:
        call.said = said
        status = said.status
        if said.is_protocol or not body:
            body = json.dumps({"error": {"message": said.text, "code": said.code}}).encode()
    response = httpx.Response(status, headers=headers, content=body, request=request)
    if said is not None:
        call._refusal = response
    return response


def _chat_body(request: httpx.Request) -> dict[str, Any] | None:
    """The body of a request of the chat protocol; None of another."""
    if not request.url.path.endswith(CHAT_PATH):
        return None
    try:
        body = json.loads(request.read())
    except ValueError:
        return None
    return body if isinstance(body, dict) and "messages" in body else None


def _with_body(request: httpx.Request, body: Mapping[str, Any]) -> httpx.Request:
    headers = [
        (name, value) for name, value in request.headers.raw if name.lower() != b"content-length"
    ]
    content = json.dumps(body).encode()
    return httpx.Request(request.method, request.url, headers=headers, content=content)


def exchange(request: httpx.Request, call: Call, most_tokens: int | None = None) -> Received:
    """Send one request and receive its answer, within the call's limits on time.

    Args:
        request: what is sent.
        call: whose limits count.
        most_tokens: longest answer that is read; None where the endpoint was told.

    Raises:
        httpx.TransportError: no answer came, or not in time; the connection is closed.
    """
    with Watch(call) as watch, _client(request.url) as client:
        left = max(0.001, call.deadline - time.monotonic())
        request.extensions = {
            "timeout": {"connect": min(CONNECT_SECONDS, left), "read": left, "write": left},
            "trace": watch.trace,
        }
        try:
            response = client.send(request, stream=True, auth=None, follow_redirects=False)
            return _receive(response, watch, most_tokens)
        except httpx.TransportError as error:
            if watch.cut is None and isinstance(error, httpx.ReadTimeout):
                watch.cut = "total"
            if watch.cut is None:
                raise
            call.overdue = watch.cut
            raise httpx.ReadTimeout("no answer in time", request=request) from error


def _client(address: httpx.URL) -> httpx.Client:
    """A client of one request: closing it closes the connection.

    Raises:
        httpx.ConnectError: the machine's proxies or certificates are not as they must be.
    """
    try:
        return httpx.Client(
            # Certificates take a while to load.
            verify=address.scheme == "https",
            trust_env=address.host not in _LOOPBACK,
            timeout=None,
        )
    except (OSError, ValueError, ImportError) as error:
        raise httpx.ConnectError(f"the proxies or certificates set here: {error}") from error


def _receive(response: httpx.Response, watch: "Watch", most_tokens: int | None) -> Received:
    headers = {name.lower(): value for name, value in response.headers.items()}
    if response.status_code != OK:
        body = _all_of(response.iter_bytes(), watch)
        return Received(status=response.status_code, headers=headers, body=body)
    chunks = response.iter_bytes()
    first = next((chunk for chunk in chunks if chunk.strip()), b"")
    if not is_stream(headers.get("content-type", ""), first):
        body = first + _all_of(chunks, watch)
        return Received(status=OK, headers=headers, body=body)
    stream = ChatStream(headers=headers)
    was_cut = _fill(stream, first, chunks, watch, most_tokens)
    return Received(status=OK, headers=headers, stream=stream, was_cut=was_cut)


def _all_of(chunks: Iterator[bytes], watch: "Watch") -> bytes:
    body = bytearray()
    for chunk in chunks:
        watch.heard()
        body += chunk
        if len(body) > MOST_BYTES:
            raise httpx.RemoteProtocolError(f"an answer of more than {MOST_BYTES} bytes")
    return bytes(body)


def _fill(
    stream: ChatStream,
    first: bytes,
    chunks: Iterator[bytes],
    watch: "Watch",
    most_tokens: int | None,
) -> bool:
    """Read events until the answer ends; return whether it was cut off for its length."""
    lines = Lines()
    longest = MOST_BYTES if most_tokens is None else most_tokens * CHARACTERS_PER_TOKEN
    try:
        for chunk in itertools.chain([first], chunks):
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

    def __init__(self, call: Call) -> None:
        super().__init__(name="model-call-watch", daemon=True)
        self._call = call
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
            return self._call.deadline, "total"
        idle = self._heard_at + self._call.idle_seconds
        return min((self._call.deadline, "total"), (idle, "idle"))

    def _shut_down(self) -> None:
        opened = self._stream.get_extra_info("socket") if self._stream is not None else None
        if opened is not None:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
