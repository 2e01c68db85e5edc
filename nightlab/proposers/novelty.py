"""Whether an idea is one that was tried: by what it changes, and by what it says it does.

Two changes are near when the same lines went out and came in, but for white space, comments
and numbers that differ little. Two intents are near when their titles share their words.
Both only ask the question; the model may have a reason, and then its second answer stands.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from nightlab.proposers.brief import Brief
from nightlab.records import Verdict
from nightlab.source.lines import changed_lines

NEAR_LINES = 0.9
"""Share of changed lines in common, from which two changes are near."""
NEAR_WORDS = 0.8
"""Share of words in common, from which two titles are near."""
NEAR_FACTOR = 1.1
"""Numbers nearer than this factor are alike."""
LEAST_WORDS = 3
"""Shorter titles ("Deeper") say too little to compare."""

_NUMBER = re.compile(r"(?<![\w.])\d[\d_]*\.?\d*(?:[eE][+-]?\d+)?")
_COMMENT = re.compile(r"""(?x) ^((?: [^#"'] | "[^"]*" | '[^']*' )*) \#.*$ """)
_FILLER_WORDS = """
a an and by for from in of on the to with use using try add make set more less some
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A trial that an idea is too near to."""

    number: int
    title: str
    outcome: str
    """What came of it, as a sentence."""
    by: str
    """``change`` or ``intent``."""


@dataclass(frozen=True, slots=True)
class _Change:
    lines: Counter[str]
    """Changed lines with their numbers taken out."""
    numbers: tuple[float, ...]
    """The numbers of the added lines, in order."""


def near_trial(brief: Brief, source: str, title: str) -> Near | None:
    """The newest trial that a candidate's source or title is too near to; also one under way."""
    lines = changed_lines(brief.incumbent_source.splitlines(), source.splitlines())
    change = _read_change(list(lines))
    tried = {each.number: each for each in brief.tried}
    words = _words(title)
    other = brief.under_way
    if other is not None:
        by = _nearness(change, words, other.diff, other.title)
        if by is not None:
            outcome = "It is training now."
            return Near(number=other.number, title=other.title, outcome=outcome, by=by)
    for record in reversed(brief.records):
        # What the machinery broke was not tried.
        if record.verdict is Verdict.FAILED or record.number not in tried:
            continue
        by = _nearness(change, words, tried[record.number].diff, record.title)
        if by == "change" or (by == "intent" and record.verdict is not Verdict.KEEP):
            outcome = record.decision.sentence
            return Near(number=record.number, title=record.title, outcome=outcome, by=by)
    return None


def _nearness(change: _Change, words: frozenset[str], diff: str, title: str) -> str | None:
    """By what an idea is near another trial's: ``change``, ``intent``, or not at all."""
    if _is_near_change(change, _read_change(diff.splitlines())):
        return "change"
    return "intent" if _is_near_title(words, _words(title)) else None


def _read_change(diff: Sequence[str]) -> _Change:
    sides: dict[str, list[str]] = {"+": [], "-": []}
    for line in diff:
        if line.startswith(("+", "-")) and not line.startswith(("+++", "---")):
            code = " ".join(_COMMENT.sub(r"\1", line[1:]).split())
            if code:
                sides[line[0]].append(code)
    added, removed = Counter(sides["+"]), Counter(sides["-"])
    # What differs in a comment only went out and came in alike.
    alike = added & removed
    lines: Counter[str] = Counter()
    numbers: list[float] = []
    for sign, codes in (("+", added - alike), ("-", removed - alike)):
        for code in codes.elements():
            lines[sign + "".join(_NUMBER.sub("#", code).split())] += 1
            if sign == "+":
                found = _NUMBER.findall(code)
                numbers += [float(number.replace("_", "")) for number in found]
    return _Change(lines, tuple(numbers))


def _is_near_change(one: _Change, other: _Change) -> bool:
    if not one.lines or not other.lines:
        return False
    common, either = (one.lines & other.lines).total(), (one.lines | other.lines).total()
    if common / either < NEAR_LINES:
        return False
    if len(one.numbers) != len(other.numbers):
        return common == either
    return all(map(_is_near_number, one.numbers, other.numbers))


def _is_near_number(one: float, other: float) -> bool:
    if one == other:
        return True
    if one <= 0 or other <= 0 or math.isinf(one) or math.isinf(other):
        return False
    # A step of one on a small whole number is a change, however small the factor.
    if one.is_integer() and other.is_integer() and max(one, other) < 1 / (NEAR_FACTOR - 1):
        return False
    return abs(math.log(one) - math.log(other)) < math.log(NEAR_FACTOR)


def _words(title: str) -> frozenset[str]:
    found = re.findall(r"[^\W_]+(?:\.\d+)?", title.lower())
    return frozenset(word for word in found if word not in _FILLER_WORDS.split())


def _is_near_title(one: frozenset[str], other: frozenset[str]) -> bool:
    if min(len(one), len(other)) < LEAST_WORDS:
        return False
    return len(one & other) / len(one | other) >= NEAR_WORDS
