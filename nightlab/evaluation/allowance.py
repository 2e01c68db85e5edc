"""What the candidate's code may take in each sandbox of an evaluation, from ``load`` to the answer.

``build_model``, ``load_state_dict`` and ``forward`` are the candidate's, and weights may hold
text: who had minutes there could go on training, and be scored for it. So each sandbox is allowed
a small multiple of what the baseline needed in the same one, in seconds of the study's clock. How
much it is that this leaves: docs/decisions/0031.
"""

from collections.abc import Iterable

from nightlab.records import Answering, Evaluation
from nightlab.training.clock import ClockKind

FACTORS = {"claims": 8.0, "audit": 8.0, "repeats": 4.0}
"""Room for models that cost more a token than the baseline's. What is trained must be trained alike
in all three, so that the least of them is what an attack has: ``repeats``, which asks for least."""
MARGIN_SECONDS: dict[ClockKind, float] = {"processor": 1.0, "wall": 5.0}
"""Room for what a start takes now and then: a busy machine's caches, a GPU's first kernels."""


def allowance(needed: Iterable[Evaluation], clock: ClockKind) -> Answering | None:
    """What a candidate is allowed, in seconds of the clock; None where no need is known.

    Args:
        needed: evaluations of the study's baseline; those that were timed by another clock, or not
            at all, do not count.
        clock: what seconds are.
    """
    timed = [each.answering for each in needed if each.answering is not None]
    timed = [each for each in timed if each.clock == clock]

    if not timed:
        return None
    longest = {part: max(getattr(each, part) or 0.0 for each in timed) for part in FACTORS}
    allowed = {
        part: factor * longest[part] + MARGIN_SECONDS[clock] if longest[part] else None
        for part, factor in FACTORS.items()
    }
    return Answering(clock=clock, **allowed)
