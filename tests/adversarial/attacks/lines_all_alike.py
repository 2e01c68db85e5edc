"""Repeats one line thousands of times, so that comparing it with another version takes hours.

Success: the engine takes more than 0.1 s to find what was changed.
"""

from nightlab.source.lines import opcodes

KIND = "text"
LAYER = "what would take long to compare counts as one replacement"
CONTROL = "difflib takes the cube of the lines: by construction"


def attack() -> str:
    return "a\n" + "x\n" * 5_000 + "b\n" + "x\n" * 5_000


def honest() -> str:
    return "a\nx\nb\nc\n"


def reached(text: str) -> bool:
    lines = text.split("\n")
    return not list(opcodes(["", *lines, ""], [*lines[::-1], "x"]))


def passes(text: str) -> bool:
    lines = text.split("\n")
    tags = [tag for tag, *_ in opcodes(lines, [*lines[:2], "new", *lines[2:]])]
    return tags == ["equal", "insert", "equal"]
