"""Thompson sampling of gain for cost: which of several ways of working gets the next turn.

Gain is counted in standard deviations of the noise and cost in turns of mean cost, and gain is
taken to come at a Poisson rate for each unit of cost. With a Gamma prior of one unit of gain
for one unit of cost, what is known of a rate is Gamma(1 + gain, 1 + cost); each turn goes to
the arm whose draw from that is highest. So an arm is chosen as often as it is likely to be
the best, and one that was hardly tried keeps its chance. Method: W. R. Thompson, "On the
likelihood that one unknown probability exceeds another" (1933); O. Chapelle and L. Li, "An
empirical evaluation of Thompson sampling" (2011).
"""

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

Name = TypeVar("Name", bound=str)

PRIOR_GAIN = 1.0
PRIOR_COST = 1.0
SHARE_DRAWS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRecord:
    """What one way of working has come to."""

    gain: float = 0.0
    """In standard deviations of the noise, at least 0."""
    cost: float = 0.0
    """In turns of mean cost, at least 0."""


def choose_arm(arms: Mapping[Name, ArmRecord], seed: int) -> Name:
    """Draw the arm of the next turn.

    Args:
        arms: at least one, by name.
        seed: of the draw: the same one chooses alike.
    """
    return _draw(arms, random.Random(seed))


def shares(arms: Mapping[Name, ArmRecord], draws: int = SHARE_DRAWS) -> dict[Name, float]:
    """How often each arm would be chosen now, 0 to 1, estimated by so many draws."""
    chance = random.Random(0)
    chosen = Counter(_draw(arms, chance) for _ in range(draws))
    return {name: chosen[name] / draws for name in arms}


def _draw(arms: Mapping[Name, ArmRecord], chance: random.Random) -> Name:
    # In the order of names, so that a draw does not depend on how a mapping was made.
    rates = {
        name: chance.gammavariate(PRIOR_GAIN + arm.gain, 1 / (PRIOR_COST + arm.cost))
        for name, arm in sorted(arms.items())
    }
    return max(rates, key=lambda name: rates[name])
