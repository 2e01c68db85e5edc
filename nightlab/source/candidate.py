"""Bounds on every candidate's source: the gate checks them before training seconds are spent, and
the sandbox's jobs check again before they run it.
"""

import re

from nightlab.settings import TRAINER_FILE

MAX_SOURCE_BYTES = 2**17
"""Text to train on can come along in literals, at start-up, outside of the training budget.
This much is three times as long as any trainer that one would read, and by far too little
text to learn a language from."""
MAX_WORDS = 30_000
"""Names, numbers and signs: what reading a source takes goes with them. Nightlab's own trainer
has 8,300."""

_WORD = re.compile(r"\w+|[^\w\s]")


def oversized(source: str) -> str | None:
    """Return one sentence on a source that is too long, or None; parses nothing."""
    size = len(source.encode("utf-8", "surrogatepass"))
    if size > MAX_SOURCE_BYTES:
        return f"{TRAINER_FILE} may have {MAX_SOURCE_BYTES} bytes and would have {size}."
    words = len(_WORD.findall(source))
    if words > MAX_WORDS:
        return (
            f"{TRAINER_FILE} may have {MAX_WORDS} names, numbers and signs and would have {words}."
        )
    return None
