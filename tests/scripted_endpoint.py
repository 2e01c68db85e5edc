"""A real HTTP server on loopback that speaks the OpenAI chat protocol from a script.

Each request takes the next answer of the script; a plain string is an answer in text::

    with ScriptedEndpoint([answer_with_edit("DEPTH = 4", "DEPTH = 5"), Failure(429)]) as endpoint:
        litellm.completion(model="openai/scripted", api_base=endpoint.api_base, ...)
    assert len(endpoint.requests) == 2

A request after the end of the script gets a 400 that says so, which no client retries.
"""

import json
import threading
from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class Raw:
    """A body as it stands: malformed JSON, for instance."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"


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


Answer = str | Text | Failure | Raw | Hang | Drip | Disconnect


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

    script: Sequence[Answer]
    cycle: bool = False
    requests: list[RecordedRequest] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None
    _ended: threading.Event = field(default_factory=threading.Event)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        handler = type("Handler", (_Handler,), {"endpoint": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
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
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

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
            return self.script[index % len(self.script)]
        if index < len(self.script):
            return self.script[index]
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
            self._answer(Text(content=answer) if isinstance(answer, str) else answer)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # The client gave up first.

    def _answer(self, answer: Answer) -> None:
        match answer:
            case Text():
                self.endpoint.ended.wait(answer.delay_seconds)
                self._send(200, chat_completion(answer))
            case Failure():
                error = {"message": answer.message, "type": "scripted", "code": answer.code}
                extra = {} if answer.retry_after is None else {"Retry-After": answer.retry_after}
                self._send(answer.status, json.dumps({"error": error}).encode(), extra=extra)
            case Raw():
                self._send(answer.status, answer.body, answer.content_type)
            case Hang():
                self.endpoint.ended.wait(answer.seconds)
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
