"""The text of a message, whose content servers give in many forms."""

import re
from collections.abc import Mapping, Sequence

_THOUGHT_FLAGS = ("thought", "is_thought", "thinking", "reasoning", "is_reasoning")
_TEXT_TYPES = ("", "text", "output_text", "message")
"""Of the parts of a content that are answer: not thinking, reasoning, images, calls of tools."""
# The first and the last line of an edit's block.
_BEGINS = re.compile(r"\s{0,3}<{5,9}\s*SEARCH\b.*")
_ENDS = re.compile(r"\s{0,3}>{5,9}\s*REPLACE(?:\s*<[^<>\s]{1,40}>)*\s*")


def text_of_content(content: object) -> str:
    """The text of a message's content, which is a string, parts of several types, or nothing.

    Parts are put together as they stand, since some servers cut them in the middle of a line; only
    the marker of a block gets the line of its own that it must have.
    """
    match content:
        case str():
            return content
        case Mapping():
            kind = str(content.get("type") or content.get("kind") or "").lower()
            is_said = content.get("channel") in (None, "", "final")
            is_thought = any(content.get(flag) is True for flag in _THOUGHT_FLAGS)
            if kind not in _TEXT_TYPES or is_thought or not is_said:
                return ""
            within = (content.get(key) for key in ("text", "content", "value"))
            return next((text_of_content(each) for each in within if each), "")
        case Sequence() if not isinstance(content, bytes | bytearray):
            return _joined([text_of_content(part) for part in content])
    return ""


def _joined(parts: Sequence[str]) -> str:
    text = ""
    for part in parts:
        first, last = part.partition("\n")[0], text.rpartition("\n")[2]
        # A marker may come in parts too.
        if last.strip("<") and first and (_BEGINS.fullmatch(first) or _ENDS.fullmatch(last)):
            text += "\n"
        text += part
    return text
