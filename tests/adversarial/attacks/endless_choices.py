"""Writes a thousand semicolons into a constant's choices, each of which might be the end of them.

Success: the engine takes more than 0.1 s to read them.
"""

from nightlab.source.knobs import read_knobs

KIND = "text"
LAYER = "comments of 1,000 characters, and eight places where choices may end"
CONTROL = "a text that is parsed anew at every semicolon: by construction"


def attack() -> str:
    return "PATTERN = 'L'  # one of " + "'L';" * 20_000 + "\n"


def honest() -> str:
    return "PATTERN = 'L'  # one of 'L', 'S;L'; windows; long or short\n"


def reached(text: str) -> bool:
    return bool(read_knobs(text))


def passes(text: str) -> bool:
    return read_knobs(text)["PATTERN"].choices == ("L", "S;L")
