"""What stood when a trial began: its parent trial, and the incumbent's training beside its own."""

from collections.abc import Sequence
from dataclasses import dataclass

from nightlab.judging.bank import bank_of
from nightlab.records import Reason, Replicate, TrialRecord, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Incumbent:
    """What a trial was measured against; nothing of it for a baseline."""

    trial: int | None = None
    """The trial that made its code."""
    twin: Replicate | None = None
    """Its training with the seed of the trial's first."""


def incumbent_of(records: Sequence[TrialRecord], record: TrialRecord) -> Incumbent:
    """Find what a trial was measured against.

    Args:
        records: the study's, in order.
        record: the trial's.
    """
    if record.reason is Reason.BASELINE:
        return Incumbent()
    earlier = [each for each in records if each.number < record.number]
    made = [e.number for e in earlier if e.commit == record.parent and e.verdict is Verdict.KEEP]
    twin = None
    if record.replicates:
        first, noise = record.replicates[0], record.decision.noise_bpb or 0.0
        anew = record.incumbent_replicates
        bank = bank_of(earlier, record.parent, first.place, anew, noise)
        twin = bank.get(first.seed)
    return Incumbent(trial=made[0] if made else None, twin=twin)
