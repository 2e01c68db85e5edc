"""Several studies side by side, as numbers: what each gained for what it spent.

The best score so far is the baseline's mean and the differences that the pairs of the kept changes
showed; its standard error is the baseline's and those of the differences together. In studies from
before pairs it is the mean of the trainings that chose the code.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from nightlab.errors import UsageError
from nightlab.judging.scores import (
    SeedNoise,
    find_baseline,
    scores_of,
    seed_noise,
    standing_record,
)
from nightlab.ledger.confirmations import ConfirmationRecord
from nightlab.proposers.command.proposer import CommandProposer
from nightlab.records import Frozen, Reason, TrialRecord, Verdict
from nightlab.records.durations import SECONDS_PER_HOUR
from nightlab.report.study import StudyRecords
from nightlab.settings import recorded_settings

MEASURED_BY = (
    "budget_seconds",
    "budget_tokens",
    "startup_free_seconds",
    "sequence_length",
    "vocab_size",
    "evaluation_tokens",
)
"""Sizes of a session without which scores do not compare."""


class Axis(StrEnum):
    """What a gain is set against."""

    SECONDS = "training_seconds"
    TRIALS = "trials"
    DOLLARS = "cost_usd"


class Spent(Frozen):
    """What a study had spent when a trial ended."""

    training_seconds: float = 0.0
    """Of all trainings, the incumbent's too; confirmations choose nothing and are not in it."""
    trials: int = 0
    """Besides the baseline."""
    cost_usd: float | None = 0.0
    """For models; None where the study knows the price of none of its calls."""

    def on(self, axis: Axis) -> float | None:
        """The amount on one axis."""
        value: float | None = getattr(self, axis.value)
        return value


class Moment(Frozen):
    """What stood when a trial ended."""

    spent: Spent
    best_bpb: float
    """The incumbent's ``val_bpb``."""
    error_bpb: float | None
    """Standard error of that."""
    gain_bpb: float
    """Baseline less incumbent; 0 while the baseline stands."""


class ConfirmedGain(Frozen):
    """A gain on fresh seeds and the holdout split."""

    spent: Spent
    """What its study had spent when it was confirmed."""
    gain_bpb: float
    interval_bpb: tuple[float, float]
    """95 % confidence interval."""
    holds: bool


class Arm(Frozen):
    """One study of a comparison."""

    name: str
    moments: tuple[Moment, ...]
    """From the baseline on, one a trial."""
    confirmed: tuple[ConfirmedGain, ...]
    baseline_bpb: float
    keeps: int
    """Besides the baseline."""
    unpriced: int
    """Trials that called a model at a price that is not known; they count as free."""
    corpus_fingerprint: str
    sizes: dict[str, float | None]
    """The sizes that scores depend on."""
    device: str
    baseline_source: str
    """The trainer that the study began with."""

    @property
    def spent(self) -> Spent:
        """All of it."""
        return self.moments[-1].spent

    @property
    def best_bpb(self) -> float:
        """The ``val_bpb`` of today's incumbent."""
        return self.moments[-1].best_bpb

    @property
    def gain_bpb(self) -> float:
        """Baseline less incumbent: positive is better."""
        return self.moments[-1].gain_bpb

    @property
    def confirmed_gain(self) -> ConfirmedGain | None:
        """The latest one."""
        return self.confirmed[-1] if self.confirmed else None

    @property
    def gain_per_hour(self) -> float | None:
        """Gain in bits per byte for an hour of training; None where nothing was trained."""
        hours = self.spent.training_seconds / SECONDS_PER_HOUR
        return self.gain_bpb / hours if hours > 0 else None

    def at(self, axis: Axis, amount: float) -> Moment | None:
        """What stood when no more than so much was spent; None before the baseline did."""
        found = None
        for moment in self.moments:
            spent = moment.spent.on(axis)
            if spent is None or spent > amount:
                break
            found = moment
        return found


class ComparedLedger(StudyRecords, Protocol):
    """What is read of a ledger."""

    def source(self, commit: str) -> str:
        """``train.py`` at a commit."""


