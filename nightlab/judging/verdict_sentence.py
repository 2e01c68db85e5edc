"""The sentence of a verdict: what was measured, and what of it decided."""

from collections.abc import Sequence

from nightlab.records import Pair, Reason
from nightlab.records.counting import counted


def verdict_sentence(
    reason: Reason,
    pairs: Sequence[Pair],
    difference_bpb: float,
    interval_bpb: tuple[float, float],
    better: float,
    no_worse: float | None = None,
) -> str:
    """Say what came out, in one sentence for people.

    Args:
        reason: of the verdict.
        pairs: what it rests on.
        difference_bpb: their mean; negative is better.
        interval_bpb: 95 % credible interval of the difference.
        better: probability that the candidate is better.
        no_worse: of simpler code, the probability that it is no worse.
    """
    side = "better" if difference_bpb < 0 else "worse"
    low, high = interval_bpb
    measured = (
        f"{side} by {abs(difference_bpb):.4f} bpb in {counted(len(pairs), 'pair')} of trainings "
        f"with the same seed (95 % interval of the gain {-high:+.4f} to {-low:+.4f})"
    )
    chance = f"the chance that it is better is {percent(better)}"
    if reason is Reason.IMPROVED:
        return f"Kept: {measured}; {chance}."
    if reason is Reason.SIMPLER:
        return (
            f"Kept as simpler: clearly less code, and {measured}; the chance that it is no worse, "
            f"within noise, is {percent(no_worse or 0.0)}."
        )
    return f"Discarded: {measured}; {chance}."


def percent(chance: float) -> str:
    """A probability as a person says it, never as a certainty."""
    if chance > 0.999:
        return "over 99.9 %"
    if chance < 0.001:
        return "below 0.1 %"
    return f"{100 * chance:.1f} %" if chance > 0.99 or chance < 0.01 else f"{100 * chance:.0f} %"
