"""The sentence of a verdict: what was measured, and what of it decided."""

from nightlab.judging.case import TurnComparison
from nightlab.judging.sequential_test import Comparison

MOST_TIMES = 1e6
"""Evidence beyond this is said to be more: how much more tells nothing."""


NOTHING_BESIDE_IT = (
    "other work on the machine kept the incumbent from being measured beside it, so nothing can be "
    "told from its earlier scores"
)


def verdict_sentence(
    score: float, standing: float, comparison: Comparison, *, is_kept: bool, why: str
) -> str:
    """Say what came out.

    Args:
        score: the candidate's mean, bits per byte.
        standing: the incumbent's.
        comparison: of the two.
        is_kept: whether the candidate is.
        why: what decided, as the functions below say it.
    """
    better = "better" if comparison.gain >= 0 else "worse"
    low, high = comparison.interval
    return (
        f"{'Kept' if is_kept else 'Discarded'}: {score:.4f} bpb against {standing:.4f}, {better} "
        f"by {abs(comparison.gain):.4f} (95 % interval of the gain {low:+.4f} to {high:+.4f}, "
        f"{_plural(comparison.candidate_count, 'seed')} against {comparison.incumbent_count}): "
        f"{why}."
    )


def enough_evidence(
    comparison: Comparison, needed: float, earlier_trials: int, on_turns: TurnComparison
) -> str:
    """Why a candidate is kept as an improvement.

    Args:
        comparison: of it and the incumbent.
        needed: evidence, of all their trainings.
        earlier_trials: that were judged before it, which that depends on.
        on_turns: the comparison with the incumbent's trainings next to its own.
    """
    paired, differences = on_turns.by_noise, on_turns.by_differences
    return (
        f"{times(comparison.evidence())} times likelier if it is better than if not, and "
        f"{needed:,.0f} were needed, with {_plural(earlier_trials, 'trial')} judged before it; "
        f"{times(paired.evidence())} times on {_next_to_it(paired)}, better by {paired.gain:.4f}, "
        f"and {times(differences.evidence())} times by the spread of those differences"
    )


def too_little_evidence(comparison: Comparison, needed: float) -> str:
    """Why a candidate is discarded that gains after as many trainings as it may have."""
    return (
        f"after so many seeds only {times(comparison.evidence())} times likelier if it is better "
        f"than if not, and {needed:,.0f} were needed"
    )


def too_little_beside_it(paired: Comparison, needed: float) -> str:
    """Why a candidate is discarded that gains on earlier trainings of the incumbent only."""
    return (
        f"on {_next_to_it(paired)} the gain is {paired.gain:+.4f}, only "
        f"{times(paired.evidence())} times likelier if it is better than if not, where "
        f"{needed:,.0f} were needed: what it gains on the earlier ones may come from the machine"
    )


def too_little_gain(comparison: Comparison, least_gain: float) -> str:
    """Why a candidate is not trained any further.

    Args:
        comparison: of it and the incumbent.
        least_gain: that is asked for, in standard deviations of one training.
    """
    return (
        f"a gain of {least_gain * comparison.sigma:.4f} is needed to go on, {least_gain:g} of "
        f"the noise of one training"
    )


def worse_than_noise(comparison: Comparison) -> str:
    """Why a candidate is a regression."""
    return f"worse by more than noise of ±{comparison.noise:.4f}"


def times(evidence: float) -> str:
    """How many times likelier, as a person says it."""
    if evidence > MOST_TIMES:
        return f"more than {MOST_TIMES:,.0f}"
    return f"{evidence:,.0f}" if evidence >= 10 else f"{evidence:.2g}"


def _next_to_it(paired: Comparison) -> str:
    return f"the incumbent's {_plural(paired.incumbent_count, 'training')} next to its own"


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"
