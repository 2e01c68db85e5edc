"""What differs between two texts, line by line, in bounded time.

``difflib`` takes the cube of the length where most lines are alike, as a model's may be.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

MOST_COMPARISONS = 30_000_000
"""Pairs of lines that are alike, times lines. A trainer that was rewritten takes few million."""

Opcode = tuple[str, int, int, int, int]


def opcodes(before: Sequence[str], after: Sequence[str]) -> Iterator[Opcode]:
    """How one text becomes the other, as ``SequenceMatcher.get_opcodes`` says it.

    What would take too long to compare counts as one replacement, between what begins and what ends
    alike.
    """
    head = _alike(before, after)
    tail = _alike(before[head:][::-1], after[head:][::-1])
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    counts = Counter(new)
    pairs = sum(counts[line] for line in old)
    if head:
        yield ("equal", 0, head, 0, head)
    if pairs * (len(old) + len(new)) <= MOST_COMPARISONS:
        matcher = SequenceMatcher(None, old, new, autojunk=False)
        for tag, begin, end, first, last in matcher.get_opcodes():
            yield (tag, begin + head, end + head, first + head, last + head)
    else:
        yield ("replace", head, head + len(old), head, head + len(new))
    if tail:
        yield ("equal", len(before) - tail, len(before), len(after) - tail, len(after))


def changed_lines(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    """Lines that went out and came in, with ``-`` and ``+`` in front."""
    for tag, begin, end, first, last in opcodes(before, after):
        if tag != "equal":
            yield from (f"-{line}" for line in before[begin:end])
            yield from (f"+{line}" for line in after[first:last])


def _alike(one: Sequence[str], other: Sequence[str]) -> int:
    """How many lines are the same at the beginning."""
    count = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        count += 1
    return count
