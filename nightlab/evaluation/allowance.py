"""What the candidate's code may take in each sandbox of an evaluation, from ``load`` to the answer.

``build_model``, ``load_state_dict`` and ``forward`` are the candidate's, and weights may hold
text: who had minutes there could go on training, and be scored for it. So each sandbox is allowed
a small multiple of what the baseline needed in the same one, in seconds of the study's clock. How
much it is that this leaves: docs/decisions/0031.
"""

from collections.abc import Iterable

from nightlab.records import Answering, Evaluation
from nightlab.training.clock import ClockKind

FACTOR = 4.0
"""Room for models that cost more a token than the baseline's."""
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

    def allowed(of_each: Iterable[float | None]) -> float | None:
        longest = max((each for each in of_each if each is not None), default=None)
        return None if longest is None else FACTOR * longest + MARGIN_SECONDS[clock]

    if not timed:
        return None
    return Answering(
        clock=clock,
        claims=allowed(each.claims for each in timed),
        audit=allowed(each.audit for each in timed),
        repeats=allowed(each.repeats for each in timed),
    )
