"""Which kept changes a study could do without: pure functions of pairs.

Each kept change is left out of the incumbent, and the code without it is trained on fresh seeds
beside the incumbent. What is believed of the change rests on these pairs and on those that it was
kept by, under the study's own prior, which allows for ideas that look good by luck.

| what is known of the change                                          | then                    |
|----------------------------------------------------------------------|-------------------------|
| fewer than ``FEWEST_PAIRS`` fresh pairs                              | another pair            |
| P(it helps) is at least the study's ``keep_probability``             | it stays                |
| its expected gain is below ``LEAST_GAIN``                            | it is a passenger       |
| the limit of pairs is reached                                        | undecided, and it stays |
| otherwise                                                            | another pair            |

So a passenger that is out is expected to cost a tenth of a pair's noise at most. In simulated
nights this finds a third of the false keeps, and what is lost with real changes that are taken for
some (3 in 100) is about what is won. By the fresh pairs alone it would find four in five, and
lose three times what is won.

A change that made the code clearly less was not kept for a gain: it stays where it likely costs no
more than a pair's noise, and goes out where it costs more with ``keep_probability``.
"""

from collections.abc import Sequence
from enum import StrEnum

from nightlab.judging.case import Case, Learnt
from nightlab.judging.decision import SIMPLER_MARGIN, SIMPLER_PROBABILITY, Weighed, weigh
from nightlab.records import Pair

FEWEST_PAIRS = 2
"""Fresh pairs before anything is decided: one alone is often luck."""
MOST_PAIRS = 4
"""Fresh pairs of one code, unless a person asks for more."""
LEAST_GAIN = 0.1
"""What a change that stays is expected to bring at least, in standard deviations of one pair."""


class Outcome(StrEnum):
    """What became of a kept change that was left out."""

    STAYS = "stays"
    """It helps; or it saves code, and costs no more than noise."""
    PASSENGER = "passenger"
    """The code is likely as good without it."""
    UNDECIDED = "undecided"
    """The limit of pairs was reached: it stays."""
    NEEDED = "needed"
    """The code does not train without it."""
    ENTANGLED = "entangled"
    """It cannot be left out alone."""
    UNDONE = "undone"
    """A later change took it back: there is nothing to leave out."""


def weigh_pairs(
    pairs: Sequence[Pair], learnt: Learnt, preset_noise_bpb: float, keep_probability: float
) -> Weighed:
    """What is believed of a code, or a change, after its pairs; there is one at least.

    Args:
        pairs: of the better code as it is hoped, against the other.
        learnt: what the study's other trials say of ideas and noise.
        preset_noise_bpb: standard deviation of a pair's difference that is usual.
        keep_probability: the study's.
    """
    case = Case(
        candidate=(),
        bank={},
        seeds=(),
        learnt=learnt,
        preset_noise_bpb=preset_noise_bpb,
        keep_probability=keep_probability,
    )
    return weigh(case, tuple(pairs))


def judge_change(
    weighed: Weighed, fresh: int, *, saves_code: bool, keep_probability: float, most_pairs: int
) -> Outcome | None:
    """Say what becomes of a change, or None where another pair is to tell.

    Args:
        weighed: with the change against without it.
        fresh: how many of the pairs were trained for this.
        saves_code: whether the change made the code clearly less.
        keep_probability: the study's.
        most_pairs: fresh pairs after which it is left undecided.
    """
    if fresh < FEWEST_PAIRS:
        return None
    belief = weighed.belief
    if saves_code:
        stays = no_worse(weighed) >= SIMPLER_PROBABILITY
        is_passenger = no_worse(weighed) < 1 - keep_probability
    else:
        stays = belief.better >= keep_probability and belief.gain > 0
        is_passenger = belief.gain < LEAST_GAIN
    if stays:
        return Outcome.STAYS
    if is_passenger:
        return Outcome.PASSENGER
    return Outcome.UNDECIDED if fresh >= most_pairs else None


def judge_together(weighed: Weighed, most_pairs: int) -> bool | None:
    """Whether the code without all passengers can be offered; None where another pair is to tell.

    Args:
        weighed: the code without them against the incumbent.
        most_pairs: after which it is not offered.
    """
    count, likely = len(weighed.pairs), no_worse(weighed)
    if count < FEWEST_PAIRS:
        return None
    if likely >= SIMPLER_PROBABILITY:
        return True
    return False if likely < 0.5 or count >= most_pairs else None


def no_worse(weighed: Weighed) -> float:
    """Probability that a code is worse by one pair's noise at most."""
    return weighed.belief.above(-SIMPLER_MARGIN)
