"""What a report says of a study, as numbers: pure functions of its records."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from nightlab.judging.scores import (
    find_baseline,
    seed_noise,
    standing_record,
)
from nightlab.ledger.confirmations import ConfirmationRecord
from nightlab.proposers.arms import ArmSummary, summarise_arms
from nightlab.records import ProposalCost, Reason, Replicate, TrialRecord, Verdict

TOTAL_STEP = "total"
"""The step that is the whole trial; all others are parts of it."""


class StudyRecords(Protocol):
    """What is read of a ledger."""

    @property
    def study(self) -> str:
        """The study's name."""

    def records(self) -> tuple[TrialRecord, ...]:
        """All records, in order."""

    def diff(self, record: TrialRecord) -> str:
        """The candidate's unified diff against its parent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepShare:
    """Seconds that one step took over the whole study, and its share of all."""

    step: str
    seconds: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """What the study cost."""

    trial_seconds: float
    """Of the wall clock, trial by trial."""
    steps: tuple[StepShare, ...]
    candidate_seconds: float
    """Of the device, by the clock that budgets are counted with: trainings of candidates."""
    incumbent_seconds: float
    """Trainings of the incumbent beside them."""
    confirming_seconds: float
    """Trainings that confirmed a gain, which are in no trial."""
    cost: ProposalCost

    @property
    def training_seconds(self) -> float:
        """All that the device trained."""
        return self.candidate_seconds + self.incumbent_seconds + self.confirming_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study as its report needs it."""

    name: str
    records: tuple[TrialRecord, ...]
    baseline: TrialRecord | None
    incumbent: TrialRecord | None
    """The trial whose code stands."""
    pair_noise_bpb: float | None
    """Standard deviation of one pair's difference, as the latest verdict on pairs took it."""
    seed_noise_bpb: float | None
    """Standard deviation of the scores of one code with different seeds."""
    spending: Spending
    arms: tuple[ArmSummary, ...] = ()
    """Who had ideas; empty where only one arm did."""
    confirmation: ConfirmationRecord | None = None
    """Of today's incumbent; finished."""

    @property
    def baseline_bpb(self) -> float | None:
        """Mean score of the baseline's own trainings."""
        return self.baseline.val_bpb if self.baseline is not None else None

    @property
    def incumbent_bpb(self) -> float | None:
        """The baseline's, and the differences that the pairs of the kept changes showed."""
        return self.incumbent.val_bpb if self.incumbent is not None else None

    @property
    def gain_bpb(self) -> float | None:
        """Baseline less incumbent, in bits per byte: positive is better."""
        if self.baseline_bpb is None or self.incumbent_bpb is None:
            return None
        return self.baseline_bpb - self.incumbent_bpb

    @property
    def noise_bpb(self) -> float | None:
        """How far numbers of this study are apart by chance."""
        return self.pair_noise_bpb if self.pair_noise_bpb is not None else self.seed_noise_bpb

    @property
    def asked_models(self) -> bool:
        """Whether a model or a command had ideas in it."""
        return any(record.model or record.cost.calls for record in self.records)

    def count(self, verdict: Verdict) -> int:
        """How many trials have a verdict."""
        return sum(record.verdict is verdict for record in self.records)

    def kept(self) -> tuple[TrialRecord, ...]:
        """The trials that were kept, the baseline among them, in order."""
        return tuple(record for record in self.records if record.verdict is Verdict.KEEP)

    def improvements(self) -> tuple[TrialRecord, ...]:
        """The changes that were kept because they are better, in order."""
        return tuple(record for record in self.records if record.reason is Reason.IMPROVED)


def read_study(ledger: StudyRecords, confirmed: Sequence[ConfirmationRecord] = ()) -> Study:
    """Gather what the report of a study says."""
    records = ledger.records()
    noise = seed_noise(records)
    judged = [each for each in records if each.decision.pairs]
    arms = summarise_arms(records)
    incumbent = standing_record(records)
    return Study(
        name=ledger.study,
        records=records,
        baseline=find_baseline(records),
        incumbent=incumbent,
        pair_noise_bpb=judged[-1].decision.noise_bpb if judged else None,
        seed_noise_bpb=noise.sigma_bpb if noise else None,
        spending=_spending(records, confirmed),
        arms=arms if len(arms) > 1 else (),
        confirmation=next(
            (
                each
                for each in reversed(confirmed)
                if each.finished_at and incumbent and each.incumbent_commit == incumbent.commit
            ),
            None,
        ),
    )


def interval_of(record: TrialRecord) -> tuple[float, float] | None:
    """The 95 % interval of a trial's difference, where its ``val_bpb`` stands; None without one."""
    decision = record.decision
    if record.val_bpb is None or decision.interval_bpb is None or decision.difference_bpb is None:
        return None
    standing = record.val_bpb - decision.difference_bpb
    low, high = decision.interval_bpb
    return standing + low, standing + high


def trial_seconds(record: TrialRecord) -> float:
    """Wall-clock seconds that were spent on a trial."""
    total = record.step_seconds.get(TOTAL_STEP)
    if total is not None:
        return total
    return (record.finished_at - record.started_at).total_seconds()


def _spending(records: Sequence[TrialRecord], confirmed: Sequence[ConfirmationRecord]) -> Spending:
    whole = sum(trial_seconds(record) for record in records)
    steps: dict[str, float] = {}
    for record in records:
        for step, seconds in record.step_seconds.items():
            if step != TOTAL_STEP:
                steps[step] = steps.get(step, 0.0) + seconds
    shares = [
        StepShare(step=step, seconds=seconds, share=seconds / whole if whole > 0 else 0.0)
        for step, seconds in steps.items()
    ]
    # By code and seed: a later confirmation carries the trainings of an earlier one.
    again = {
        (commit, each.seed): each
        for one in confirmed
        for commit, replicates in (
            (one.baseline_commit, one.baseline_replicates),
            (one.incumbent_commit, one.incumbent_replicates),
        )
        for each in replicates
    }
    return Spending(
        trial_seconds=whole,
        steps=tuple(sorted(shares, key=lambda share: -share.seconds)),
        candidate_seconds=_trained(each for record in records for each in record.replicates),
        incumbent_seconds=_trained(
            each for record in records for each in record.incumbent_replicates
        ),
        confirming_seconds=_trained(again.values()),
        cost=sum((record.cost for record in records), ProposalCost()),
    )


def _trained(replicates: Iterable[Replicate]) -> float:
    return sum(each.training.training_seconds or 0.0 for each in replicates)
