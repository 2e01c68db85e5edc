"""The wire under litellm: every request of a call passes here, whichever provider it is for.

litellm reads whole answers well and streams badly (an error in an event loses its words, content
in parts cannot be read, an endpoint that does not stream gives an empty answer), and nothing in
it closes a request that was given up. So litellm is asked for whole answers, and this transport,
which it has all its HTTP sent through, asks an endpoint of the chat protocol for a stream and
hands litellm the completion that the stream makes. Here too a refused parameter is found and the
request sent again without it, and what a server said is kept in its own words.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpx

from nightlab.models.chat_stream import BrokenOffError, whole_completion
from nightlab.models.connection import OverdueError, Received, exchange
from nightlab.models.said import FIRST_ERROR_STATUS, Said, error_in, json_in, said_in, said_of
from nightlab.models.terms import ANSWER_LIMITS, Terms

CHAT_PATH = "/chat/completions"
# Of the answer as it came; what litellm is handed is in another form, and nothing is to follow
# where it led.
_FORM_HEADERS = frozenset(
    {
        *("content-length", "content-encoding", "transfer-encoding", "content-type"),
        *("connection", "location"),
    }
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
    refusal: httpx.Response | None = None
    """What litellm was handed for what was said."""
    _began: float | None = None

    @property
    def deadline(self) -> float:
        """On the monotonic clock: of all requests of the call, from when the first is sent."""
        if self._began is None:
            self._began = time.monotonic()
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


class Wire(httpx.BaseTransport):
    """The transport that litellm is given."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and make of what comes back one answer with a body.

        Raises:
            httpx.TransportError: no answer came, or not in time.
        """
        call = _CALL.get() or Call(terms=Terms(), total_seconds=60.0, idle_seconds=60.0)
        if call.refusal is not None and call.refusal.request.url == request.url:
            return call.refusal  # litellm asks again after some: it would be refused again.
        try:
            return self._answer(request, call)
        except httpx.TransportError as error:
            call.overdue = error.which if isinstance(error, OverdueError) else None
            call.broken = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, httpx.LocalProtocolError):
                call.broken = "a header, such as the key's, has characters that none may have"
            raise

    def _answer(self, request: httpx.Request, call: Call) -> httpx.Response:
        chat = _chat_body(request)
        if chat is None:
            received = exchange(request, call.deadline, call.idle_seconds)
            said = None
            if received.status >= FIRST_ERROR_STATUS:
                said = said_in(received.status, received.headers, received.body)
            return _handed_on(request, received, received.body, said, call)
        while True:
            sent = call.terms.applied(chat)
            is_limited = any(name in sent for name in ANSWER_LIMITS)
            most = None if is_limited else call.answer_tokens
            asked = _with_body(request, sent)
            received = exchange(
                asked, call.deadline, call.idle_seconds, is_chat=True, most_tokens=most
            )
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
    body = json_in(received.body)
    told = error_in(body)
    if told is not None:
        return said_of(told, received.headers), b""
    if isinstance(body, dict):
        return None, json.dumps(whole_completion(body)).encode()
    return None, received.body  # litellm says what is wrong with it.


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
        call.refusal = response
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
