"""Who has ideas in a study, and what each has gained for the time that it took.

A session with the hybrid proposer divides its trials among these arms; a report shows them for
every study in which more than one had a turn.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from nightlab.proposers.bandit import ArmRecord, shares
from nightlab.records import Reason, TrialRecord, Verdict


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
    gain_in_noise: float
    """In standard deviations of a pair's difference."""
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
            cost=sum(max(0.1, training_seconds(record) / mean) for record in ours),
        )
        for arm, ours in by_arm.items()
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
        gain_in_noise=sum(map(gain_in_noise, ours)),
        training_seconds=sum(map(training_seconds, ours)),
        cost_usd=sum(dollars) if dollars else None,
        share=share,
    )
