"""What a server says in place of a completion: its words, and the status that they stand for.

Servers put errors into many forms: the protocol's ``{"error": {…}}``, a string there, FastAPI's
``detail``, a list around it, an event of a stream; with a status of their own, or inside a 200.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from nightlab.models.words import STATUS_OF_CODE

OK = 200
REDIRECTS = (301, 302, 303, 307, 308)
"""No completion, and not followed: of the headers that hold keys, clients leave one out."""
FIRST_ERROR_STATUS = 300
_TEXT_NAMES = (
    *("message", "msg", "status_msg", "error_msg", "error_message"),
    *("detail", "details", "errors"),
)
DEEPEST = 100
"""Levels of JSON; what reads it recurses."""
SILENT_STATUS = 500
"""Of an error inside a 200 that does not say what kind it is: another try may help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An error, as a server told it."""

    status: int
    """Of the answer; of an error inside a 200 the one that its words stand for."""
    text: str
    """Its words."""
    code: str = ""
    """What it calls itself: codes and types, with blanks between."""
    param: str = ""
    """The parameter that it names as the cause."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """With names in lower case."""
    body: str = ""
    """All of it, as text."""
    is_inside: bool = False
    """Whether it came with status 200."""
    is_protocol: bool = False
    """Whether it has the form of the chat protocol's errors: then the address is right."""
    may_be_billed: bool = False
    """Whether a part of an answer had come before."""


def said_in(status: int, headers: Mapping[str, str], body: bytes) -> Said:
    """Read an answer whose status is an error."""
    text = body.decode("utf-8", errors="replace")
    found = error_in(json_in(text))
    if found is None:
        return Said(status=status, text=text.strip(), headers=headers, body=text)
    return said_of(found, headers, status=status)


def said_of(
    error: Any, headers: Mapping[str, str], status: int | None = None, may_be_billed: bool = False
) -> Said:
    """Read an error of the protocol: an object, or only words.

    Args:
        error: what stands under ``error``, or is one by itself.
        headers: of the answer.
        status: of the answer; None inside a 200.
        may_be_billed: whether a part of an answer had come before.
    """
    if isinstance(error, str) and isinstance(inner := json_in(error), dict):
        error = error_in(inner) or inner
    fields = error if isinstance(error, dict) else {}
    code = " ".join(
        str(fields[name]) for name in ("type", "code", "status") if fields.get(name) is not None
    )
    metadata = fields.get("metadata")  # the provider's own words, behind a router
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    text = ": ".join([*_texts(error), *_texts(raw)]) or json.dumps(error, default=str)
    return Said(
        status=status or _status_of(fields, code, text),
        text=text,
        code=code,
        param=str(fields.get("param") or ""),
        headers=headers,
        body=json.dumps(error, ensure_ascii=False, default=str),
        is_inside=status is None,
        is_protocol=True,
        may_be_billed=may_be_billed,
    )


def error_in(body: Any) -> Any:
    """The error that a JSON body holds; None where it holds none."""
    if isinstance(body, list):
        return error_in(body[0]) if body else None
    if not isinstance(body, dict):
        return None
    choices = body.get("choices")
    first = choices[0] if choices and isinstance(choices, list) else None
    first = first if isinstance(first, dict) else {}
    # The last is MiniMax's, which stands in good answers too.
    for error in (body.get("error"), first.get("error"), body.get("base_resp")):
        if _says_something(error):
            # Some put the words beside it: {"error": true, "message": "…"}.
            return error if isinstance(error, str | dict) else body
    if first.get("finish_reason") == "error":
        return {"message": "the answer ended with the finish reason error"}
    is_error = "error" in (body.get("object"), body.get("type"))
    return body if is_error or (not choices and not _is_fine(body) and _texts(body)) else None


def _says_something(error: Any) -> bool:
    """Whether a field is an error: beside an answer some servers send one without content."""
    return any(error.values()) and not _is_fine(error) if isinstance(error, dict) else bool(error)


def _is_fine(fields: Mapping[str, Any]) -> bool:
    return fields.get("status_code", fields.get("code")) in (0, OK)


def _texts(told: Any) -> list[str]:
    """What a person is to read of an error."""
    if isinstance(told, str):
        return [told.strip()] if told.strip() else []
    if isinstance(told, list):
        return [text for each in told for text in _texts(each)]
    if not isinstance(told, dict):
        return []
    found = [text for name in _TEXT_NAMES for text in _texts(told.get(name))]
    if found and isinstance(told.get("loc"), list):
        # One problem of a list, as FastAPI has it: where, and what.
        return [" ".join([".".join(map(str, told["loc"])), *found, str(told.get("type") or "")])]
    return found or _texts(told.get("error"))


def _status_of(fields: Mapping[str, Any], code: str, text: str) -> int:
    for name in ("status_code", "status", "code", "http_status"):
        value = fields.get(name)
        if isinstance(value, str) and value.isdigit():
            value = int(value)
        if isinstance(value, int) and 400 <= value < 600:
            return value
    if isinstance(fields.get("detail"), list):
        return 422  # FastAPI's, of a request that has not the form it wants.
    for words in (code, text):
        told = "_".join(words.lower().split())
        for status, names in STATUS_OF_CODE:
            if any(name in told for name in names):
                return status
    return SILENT_STATUS


def json_in(text: str | bytes) -> Any:
    """What a text holds as JSON; None where it holds none, or one nested as nothing honest is."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    within = [value]
    for _ in range(DEEPEST):
        within = [part for each in within for part in _parts(each)]
        if not within:
            return value
    return None


def _parts(value: Any) -> Collection[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
