"""Bounds on every candidate's source: the proposers' contract checks them before training
seconds are spent, and the sandbox's jobs check again before they run it.
"""

from nightlab.settings import TRAINER_FILE

MAX_SOURCE_BYTES = 2**18
"""Text to train on can come along in literals, at start-up, outside of the training budget.
This much is three times as long as any trainer that one would read, and by far too little
text to learn a language from."""


def oversized(source: str) -> str | None:
    """Return one sentence on a source that is too long, or None."""
    size = len(source.encode("utf-8", "surrogatepass"))
    if size <= MAX_SOURCE_BYTES:
        return None
    return f"{TRAINER_FILE} may have {MAX_SOURCE_BYTES} bytes and would have {size}."
