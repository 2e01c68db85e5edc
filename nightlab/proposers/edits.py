"""SEARCH/REPLACE blocks: read from an answer, applied to ``train.py``, made from a change.

A block, alone on its lines::

    <<<<<<< SEARCH
    lines that stand in train.py
    =======
    lines to stand there instead
    >>>>>>> REPLACE

Nothing is guessed: SEARCH must be found at one place (nightlab/proposers/matching.py). Blocks
are applied in order, each on the result of the last.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from nightlab.models.texts import one_line
from nightlab.proposers.matching import find_places, why_not
from nightlab.records import Edit
from nightlab.settings import TRAINER_FILE
from nightlab.source.lines import opcodes

_SEARCH = re.compile(r"\s{0,3}<{5,9}\s*SEARCH\b(?P<rest>.*)")
_DIVIDER = re.compile(r"={5,9}\s*")
# A tag may follow, as the token that ends an answer does where a server leaves it in.
_REPLACE = re.compile(r"(?P<marker>\s{0,3}>{5,9}\s*REPLACE)(?:\s*<[^<>\s]{1,40}>)*\s*")
_NO_MARKER = re.compile(r"\s{0,3}(?:<{3}.*|<+\s*|>{4}.*)")
_SHOWN_CHARACTERS = 80
_MOST_EDITS = 200
"""A change with more places is one edit of the whole file."""
_FEW_LINES = 8
"""Around a place, so many are tried one by one."""
_FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})(?P<language>[\w.+-]*)\s*")
_FILE = re.compile(r"(?:file(?:name)?\s*:\s*)?(?P<path>[\w./\\-]+\.[A-Za-z]\w{0,9})", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedEdits:
    """The blocks of an answer; none of them where one is wrong."""

    edits: tuple[Edit, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedEdits:
    """The changed source, or the source as it was with the reason why."""

    source: str
    error: str | None = None
    tolerated: tuple[int, ...] = ()
    """Blocks, from 1, whose SEARCH stood there but for white space."""


def is_block_start(line: str) -> bool:
    """Whether a SEARCH/REPLACE block begins on this line."""
    return _SEARCH.fullmatch(line) is not None


def parse_edits(answer: str) -> ParsedEdits:
    """Read the blocks of an answer, in their order.

    Fences of Markdown around a block or inside its halves are left out. The result's
    ``error`` is one sentence for whoever wrote the answer.
    """
    lines = answer.replace("\r\n", "\n").split("\n")
    edits: list[Edit] = []
    outside: list[str] = []
    end = 0
    for start, halves in _blocks(lines):
        number = len(edits) + 1
        other = _other_file(lines, start, end)
        if other is not None:
            return ParsedEdits(
                error=f"Block {number} names the file {other}; only {TRAINER_FILE} may be changed."
            )
        if isinstance(halves, str):
            return ParsedEdits(error=f"Block {number} {halves}")
        outside += lines[end:start]
        edits.append(halves.edit)
        end = halves.end
    stray = next(filter(_NO_MARKER.fullmatch, [*outside, *lines[end:]]), None)
    if not edits:
        return ParsedEdits(
            error="The answer has no SEARCH/REPLACE block: a line '<<<<<<< SEARCH', the lines to "
            "find, a line '=======', the lines to put there, a line '>>>>>>> REPLACE'."
        )
    if stray is not None:
        return ParsedEdits(
            error=f"The line '{one_line(stray, _SHOWN_CHARACTERS)}' stands outside the blocks and "
            "looks like a part of one: was the answer cut off? A block is '<<<<<<< SEARCH', "
            "'=======' and '>>>>>>> REPLACE'."
        )
    return ParsedEdits(edits=tuple(edits))


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an answer: a whole block, or what stands around blocks."""

    text: str
    is_block: bool


def pieces(answer: str) -> tuple[Piece, ...]:
    """Cut an answer at its whole blocks; the pieces put together are the answer.

    A block without an end is none: it may be a draft that was given up. What follows the word
    REPLACE belongs to the next piece.
    """
    lines = answer.split("\n")
    found: list[Piece] = []
    begun = 0
    for start, halves in _blocks(lines):
        if isinstance(halves, _Halves):
            found.append(Piece("\n".join([*lines[begun:start], ""]), is_block=False))
            begun = halves.end - 1
            marker = _REPLACE.sub(r"\g<marker>", lines[begun])
            found.append(Piece("\n".join([*lines[start:begun], marker]), is_block=True))
            lines[begun] = lines[begun].removeprefix(marker)
    found.append(Piece("\n".join(lines[begun:]), is_block=False))
    return tuple(found)


def _blocks(lines: Sequence[str]) -> Iterator[tuple[int, "_Halves | str"]]:
    """Where each block starts, and its halves, or what is wrong where it has no end."""
    end = 0
    for start, line in enumerate(lines):
        if start >= end and is_block_start(line):
            halves = _read_halves(lines, start + 1)
            yield start, halves
            end = halves.end if isinstance(halves, _Halves) else end


@dataclass(frozen=True, slots=True)
class _Halves:
    edit: Edit
    end: int
    """Index of the line after the block."""


