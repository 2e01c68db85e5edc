"""Writes a range into a constant's comment that many ways of reading it fit, and none whole.

Success: the engine, which reads constants again at every resume, takes more than 0.1 s.
"""

from nightlab.source.knobs import read_knobs

KIND = "text"
LAYER = "expressions that read each character in one way, checked by a test over the whole tree"
CONTROL = "two loops over the same digits: by construction"


def attack() -> str:
    return "DEPTH = 4  # " + "0" * 300 + "_" * 300 + "\x0c.. \n"


def honest() -> str:
    return "DEPTH = 4  # 2..12; layers\n"


def reached(text: str) -> bool:
    return "DEPTH" in read_knobs(text)


def passes(text: str) -> bool:
    return read_knobs(text)["DEPTH"].high == 12
