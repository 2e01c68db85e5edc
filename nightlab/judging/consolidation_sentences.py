"""What a consolidation found, in sentences for people."""

from collections.abc import Sequence

from nightlab.judging.consolidating import Outcome, no_worse
from nightlab.judging.crashes import FAILURES_IN_A_ROW
from nightlab.judging.decision import Weighed
from nightlab.judging.verdict_sentence import percent
from nightlab.records.counting import counted

ENTANGLED = "cannot be left out alone, so it stays: a later change is built on the same lines."
SMALLEST_BPB = 0.00005
"""What four decimals can show."""
UNDONE = "is in the code no more: a later change took it back."


def label(trial: int, title: str) -> str:
    """A kept change, as sentences begin with it."""
    return f"Trial {trial} ({title})" if title else f"Trial {trial}"


def change_sentence(
    name: str, outcome: Outcome, weighed: Weighed, difference_bpb: float, fresh: int, saves: bool
) -> str:
    """Say what came of leaving a change out.

    Args:
        name: of the change, with which the sentence begins.
        outcome: that pairs led to.
        weighed: with the change against without it, by all pairs.
        difference_bpb: of the fresh pairs; negative where the change helps.
        fresh: how many of them.
        saves: whether the change made the code clearly less.
    """
    earlier = "with the pairs that kept it, " if len(weighed.pairs) > fresh else ""
    measured = (
        f"without it the code is {_side(-difference_bpb)} in {counted(fresh, 'pair')} of fresh "
        f"seeds; {earlier}the chance that it helps is {percent(weighed.belief.better)}"
    )
    if outcome is Outcome.PASSENGER:
        what = "saves code and costs score" if saves else "is a passenger"
        return f"{name} {what}: {measured}."
    if outcome is Outcome.UNDECIDED:
        return f"{name} is undecided, and stays: {measured}."
    if saves:
        return (
            f"{name} stays, for it saves code: {measured}, and that it is no worse, within noise, "
            f"{percent(no_worse(weighed))}."
        )
    return f"{name} helps, and stays: {measured}."


def needed_sentence(name: str, message: str) -> str:
    """Say of a change that the code does not train without it."""
    return f"{name} stays: without it the code does not train: {message}"


def together_sentence(count: int, weighed: Weighed, holds: bool, noise_bpb: float) -> str:
    """Say how the code without all passengers did.

    Args:
        count: of the passengers that are out.
        weighed: that code against the incumbent.
        holds: whether it can be offered.
        noise_bpb: standard deviation of one pair's difference.
    """
    what = "Without it" if count == 1 else f"Without all {count}"
    chance = percent(no_worse(weighed))
    return (
        f"{what} the code is {_side(weighed.difference_bpb)} in "
        f"{counted(len(weighed.pairs), 'further pair')}; the chance that it loses no more than one "
        f"pair's noise ({noise_bpb:.4f} bpb) is {chance}"
        f"{'' if holds else ', which is too little to offer it'}."
    )


def _side(difference_bpb: float) -> str:
    """Which of two codes is better, and by how much; negative is better."""
    if abs(difference_bpb) < SMALLEST_BPB:
        return "as good"
    return f"{'worse' if difference_bpb > 0 else 'better'} by {abs(difference_bpb):.4f} bpb"


def found_sentence(outcomes: Sequence[Outcome | None]) -> str:
    """Say how many of the kept changes are what."""
    names = (
        (Outcome.PASSENGER, "passenger", "passengers"),
        (Outcome.STAYS, "earns its place", "earn their place"),
        (Outcome.NEEDED, "is needed to train", "are needed to train"),
        (Outcome.UNDECIDED, "is undecided", "are undecided"),
        (Outcome.ENTANGLED, "cannot be left out alone", "cannot be left out alone"),
        (Outcome.UNDONE, "was taken back later", "were taken back later"),
    )
    counts = [(outcomes.count(outcome), one, more) for outcome, one, more in names]
    told = ", ".join(f"{n} {one if n == 1 else more}" for n, one, more in counts if n)
    return f"Of {counted(len(outcomes), 'kept change')}: {told}."


def incumbent_failed_sentence(message: str) -> str:
    """Say that nothing can be paired with the incumbent."""
    return (
        f"NOT consolidated: the incumbent failed {FAILURES_IN_A_ROW} fresh trainings in a row, the "
        f"last one with: {message}"
    )