def read_arm(ledger: ComparedLedger, confirmed: Sequence[ConfirmationRecord] = ()) -> Arm:
    """Gather what a comparison says of a study.

    Raises:
        UsageError: it has no scored baseline.
    """
    records = ledger.records()
    baseline = find_baseline(records)
    score = baseline.val_bpb if baseline else None
    if baseline is None or score is None:
        raise UsageError(
            f"Study {ledger.study!r} has no scored baseline yet, so there is nothing to compare: "
            f"`nightlab research --study {ledger.study}` makes one."
        )
    moments, ends = _moments(records, baseline.commit, score)
    sizes = recorded_settings(baseline.settings).sizes
    return Arm(
        name=ledger.study,
        moments=moments,
        confirmed=_confirmed(confirmed, moments, ends),
        baseline_bpb=score,
        keeps=sum(each.verdict is Verdict.KEEP for each in records) - 1,
        unpriced=sum(_is_unpriced(each) for each in records),
        corpus_fingerprint=baseline.corpus_fingerprint,
        sizes={name: getattr(sizes, name) for name in MEASURED_BY},
        device=baseline.device,
        baseline_source=ledger.source(baseline.commit),
    )


def equal_seconds(arms: Sequence[Arm]) -> float:
    """The training seconds that every study has spent."""
    return min(arm.spent.training_seconds for arm in arms)


def _moments(
    records: Sequence[TrialRecord], baseline: str, baseline_bpb: float
) -> tuple[tuple[Moment, ...], list[datetime]]:
    """What stood after every trial from the baseline on, and when that trial ended."""
    noise = seed_noise(records)
    called = [record for record in records if _is_called(record)]
    is_priced = not called or not all(map(_is_unpriced, called))
    spent = Spent(cost_usd=0.0 if is_priced else None)
    moments: list[Moment] = []
    ends = []
    for index, record in enumerate(records):
        spent = _after(spent, record)
        so_far = records[: index + 1]
        incumbent = standing_record(so_far)
        if incumbent is None or incumbent.val_bpb is None:
            continue
        gain = 0.0 if incumbent.commit == baseline else baseline_bpb - incumbent.val_bpb
        moment = Moment(
            spent=spent,
            best_bpb=incumbent.val_bpb,
            error_bpb=_error(so_far, incumbent, noise),
            gain_bpb=gain,
        )
        moments.append(moment)
        ends.append(record.finished_at)
    return tuple(moments), ends


def _error(
    records: Sequence[TrialRecord], incumbent: TrialRecord, noise: SeedNoise | None
) -> float | None:
    """Standard error of an incumbent's ``val_bpb``: of its first mean, and of each difference."""
    kept = {each.commit: each for each in records if each.verdict is Verdict.KEEP}
    variance, standing = 0.0, incumbent
    while standing.decision.pairs and standing.decision.noise_bpb is not None:
        variance += standing.decision.noise_bpb**2 / len(standing.decision.pairs)
        if standing.parent not in kept:
            return None
        standing = kept[standing.parent]
    scores = scores_of(standing.replicates)
    if noise is None or not scores:
        return None
    return math.sqrt(variance + noise.sigma_bpb**2 / len(scores))


def _after(spent: Spent, record: TrialRecord) -> Spent:
    trained = (*record.replicates, *record.incumbent_replicates)
    seconds = sum(each.training.training_seconds or 0.0 for each in trained)
    cost = spent.cost_usd
    return Spent(
        training_seconds=spent.training_seconds + seconds,
        trials=spent.trials + (record.reason is not Reason.BASELINE),
        cost_usd=None if cost is None else cost + record.cost.known_usd,
    )


def _is_unpriced(record: TrialRecord) -> bool:
    return _is_called(record) and record.cost.cost_usd is None


def _is_called(record: TrialRecord) -> bool:
    """Whether a model was asked, or a command, which may ask one that nobody sees."""
    return record.cost.calls > 0 or record.proposer == CommandProposer.name


def _confirmed(
    records: Sequence[ConfirmationRecord], moments: Sequence[Moment], ends: Sequence[datetime]
) -> tuple[ConfirmedGain, ...]:
    found = []
    for record in records:
        if record.finished_at is None or record.gain_bpb is None or record.interval_bpb is None:
            continue
        before = sum(end <= record.started_at for end in ends)
        gain = ConfirmedGain(
            spent=moments[max(before, 1) - 1].spent,
            gain_bpb=record.gain_bpb,
            interval_bpb=record.interval_bpb,
            holds=bool(record.holds),
        )
        found.append(gain)
    return tuple(found)
