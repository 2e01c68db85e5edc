"""Brings a number of 3,600 hex digits, which Python reads and will not write as a decimal.

Success: the source passes the gate, and the engine fails on it at every resume.
"""

from nightlab.source.contract import check_source
from tests.proposers.trainer_sample import SOURCE

KIND = "text"
LAYER = "one gate, which does once whatever is done with a source later"
CONTROL = "repr of a large number raises ValueError: by construction"


def attack() -> str:
    return SOURCE + "HUGE = 0x" + "f" * 3_600 + "\n"


def honest() -> str:
    return SOURCE + "MASK = 0xFFFF_FFFF\n"


def reached(text: str) -> bool:
    return check_source(text) is None


def passes(text: str) -> bool:
    return check_source(text) is None
