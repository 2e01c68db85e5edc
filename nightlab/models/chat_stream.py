"""An answer of the chat protocol, streamed or whole, as the one completion that it makes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nightlab.models.content import text_of_content
from nightlab.models.said import Said, error_in, json_in, said_of

DONE = "[DONE]"
LONGEST_LINE = 16 * 1024 * 1024
"""Bytes; no event of an answer has as many."""
MOST_LINES = 100
"""Of one event's data."""
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
"""How the lines of a stream of server-sent events begin."""


class BrokenOffError(ValueError):
    """A stream that ended before the answer did, or that is none."""


def is_stream(content_type: str, beginning: bytes) -> bool:
    """Whether an answer comes in events."""
    kind = content_type.lower()
    return any(word in kind for word in ("event-stream", "ndjson", "jsonl")) or (
        beginning.lstrip().startswith(_FIELDS)
    )


def whole_completion(body: dict[str, Any]) -> dict[str, Any]:
    """A completion that came at once, with its content as one text and usage that can be read."""
    whole = {**body, "usage": usage} if (usage := readable_usage(body.get("usage"))) else dict(body)
    if usage is None:
        whole.pop("usage", None)
    choices = body.get("choices")
    if isinstance(choices, list):
        whole["choices"] = [_with_text(choice) for choice in choices]
    return whole


def readable_usage(usage: Any) -> dict[str, Any] | None:
    """Usage as it was reported; None where its counts are none, so that they are missing."""
    if not isinstance(usage, dict):
        return None
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")]
    are_counts = all(count is None or type(count) is int for count in counts)
    return usage if are_counts else None


def _with_text(choice: Any) -> Any:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict) or not isinstance(message.get("content"), list | dict):
        return choice
    return {**choice, "message": {**message, "content": text_of_content(message["content"])}}


@dataclass(slots=True)
class Lines:
    """Cuts bytes as they come into the data of events.

    Servers differ in line ends, in blanks after the colon, in the blank line between events, and
    some send a line of JSON by itself.
    """

    _rest: bytearray = field(default_factory=bytearray)
    _data: list[str] = field(default_factory=list)
    _event: str = ""

    def feed(self, received: bytes) -> Iterator[tuple[str, str]]:
        """Give the events that are whole by now: each one's name and data.

        Raises:
            UnicodeDecodeError: the bytes are no UTF-8.
            BrokenOffError: a line does not end.
        """
        self._rest += received
        whole: list[bytearray] = []
        if b"\n" in received:  # What came before is not looked through again.
            *whole, self._rest = self._rest.split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            raise BrokenOffError(f"a line of more than {LONGEST_LINE} bytes")
        for line in whole:
            yield from self._line(line.decode().rstrip("\r"))

    def end(self) -> Iterator[tuple[str, str]]:
        """Give what the last line holds, where no line end follows it."""
        yield from self.feed(b"\n\n")

    def _line(self, line: str) -> Iterator[tuple[str, str]]:
        name, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line.strip():
            if self._data:
                yield self._take()
        elif line.lstrip().startswith(("{", "[")):
            yield self._event, line
        elif name == "event" and colon:
            self._event = value.strip()
        elif name == "data" and colon:
            self._data.append(value)
            if len(self._data) > MOST_LINES:
                raise BrokenOffError(f"an event of more than {MOST_LINES} lines")
            joined = "\n".join(self._data)
            if joined.strip() == DONE or json_in(joined) is not None:
                yield self._take()

    def _take(self) -> tuple[str, str]:
        taken = self._event, "\n".join(self._data).strip()
        self._event, self._data = "", []
        return taken


@dataclass(slots=True, kw_only=True)
class ChatStream:
    """The events of one answer, put together."""

    headers: Mapping[str, str]
    error: Said | None = None
    is_done: bool = False
    num_characters: int = 0
    """Of all that was written, reasoning too."""
    _text: list[str] = field(default_factory=list)
    _written: int = 0
    """Characters of the text."""
    _finish_reason: str | None = None
    _usage: Any = None
    _head: dict[str, Any] = field(default_factory=dict)

    def take(self, event: str, data: str) -> None:
        """Add an event.

        Raises:
            BrokenOffError: it cannot be read.
        """
        if data == DONE:
            self.is_done = True
            return
        chunk = json_in(data)
        error = error_in(chunk) if chunk is not None else None
        if error is None and event == "error":
            error = data if chunk is None else chunk
        if error is not None:
            written = self.num_characters > 0
            self.error = said_of(error, self.headers, may_be_billed=written)
            self.is_done = True
            return
        if not isinstance(chunk, dict):
            raise BrokenOffError(f"an event that is no JSON: {data[:200]}")
        self._head = self._head or {key: chunk[key] for key in ("id", "model") if chunk.get(key)}
        self._usage = chunk.get("usage") or self._usage
        choices = chunk.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            self._take_choice(choices[0])

    def _take_choice(self, choice: dict[str, Any]) -> None:
        delta = choice.get("delta") or choice.get("message") or {}
        fields = delta if isinstance(delta, dict) else {}
        text = text_of_content(fields.get("content") or choice.get("text"))
        is_last = choice.get("finish_reason") and not choice.get("delta")
        if is_last and len(text) == self._written and text == "".join(self._text):
            text = ""  # Some servers end with the whole message once more.
        self._text.append(text)
        self._written += len(text)
        # What is thought is paid for too.
        thoughts = (value for name, value in fields.items() if "reasoning" in name)
        self.num_characters += len(self._text[-1])
        self.num_characters += sum(len(value) for value in thoughts if isinstance(value, str))
        reason = choice.get("finish_reason")
        if reason and reason != "null":  # In words, some servers say with each event.
            self._finish_reason = str(reason)

    def completion(self, finish_reason: str | None = None) -> dict[str, Any]:
        """The completion that the events make.

        Args:
            finish_reason: of an answer that the reader cut off.

        Raises:
            BrokenOffError: the stream ended, and the answer had not.
        """
        reason = finish_reason or self._finish_reason
        if reason is None and not self.is_done:
            raise BrokenOffError("the stream ended in the middle of the answer")
        message = {"role": "assistant", "content": "".join(self._text) or None}
        body: dict[str, Any] = {
            "id": "chatcmpl",
            "object": "chat.completion",
            "created": 0,
            "model": "",
            **self._head,
            "choices": [{"index": 0, "message": message, "finish_reason": reason or "stop"}],
        }
        usage = readable_usage(self._usage)
        return body if usage is None else {**body, "usage": usage}
