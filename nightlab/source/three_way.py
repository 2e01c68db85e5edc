"""A change taken out of a text that went on after it: a merge of lines, with a base.

Lines side by side may change on either side without a conflict, other than in git's merge: the
constants of a trainer stand one below the other, and each keep moves one of them.
"""

from dataclasses import dataclass

from nightlab.source.lines import opcodes


@dataclass(frozen=True, slots=True)
class _Hunk:
    """Lines of the base, from ``begin`` to before ``end``, that a side has otherwise."""

    begin: int
    end: int
    lines: tuple[str, ...]


def without_change(changed: str, before: str, today: str) -> str | None:
    """Today's text without one earlier change.

    Args:
        changed: the text as the change left it.
        before: the text that the change was made on.
        today: what became of ``changed``.

    Returns:
        None where today's text differs from ``changed`` in the very lines of the change.
    """
    base = changed.splitlines(keepends=True)
    later, back = _hunks(base, today), _hunks(base, before)
    # What a later change took back already is taken back once.
    back = [each for each in back if each not in later]
    if any(_collide(one, other) for one in later for other in back):
        return None
    merged = list(base)
    for hunk in sorted((*later, *back), key=lambda each: (each.begin, each.end), reverse=True):
        merged[hunk.begin : hunk.end] = hunk.lines
    return "".join(merged)


def _hunks(base: list[str], text: str) -> list[_Hunk]:
    lines = text.splitlines(keepends=True)
    found: list[_Hunk] = []
    for tag, begin, end, first, last in opcodes(base, lines):
        if tag == "replace" and end - begin == last - first:
            # Line by line: of two constants side by side, one may have been put back since.
            pairs = enumerate(lines[first:last], start=begin)
            found += [_Hunk(at, at + 1, (line,)) for at, line in pairs if line != base[at]]
        elif tag != "equal":
            found.append(_Hunk(begin, end, tuple(lines[first:last])))
    return found


def _collide(one: _Hunk, other: _Hunk) -> bool:
    """Whether two changes of the same text have a line in common, or meet where one is inserted."""
    inserts = one.begin == one.end or other.begin == other.end
    if inserts:
        return one.begin <= other.end and other.begin <= one.end
    return one.begin < other.end and other.begin < one.end
