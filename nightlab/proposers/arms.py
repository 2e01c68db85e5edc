"""Whose turn it is to have an idea, by what each has gained for what it cost.

Arms (and models) take turns by Thompson sampling. Gain is counted in standard deviations of the
noise and cost in turns of mean cost, and gain is taken to come at a Poisson rate for each unit of
cost. With a Gamma prior of one unit of gain for one unit of cost, what is known of a rate is
Gamma(1 + gain, 1 + cost); each turn goes to the arm whose draw from that is highest. So an arm is
chosen as often as it is likely to be the best, and one that was hardly tried keeps its chance.
Method: W. R. Thompson, "On the likelihood that one unknown probability exceeds another" (1933); O.
Chapelle and L. Li, "An empirical evaluation of Thompson sampling" (2011).
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from nightlab.models.spending import Price
from nightlab.records import Reason, TrialRecord, Verdict

Name = TypeVar("Name", bound=str)

PRIOR_GAIN = 1.0
PRIOR_COST = 1.0
SHARE_DRAWS = 2_000
LEAST_COST = 0.1
"""Of a turn, in turns of mean cost: also of one that trained nothing, or was free beside others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRecord:
    """What one way of working has come to."""

    gain: float = 0.0
    """In standard deviations of the noise, at least 0."""
    cost: float = 0.0
    """In turns of mean cost, at least 0."""


def choose_arm(arms: Mapping[Name, ArmRecord], seed: int) -> Name:
    """Draw the arm of the next turn, of one or more; the same seed chooses alike."""
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


class Arm(StrEnum):
    """A way of finding the next idea."""

    STRUCTURE = "structure"
    """A model, or a person's command, edits the code."""
    TUNING = "tuning"
    """The optimiser moves the knobs around what stands."""
    RESCUE = "rescue"
    """An edit that just missed is tried again, with other knobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSummary:
    """What one arm has come to."""

    arm: Arm
    trials: int
    keeps: int
    gain_bpb: float
    training_seconds: float
    """Of the candidates."""
    cost_usd: float | None
    share: float
    """How often it would get the next turn, 0 to 1."""

    @property
    def gain_bpb_per_hour(self) -> float | None:
        """Gain for an hour of training; None where nothing trained."""
        return self.gain_bpb / self.training_seconds * 3600 if self.training_seconds > 0 else None


def arm_of(record: TrialRecord) -> Arm | None:
    """Whose idea a trial was; None for a baseline and for what the machinery broke."""
    if record.reason is Reason.BASELINE or record.verdict is Verdict.FAILED:
        return None
    if record.rescue_of is not None:
        return Arm.RESCUE
    return Arm.TUNING if record.proposer == "knobs" else Arm.STRUCTURE


def gain_bpb(record: TrialRecord) -> float:
    """By how much a kept trial was better, in bits per byte; else 0."""
    difference = record.decision.difference_bpb
    if record.verdict is not Verdict.KEEP or difference is None:
        return 0.0
    return max(0.0, -difference)


def gain_in_noise(record: TrialRecord) -> float:
    """The same in standard deviations of a pair's difference; 0 where that is not known."""
    noise = record.decision.noise_bpb
    return gain_bpb(record) / noise if noise else 0.0


def training_seconds(record: TrialRecord) -> float:
    """Seconds of a candidate's own trainings.

    The incumbent's are banked: which trial's turn it was to train them says nothing about whose
    idea that trial had.
    """
    return sum(replicate.training.training_seconds or 0.0 for replicate in record.replicates)


def arm_records(records: Sequence[TrialRecord]) -> dict[Arm, ArmRecord]:
    """What the bandit knows of each arm: gain in the noise, cost in trials of mean length.

    A trial that never trained, since its edit was no use, still took a turn; it costs a
    tenth of a mean one.
    """
    by_arm = {arm: [record for record in records if arm_of(record) is arm] for arm in Arm}
    seconds = [training_seconds(record) for arm in by_arm.values() for record in arm]
    trained = [each for each in seconds if each > 0]
    mean = sum(trained) / len(trained) if trained else 1.0
    return {
        arm: ArmRecord(
            gain=sum(map(gain_in_noise, ours)),
            cost=sum(max(LEAST_COST, training_seconds(record) / mean) for record in ours),
        )
        for arm, ours in by_arm.items()
    }


def model_arms(prices: Mapping[str, Price], records: Sequence[TrialRecord]) -> dict[str, ArmRecord]:
    """What each model gained, in units of the noise, and cost, in units of a mean paid proposal.

    A proposal whose price nobody reported counts by its tokens at the model's price.
    """
    gains = dict.fromkeys(prices, 0.0)
    costs = dict.fromkeys(gains, 0.0)
    turns: Counter[str] = Counter()
    paid_turns = 0
    for record in records:
        model = record.model
        if model is None or model not in gains or record.verdict is Verdict.FAILED:
            continue
        turns[model] += 1
        gains[model] += gain_in_noise(record)
        cost = record.cost
        dollars = cost.cost_usd
        if dollars is None:
            dollars = prices[model].of(cost.prompt_tokens or 0, cost.completion_tokens or 0)
        costs[model] += dollars
        paid_turns += dollars > 0
    mean = sum(costs.values()) / paid_turns if paid_turns else 0.0
    # Models that cost nothing compare by how often they were asked; beside one that does, each
    # of their turns costs a little, since it is a trial that another could have had.
    return {
        name: ArmRecord(
            gain=gains[name],
            cost=max(costs[name] / mean, LEAST_COST * turns[name]) if mean > 0 else turns[name],
        )
        for name in gains
    }


def summarise_arms(records: Sequence[TrialRecord]) -> tuple[ArmSummary, ...]:
    """The arms that had a turn, with what they came to."""
    had_turns = {arm for arm in map(arm_of, records) if arm is not None}
    known = {arm: told for arm, told in arm_records(records).items() if arm in had_turns}
    share = shares(known) if known else {}
    return tuple(_summary(arm, records, share[arm]) for arm in Arm if arm in had_turns)


def _summary(arm: Arm, records: Sequence[TrialRecord], share: float) -> ArmSummary:
    ours = [record for record in records if arm_of(record) is arm]
    dollars = [record.cost.cost_usd for record in ours if record.cost.cost_usd is not None]
    return ArmSummary(
        arm=arm,
        trials=len(ours),
        keeps=sum(record.verdict is Verdict.KEEP for record in ours),
        gain_bpb=sum(map(gain_bpb, ours)),
        training_seconds=sum(map(training_seconds, ours)),
        cost_usd=sum(dollars) if dollars else None,
        share=share,
    )
