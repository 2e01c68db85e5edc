"""What a proposer says of its edits: a title, why they should help, and what is expected."""

import re
from dataclasses import dataclass

from nightlab.models.texts import one_line
from nightlab.proposers.edits import is_block_start
from nightlab.proposers.history import TITLE_CHARACTERS

HYPOTHESIS_CHARACTERS = 2_000
LONGEST_EXPECTED_BPB = 100.0
"""No score changes by more: such a number is no expectation."""
_NAMED = r"(?P<name>TITLE|HYPOTHESIS|EXPECTED)\s*(?:[*_]+\s*)?:\s*[*_]*(?P<text>(?s:.*))"
# After marks of headings, quotes and lists.
_HEAD = re.compile(rf"[\s#*>_•+-]*(?:\d{{1,2}}[.)][\s*_]*)?{_NAMED}", re.IGNORECASE)
_HEAD_WITHIN = re.compile(rf"(?:.*[^\w`'\"])?{_NAMED}|\s*#+\s*[Tt]itle\W*")
"""Also behind a token that a server left in."""
_SIGNED = re.compile(r"(?:[+\-\u2212]\s*)?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class Idea:
    """What stands before the blocks of an answer."""

    title: str
    hypothesis: str
    expected_bpb: float | None


def read_idea(text: str) -> Idea:
    """Read the first TITLE, HYPOTHESIS and EXPECTED; a title that is missing is made up."""
    heads: list[tuple[str, list[str]]] = [("", [])]
    for line in text.replace("\r\n", "\n").split("\n"):
        if is_block_start(line) or line.lstrip().startswith(("```", "~~~")):
            break
        if match := _HEAD.fullmatch(line):
            heads.append((match["name"].upper(), [match["text"]]))
        else:
            heads[-1][1].append(line)
    titles = (one_line(said[0], TITLE_CHARACTERS) for name, said in heads if name == "TITLE")
    why = next((" ".join(said) for name, said in heads if name == "HYPOTHESIS"), "")
    why = one_line(why, HYPOTHESIS_CHARACTERS)
    numbers = (_read_expected(said[0]) for name, said in heads if name == "EXPECTED")
    title = next(filter(None, titles), "").strip("* ")
    return Idea(
        title or one_line(why, TITLE_CHARACTERS) or "An answer without a title",
        why,
        next((number for number in numbers if number is not None), None),
    )


def named_head(line: str) -> str | None:
    """What a line is the head of, by which an idea begins; None of another."""
    found = _HEAD.fullmatch(line) or _HEAD_WITHIN.fullmatch(line)
    return (found["name"] or "TITLE").upper() if found else None


def _read_expected(text: str) -> float | None:
    """The first number of a line; None where there is none that could be meant."""
    match = _SIGNED.search(text)
    if match is None:
        return None
    value = float("".join(match[0].replace("\u2212", "-").split()))
    return value if abs(value) < LONGEST_EXPECTED_BPB else None
