"""What a report says of a study, as numbers: pure functions of its records."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from nightlab.judging.scores import (
    counted_scores,
    evidence_bpb,
    find_baseline,
    is_better,
    measure_noise,
    standing_record,
)
from nightlab.judging.sequential_test import quantiles
from nightlab.judging.wandering import wandering_sentence
from nightlab.ledger.confirmations import ConfirmationRecord
from nightlab.proposers.arms import ArmSummary, summarise_arms
from nightlab.records import TrialRecord, Verdict

TOTAL_STEP = "total"
"""The step that is the whole trial; all others are parts of it."""
TRAINING_STEP = "train"

Number = TypeVar("Number", int, float)


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
    """What the study cost. Tokens and dollars are None where no trial knows them."""

    trial_seconds: float
    training_seconds: float
    steps: tuple[StepShare, ...]
    model_calls: int
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_usd: float | None

    @property
    def training_share(self) -> float | None:
        """Share of the trials' wall clock that was training."""
        return self.training_seconds / self.trial_seconds if self.trial_seconds > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study as its report needs it."""

    name: str
    records: tuple[TrialRecord, ...]
    baseline: TrialRecord | None
    incumbent: TrialRecord | None
    """The trial whose code stands."""
    baseline_bpb: float | None
    """Mean score of the baseline, by all its trainings: later trials add some."""
    incumbent_bpb: float | None
    """The incumbent's, likewise."""
    noise_bpb: float | None
    """Standard deviation of one replicate's score, in bits per byte."""
    noise_degrees: int
    spending: Spending
    arms: tuple[ArmSummary, ...] = ()
    """Who had ideas; empty where only one arm did."""
    confirmation: ConfirmationRecord | None = None
    """Of today's incumbent; finished."""
    wandering: str | None = None
    """One sentence, where the machine's speed is a good part of the scores."""

    @property
    def gain_bpb(self) -> float | None:
        """Baseline less incumbent, in bits per byte: positive is better."""
        if self.baseline_bpb is None or self.incumbent_bpb is None:
            return None
        return self.baseline_bpb - self.incumbent_bpb

    def count(self, verdict: Verdict) -> int:
        """How many trials have a verdict."""
        return sum(record.verdict is verdict for record in self.records)

    def kept(self) -> tuple[TrialRecord, ...]:
        """The trials that were kept, the baseline among them, in order."""
        return tuple(record for record in self.records if record.verdict is Verdict.KEEP)

    def error_bpb(self, record: TrialRecord) -> float | None:
        """Half of the 95 % interval of a trial's score, by the noise floor and Student's t."""
        scored = len(counted_scores(record.replicates))
        if self.noise_bpb is None or not scored:
            return None
        return quantiles(self.noise_degrees)[0] * self.noise_bpb / math.sqrt(scored)


def read_study(ledger: StudyRecords, confirmed: Sequence[ConfirmationRecord] = ()) -> Study:
    """Gather what the report of a study says."""
    records = ledger.records()
    noise = measure_noise(records)
    arms = summarise_arms(records)
    baseline = find_baseline(records)
    incumbent = standing_record(records)
    return Study(
        name=ledger.study,
        records=records,
        baseline=baseline,
        incumbent=incumbent,
        baseline_bpb=_score_of(baseline, records),
        incumbent_bpb=_score_of(incumbent, records),
        noise_bpb=noise.sigma_bpb if noise else None,
        noise_degrees=noise.degrees_of_freedom if noise else 0,
        spending=_spending(records),
        arms=arms if len(arms) > 1 else (),
        wandering=wandering_sentence(records),
        confirmation=next(
            (
                each
                for each in reversed(confirmed)
                if each.finished_at and incumbent and each.incumbent_commit == incumbent.commit
            ),
            None,
        ),
    )


def _score_of(record: TrialRecord | None, records: Sequence[TrialRecord]) -> float | None:
    return evidence_bpb(records, record.commit) if record is not None else None


def running_best(records: Sequence[TrialRecord]) -> tuple[tuple[int, float], ...]:
    """The best kept score up to each trial, as (number, val_bpb), where there is one."""
    best: float | None = None
    steps = []
    for record in records:
        score = record.val_bpb
        if (
            record.verdict is Verdict.KEEP
            and score is not None
            and (best is None or is_better(score, best))
        ):
            best = score
        if best is not None:
            steps.append((record.number, best))
    return tuple(steps)


def trial_seconds(record: TrialRecord) -> float:
    """Wall-clock seconds that were spent on a trial."""
    total = record.step_seconds.get(TOTAL_STEP)
    if total is not None:
        return total
    return (record.finished_at - record.started_at).total_seconds()


def _spending(records: Sequence[TrialRecord]) -> Spending:
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
    return Spending(
        trial_seconds=whole,
        training_seconds=steps.get(TRAINING_STEP, 0.0),
        steps=tuple(sorted(shares, key=lambda share: -share.seconds)),
        model_calls=sum(record.cost.calls for record in records),
        prompt_tokens=_total([record.cost.prompt_tokens for record in records]),
        completion_tokens=_total([record.cost.completion_tokens for record in records]),
        cost_usd=_total([record.cost.cost_usd for record in records]),
    )


def _total(values: Sequence[Number | None]) -> Number | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