def _read_halves(lines: Sequence[str], start: int) -> _Halves | str:
    """Read a block from the line after its first marker; what is wrong where it has no end."""
    divider: int | None = None
    for index in range(start, len(lines)):
        line = lines[index]
        if _SEARCH.fullmatch(line):
            return "is not closed before the next one begins."
        if _DIVIDER.fullmatch(line):
            if divider is not None:
                return "has two lines of '=======': a block has one, between SEARCH and REPLACE."
            divider = index
        elif _REPLACE.fullmatch(line):
            if divider is None:
                return "has no line '=======' between SEARCH and REPLACE."
            search = _without_fence(lines[start:divider])
            replace = _without_fence(lines[divider + 1 : index])
            return _Halves(Edit(search=_text(search), replace=_text(replace)), index + 1)
    return "has no line '>>>>>>> REPLACE' at its end: was the answer cut off?"


def _text(lines: Sequence[str]) -> str:
    """Lines as text in which every line, also the last, ends with a newline."""
    return "".join(line + "\n" for line in lines)


def _without_fence(lines: Sequence[str]) -> Sequence[str]:
    if len(lines) >= 2 and _FENCE.fullmatch(lines[0]):
        last = _FENCE.fullmatch(lines[-1])
        if last is not None and not last["language"]:
            return lines[1:-1]
    return lines


def _other_file(lines: Sequence[str], start: int, end: int) -> str | None:
    """A file other than train.py that is named on a block's first line or just above it.

    Args:
        lines: of the answer.
        start: index of the first line.
        end: index of the line after the block before it.
    """
    marker = _SEARCH.fullmatch(lines[start])
    above = (line for line in reversed(lines[end:start]) if line.strip())
    named = next((line for line in above if not _FENCE.fullmatch(line)), "")
    for text in (marker["rest"] if marker else "", named):
        match = _FILE.fullmatch(text.strip(" \t#*`\"'():"))
        if match is not None:
            path = match["path"].replace("\\", "/")
            if str(PurePosixPath(path)) not in (TRAINER_FILE, PurePosixPath(TRAINER_FILE).name):
                return path
    return None


def apply_edits(source: str, edits: Sequence[Edit]) -> AppliedEdits:
    """Apply edits in order; all of them or none.

    Args:
        source: text of ``train.py``; a missing newline at its end is added.
        edits: at least one.

    Returns:
        The new source. Where an edit does not apply: the source as given, and one
        sentence that says which block, why, and what stands in the file instead.
    """
    if not edits:
        return AppliedEdits(source=source, error="There is no edit to apply.")
    begun = current = source if source.endswith("\n") else source + "\n"
    tolerated: list[int] = []
    for number, edit in enumerate(edits, start=1):
        if not edit.search.strip():
            problem = "has an empty SEARCH: quote the lines next to which text is to be put."
        elif edit.search == edit.replace:
            problem = "changes nothing: SEARCH and REPLACE are the same."
        else:
            found = find_places(current, edit.search)
            if len(found) == 1:
                changed = found[0].put(current, edit.replace)
                if changed is not None:
                    tolerated += [number] * found[0].is_tolerant
                    current = changed
                    continue
                problem = "is indented less than the lines that it stands for: indent it alike."
            else:
                problem = why_not(current, edit.search, found)
        return AppliedEdits(source=source, error=f"Block {number} of {len(edits)} {problem}")
    if current == begun:
        return AppliedEdits(source=source, error="The blocks together change nothing.")
    return AppliedEdits(source=current, tolerated=tuple(tolerated))


def edit_between(old: str, new: str) -> tuple[Edit, ...]:
    """Edits that turn one source into the other, each with as few lines as is unambiguous.

    Raises:
        ValueError: ``old`` is blank, so that no line of it can be searched for.
    """
    if not old.strip():
        raise ValueError("a blank source has no line that an edit could search for")
    before, after = _lines(old), _lines(new)
    whole = (Edit(search=_text(before), replace=_text(after)),)
    steps = [step for step in opcodes(before, after) if step[0] != "equal"]
    if len(steps) > _MOST_EDITS:
        return whole
    edits: list[Edit] = []
    current = before
    # From the last change to the first, so that the line numbers before it stay right.
    for _, start, end, new_start, new_end in reversed(steps):
        changed = after[new_start:new_end]
        edit = _smallest_edit(current, start, end, changed)
        if edit is None:  # Only blank lines are left to search for.
            return whole
        edits.append(edit)
        current = current[:start] + changed + current[end:]
    return tuple(edits)


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def _smallest_edit(lines: list[str], start: int, end: int, changed: list[str]) -> Edit | None:
    """Replace ``lines[start:end]``, with as many lines around them as make them unique."""
    source = _text(lines)
    wanted = _text(lines[:start] + changed + lines[end:])
    doubled = (2**power for power in range(_FEW_LINES.bit_length(), len(lines).bit_length() + 1))
    for around in (*range(_FEW_LINES + 1), *doubled):
        low, high = max(0, start - around), min(len(lines), end + around)
        edit = Edit(
            search=_text(lines[low:high]),
            replace=_text(lines[low:start] + changed + lines[end:high]),
        )
        if apply_edits(source, [edit]).source == wanted:
            return edit
    return None
