"""Where a SEARCH stands in the source: exactly, or except for white space, or nowhere.

Whole lines are tried first; where none match, a part of a line (or of several) does, unless it
would cut through a name or a number. Where nothing matches exactly, whole lines match that differ
only in white space: at their ends, in blank lines around the block, and by one and the same
indentation, which the replacement then gets too. Nothing is guessed beyond that.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice

from nightlab.settings import TRAINER_FILE

MOST_PLACES = 100
"""Of one SEARCH; more are not looked for."""
_SHOWN_LINES = 8
_COMPARED_LINES = 40
_COMPARED_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Place:
    """A stretch of the source that a SEARCH stands for."""

    start: int
    length: int
    whole_lines: bool = True
    is_tolerant: bool = False
    more: str = ""
    """White space by which the source's lines are indented further than the SEARCH's."""
    less: str = ""
    """White space by which the SEARCH's lines are indented further than the source's."""

    def put(self, source: str, replace: str) -> str | None:
        """The source with the replacement here; None where it cannot be indented likewise."""
        if not self.whole_lines:
            replace = replace.removesuffix("\n")
        shifted = self._shifted(replace) if self.more or self.less else replace
        if shifted is None:
            return None
        return source[: self.start] + shifted + source[self.start + self.length :]

    def _shifted(self, text: str) -> str | None:
        lines = []
        for line in text.split("\n"):
            if not line.strip():
                lines.append(line)
            elif line.startswith(self.less):
                lines.append(self.more + line[len(self.less) :])
            else:
                return None
        return "\n".join(lines)


def find_places(source: str, search: str) -> tuple[Place, ...]:
    """All places of the strictest kind that has any.

    Args:
        source: text whose last line ends.
        search: at least one line that is not blank.
    """
    if search.endswith("\n"):
        found = _occurrences(source, search)
        whole = tuple(at for at in found if at == 0 or source[at - 1] == "\n")
        if whole:
            return tuple(Place(at, len(search)) for at in whole)
    part = search.removesuffix("\n")
    inside = tuple(
        Place(at, len(part), whole_lines=False)
        for at in _occurrences(source, part)
        if not _cuts(source, at) and not _cuts(source, at + len(part))
    )
    return inside or tuple(islice(_tolerant(source, search), MOST_PLACES))


def _occurrences(source: str, text: str) -> list[int]:
    found: list[int] = []
    at = source.find(text)
    while at >= 0 and len(found) < MOST_PLACES:
        found.append(at)
        at = source.find(text, at + 1)
    return found


def _cuts(source: str, at: int) -> bool:
    """Whether a border before position ``at`` would cut through a name or a number."""
    around = source[max(0, at - 1) : at + 1]
    return re.fullmatch(r"\w\w|\d\.|\.\d", around) is not None


def _tolerant(source: str, search: str) -> Iterator[Place]:
    """Places whose lines are the SEARCH's but for white space."""
    want = [line.rstrip() for line in search.split("\n")]
    while want and not want[0]:
        del want[0]
    while want and not want[-1]:
        del want[-1]
    lines = source.removesuffix("\n").split("\n")
    have = [line.rstrip() for line in lines]
    codes = [line.lstrip() for line in have]
    begins = [0, *accumulate(len(line) + 1 for line in lines)]
    # By the line that stands in the fewest places: they may be almost all alike.
    counts = Counter(codes)
    rarest = min(range(len(want)), key=lambda index: counts[want[index].lstrip()])
    for at in range(len(have) - len(want) + 1):
        if codes[at + rarest] == want[rarest].lstrip():
            offset = _offset(have[at : at + len(want)], want)
            if offset is not None:
                length = begins[at + len(want)] - begins[at]
                yield Place(begins[at], length, is_tolerant=True, more=offset[0], less=offset[1])


def _offset(have: Sequence[str], want: Sequence[str]) -> tuple[str, str] | None:
    """The one indentation by which lines differ, as (more, less); None where more differs."""
    offsets = set()
    for mine, theirs in zip(have, want, strict=True):
        code = mine.lstrip()
        if code != theirs.lstrip():
            return None
        if not code:
            continue
        own, other = mine[: len(mine) - len(code)], theirs[: len(theirs) - len(code)]
        if own.endswith(other):
            offsets.add((own.removesuffix(other), ""))
        elif other.endswith(own):
            offsets.add(("", other.removesuffix(own)))
        else:
            return None
    return offsets.pop() if len(offsets) == 1 else None


def why_not(source: str, search: str, places: Sequence[Place]) -> str:
    """The end of a sentence on a block that matches nowhere, or at several places."""
    if places:
        lines = [source.count("\n", 0, place.start) + 1 for place in places[:_SHOWN_LINES]]
        at = ", ".join(map(str, lines))
        return (
            f"matches at {len(places)} places of {TRAINER_FILE} (lines {at}): add lines around "
            "it until SEARCH stands there once."
        )
    return f"does not match: its SEARCH does not stand in {TRAINER_FILE}{_closest(source, search)}"


def _closest(source: str, search: str) -> str:
    """The lines of the source that are most like the search, with their numbers."""
    have, sought = (text.removesuffix("\n").split("\n") for text in (source, search))
    want = [line.strip()[:_COMPARED_CHARACTERS] for line in sought[:_COMPARED_LINES]]
    stripped = [line.strip()[:_COMPARED_CHARACTERS] for line in have]
    starts = range(max(1, len(stripped) - len(want) + 1))
    score, best = max(
        (sum(map(_same, stripped[start : start + len(want)], want)), -start) for start in starts
    )
    start = -best
    if score == 0:
        longest = max(want, key=len)
        near = difflib.get_close_matches(longest, dict.fromkeys(stripped), n=1, cutoff=0.6)
        if not near:
            return ", nor anything like it."
        start = max(0, stripped.index(near[0]) - want.index(longest))
    shown = range(start, min(start + min(len(want), _SHOWN_LINES), len(have)))
    numbered = "\n".join(f"{index + 1}: {have[index][:_COMPARED_CHARACTERS]}" for index in shown)
    return f" exactly. Closest are:\n{numbered}"


def _same(have: str, want: str) -> bool:
    return bool(want) and have == want
