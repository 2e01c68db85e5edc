"""A real HTTP server on loopback that speaks the OpenAI chat protocol from a script.

Each request takes the next answer of the script; a plain string is an answer in text, and a
function makes one of the request. A text is streamed to who asks for a stream::

    with ScriptedEndpoint([answer_with_edit("DEPTH = 4", "DEPTH = 5"), Failure(429)]) as endpoint:
        litellm.completion(model="openai/scripted", api_base=endpoint.api_base, ...)
    assert len(endpoint.requests) == 2

A request after the end of the script gets a 400 that says so, which no client retries.
"""

import json
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A well-formed answer in text, with the usage that the server reports."""

    content: str | None
    prompt_tokens: int = 100
    completion_tokens: int = 10
    finish_reason: str = "stop"
    delay_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of the protocol: a status, a message, and maybe a Retry-After."""

    status: int
    message: str = "scripted failure"
    retry_after: str | None = None
    code: str | None = None
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Raw:
    """A body as it stands: malformed JSON, for instance."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """An answer in server-sent events as they stand, and what the server does after them."""

    lines: Sequence[str]
    seconds_between: float = 0.0
    then_silent_seconds: float = 0.0
    """Before it closes the connection."""
    content_type: str = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Hang:
    """No answer for so many seconds, then a closed connection."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Drip:
    """An answer whose bytes come one by one, so that no single read takes long."""

    content: str
    seconds_between: float = 0.1


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The connection is closed in the middle of the answer."""


Answer = str | Text | Failure | Raw | Events | Hang | Drip | Disconnect
Scripted = Answer | Callable[["RecordedRequest"], Answer]


def answer_with_edit(
    search: str,
    replace: str,
    *,
    title: str = "A scripted edit",
    hypothesis: str = "The script says that it helps.",
) -> str:
    """An answer with one SEARCH/REPLACE block, in the format that the prompt asks for."""
    return (
        f"TITLE: {title}\nHYPOTHESIS: {hypothesis}\n\n"
        f"<<<<<<< SEARCH\n{_lines(search)}=======\n{_lines(replace)}>>>>>>> REPLACE\n"
    )


def _lines(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def chat_completion(answer: Text) -> bytes:
    """The JSON body of a chat completion."""
    usage = {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }
    message = {"role": "assistant", "content": answer.content}
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason}
    body = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "scripted",
        "choices": [choice],
        "usage": usage,
    }
    return json.dumps(body).encode()


def chunk(
    content: object = None, *, finish_reason: str | None = None, **more: object
) -> dict[str, Any]:
    """One event of a stream, as JSON."""
    delta = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": {**delta, **more}, "finish_reason": finish_reason}
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "scripted",
        "choices": [choice],
    }


def streamed(answer: Text, usage: bool = True) -> list[str]:
    """The lines of a stream that make up an answer in text."""
    text = answer.content or ""
    pieces = [text[at : at + 200] for at in range(0, len(text), 200)]
    whole = json.loads(chat_completion(answer))
    chunks = [chunk(role="assistant"), *map(chunk, pieces)]
    chunks.append(chunk(finish_reason=answer.finish_reason))
    if usage:
        chunks.append({**chunk(), "choices": [], "usage": whole["usage"]})
    return [*(f"data: {json.dumps(each)}\n" for each in chunks), "data: [DONE]\n"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """What a client sent."""

    path: str
    headers: Mapping[str, str]
    """With names in lower case."""
    body: Mapping[str, Any]

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages of the chat."""
        return list(self.body["messages"])

    @property
    def text(self) -> str:
        """All messages, one after the other."""
        return "\n\n".join(str(message["content"]) for message in self.messages)


@dataclass
class ScriptedEndpoint:
    """The server; use it as a context manager.

    With ``cycle`` the script begins anew after its end.
    """

    script: Sequence[Scripted]
    cycle: bool = False
    streams: bool = True
    """Whether texts are streamed to who asks for it; a server that cannot answers at once."""
    certificate: str | None = None
    """A file with a key and its certificate; then it speaks TLS."""
    was_left: threading.Event = field(default_factory=threading.Event)
    """Set once a client has closed the connection before its answer ended."""
    requests: list[RecordedRequest] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None
    _ended: threading.Event = field(default_factory=threading.Event)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"endpoint": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    @property
    def api_base(self) -> str:
        """What a client is given as its base address."""
        if self._server is None:
            raise RuntimeError("the scripted endpoint is used outside its with block")
        scheme = "http" if self.certificate is None else "https"
        return f"{scheme}://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def ended(self) -> threading.Event:
        """Set when the block is left: whatever still waits gives up."""
        return self._ended

    def take(self, request: RecordedRequest) -> Answer:
        """Record a request and give its answer."""
        with self._guard:
            index = len(self.requests)
            self.requests.append(request)
        if self.cycle:
            index %= len(self.script)
        if index < len(self.script):
            scripted = self.script[index]
            return scripted(request) if callable(scripted) else scripted
        return Failure(400, f"the script has {len(self.script)} answers and this is one more")


class _Handler(BaseHTTPRequestHandler):
    endpoint: ScriptedEndpoint
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = RecordedRequest(path=self.path, headers=headers, body=json.loads(body))
        answer = self.endpoint.take(request)
        try:
            self._answer(Text(content=answer) if isinstance(answer, str) else answer, request)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.endpoint.was_left.set()
            self.close_connection = True

    def _answer(self, answer: Answer, request: RecordedRequest) -> None:
        match answer:
            case Text():
                self._pause(answer.delay_seconds)
                if self.endpoint.streams and request.body.get("stream"):
                    options = request.body.get("stream_options") or {}
                    lines = streamed(answer, usage=bool(options.get("include_usage")))
                    self._stream(Events(lines=lines))
                else:
                    self._send(200, chat_completion(answer))
            case Failure():
                error = {
                    "message": answer.message,
                    "type": "scripted",
                    "code": answer.code,
                    "param": answer.param,
                }
                extra = {} if answer.retry_after is None else {"Retry-After": answer.retry_after}
                body = json.dumps({"error": error}).encode()
                self._send(answer.status, body, extra={**extra, **answer.headers})
            case Raw():
                self._send(answer.status, answer.body, answer.content_type, answer.headers)
            case Events():
                self._stream(answer)
            case Hang():
                self._pause(answer.seconds)
                self.close_connection = True
            case Drip():
                self._drip(chat_completion(Text(content=answer.content)), answer.seconds_between)
            case Disconnect():
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b'{"id": "cut')
                self.close_connection = True

    def _stream(self, answer: Events) -> None:
        self.send_response(200)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in answer.lines:
            if self.endpoint.ended.wait(answer.seconds_between):
                return
            data = f"{line}\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        if answer.then_silent_seconds:
            self._pause(answer.then_silent_seconds)
            self.close_connection = True
            return
        self.wfile.write(b"0\r\n\r\n")

    def _pause(self, seconds: float) -> None:
        """Say nothing for a while, or until the client has left."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.endpoint.ended.is_set():
            readable, _, _ = select.select([self.connection], [], [], 0.05)
            flags = socket.MSG_PEEK if self.endpoint.certificate is None else 0
            if readable and not self.connection.recv(1, flags):
                raise ConnectionResetError("the client has left")

    def _send(
        self,
        status: int,
        body: bytes,
        content_type: str = "application/json",
        extra: Mapping[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (extra or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _drip(self, body: bytes, seconds_between: float) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for byte in body:
            if self.endpoint.ended.wait(seconds_between):
                return
            self.wfile.write(bytes([byte]))
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the requests are recorded."""
