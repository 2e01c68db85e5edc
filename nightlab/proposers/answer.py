"""An answer of a model, read: an idea, what it expects, its edits, or what is wrong with them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nightlab.proposers.edits import apply_edits, is_block_end, is_block_start, parse_edits
from nightlab.proposers.history import TITLE_CHARACTERS
from nightlab.proposers.texts import one_line
from nightlab.records import Edit
from nightlab.source.contract import check_source

HYPOTHESIS_CHARACTERS = 2_000
LONGEST_EXPECTED_BPB = 100.0
"""No score changes by more: such a number is no expectation."""
_TITLE = re.compile(r"[\s#*>]*TITLE\s*\**\s*:\s*\**(?P<title>.*)", re.IGNORECASE)
_HYPOTHESIS = re.compile(r"[\s#*>]*HYPOTHESIS\s*\**\s*:\s*\**(?P<text>.*)", re.IGNORECASE)
_EXPECTED = re.compile(r"[\s#*>]*EXPECTED\s*\**\s*:\s*\**(?P<text>.*)", re.IGNORECASE)
_SIGNED = re.compile(r"[+\-\u2212]?\s*(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_THOUGHTS = re.compile(r"\s*<think>.*?</think>", re.DOTALL)
_TEXT_TYPES = ("", "text", "output_text", "message")
"""Of the parts of a content that are answer: not thinking, reasoning, images, calls of tools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An answer, read: an idea and its edits, or what keeps them from being used."""

    title: str
    hypothesis: str
    expected_bpb: float | None = None
    edits: tuple[Edit, ...] = ()
    source: str = ""
    """The incumbent's with the edits applied, where they do apply."""
    tolerated: tuple[int, ...] = ()
    """Blocks, from 1, that matched but for white space."""
    error: str | None = None


def read_answer(answer: str, finish_reason: str, source: str) -> Draft:
    """Read an answer and try its edits on the incumbent's source.

    A missing title is no reason to send an edit back: the hypothesis stands in for it.
    """
    thoughts = _THOUGHTS.match(answer)
    text = answer[thoughts.end() :] if thoughts else answer
    idea = read_idea(text)
    parsed = parse_edits(text)
    error, changed = parsed.error, ""
    tolerated: tuple[int, ...] = ()
    if error is None:
        applied = apply_edits(source, parsed.edits)
        error, tolerated = applied.error or check_source(applied.source), applied.tolerated
        changed = applied.source if error is None else ""
    if error is not None and not text.strip():
        error = f"The answer is empty (finish reason {finish_reason})."
    elif error is not None and finish_reason == "length":
        error = f"{error} The answer was cut off at the model's limit: make it shorter."
    return Draft(
        title=idea.title,
        hypothesis=idea.hypothesis,
        expected_bpb=idea.expected_bpb,
        edits=parsed.edits,
        source=changed,
        tolerated=tolerated,
        error=error,
    )


def text_of_content(content: object) -> str:
    """The text of a message's content, which is a string, parts of several types, or nothing.

    Parts are put together as they stand, since some servers cut them in the middle of a line; only
    the marker of a block gets the line of its own that it must have.
    """
    match content:
        case str():
            return content
        case Mapping():
            kind = str(content.get("type") or "").lower()
            if kind not in _TEXT_TYPES or content.get("thought"):
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
        if last and part and (is_block_start(first) or is_block_end(last)):
            text += "\n"
        text += part
    return text


@dataclass(frozen=True, slots=True)
class Idea:
    """What stands before the blocks of an answer."""

    title: str
    hypothesis: str
    expected_bpb: float | None


def read_idea(text: str) -> Idea:
    """Read TITLE, HYPOTHESIS and EXPECTED; what is missing is made up from the rest."""
    title, expected = "", None
    hypothesis: list[str] = []
    inside = False
    for line in text.replace("\r\n", "\n").split("\n"):
        if is_block_start(line) or line.lstrip().startswith(("```", "~~~")):
            break
        if match := _TITLE.fullmatch(line):
            title, inside = title or one_line(match["title"], TITLE_CHARACTERS), False
        elif match := _HYPOTHESIS.fullmatch(line):
            hypothesis, inside = [match["text"]], True
        elif match := _EXPECTED.fullmatch(line):
            expected, inside = _read_expected(match["text"]), False
        elif inside:
            hypothesis.append(line)
    why = one_line(" ".join(hypothesis), HYPOTHESIS_CHARACTERS)
    title = title.strip("* ") or one_line(why, TITLE_CHARACTERS) or "An answer without a title"
    return Idea(title, why, expected)


def _read_expected(text: str) -> float | None:
    """The first number of a line; None where there is none that could be meant."""
    match = _SIGNED.search(text)
    if match is None:
        return None
    value = float("".join(match[0].replace("\u2212", "-").split()))
    return value if abs(value) < LONGEST_EXPECTED_BPB else None
