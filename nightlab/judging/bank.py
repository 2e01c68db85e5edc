"""The incumbent's trainings, kept for every candidate that comes: which of them count.

A candidate's training is set beside the incumbent's of the same seed, made once. It counts while
it was made at the same place (machine, device, engine). Where one candidate after the other comes
out worse than it, the first of them is made anew (``is_due``): if it comes out otherwise by more
than noise, the place has changed without saying so, and what was banked before is not used any
more. A place that has changed the other way needs no such look: a candidate is soon kept, and
its trainings are the bank from then on.
"""

from collections.abc import Iterable, Sequence

from nightlab.records import Reason, Replicate, TrialRecord

CHECK_AFTER = 32
"""Trials in a row, all worse than the incumbent, after which its first training is made anew."""
CHANGED_NOISES = 4.0
"""Two trainings of the same code and seed that differ by more than so many standard deviations of
a pair are of two places."""


def bank_of(
    records: Iterable[TrialRecord],
    commit: str,
    place: str,
    anew: Sequence[Replicate],
    pair_noise_bpb: float,
) -> dict[int, Replicate]:
    """The trainings of a commit that count at a place, by seed; the latest of each.

    Args:
        records: the study's, in order.
        commit: the incumbent's.
        place: where the candidate is trained.
        anew: its trainings for the trial under way.
        pair_noise_bpb: standard deviation of a pair's difference.
    """
    bank: dict[int, Replicate] = {}
    for record in records:
        if _is_own(record, commit):
            _add(bank, record.replicates, place, pair_noise_bpb)
        # A place that has changed shows on whichever incumbent stood then.
        if record.parent == commit:
            _add(bank, record.incumbent_replicates, place, pair_noise_bpb)
    _add(bank, anew, place, pair_noise_bpb)
    return bank


def is_due(records: Sequence[TrialRecord], commit: str, seed: int) -> bool:
    """Whether the incumbent's training with this seed is to be made anew, to see if it holds.

    Args:
        records: the study's, in order.
        commit: the incumbent's.
        seed: the study's first.
    """
    worse = 0
    for record in reversed(records):
        if record.parent != commit or record.reason is Reason.BASELINE:
            continue
        was_made = any(each.seed == seed for each in record.incumbent_replicates)
        difference = record.decision.difference_bpb
        if was_made or (difference is not None and difference < 0):
            return False
        worse += difference is not None
        if worse >= CHECK_AFTER:
            return True
    return False


def _add(
    bank: dict[int, Replicate], replicates: Iterable[Replicate], place: str, noise: float
) -> None:
    for each in replicates:
        if each.place != place or each.val_bpb is None:
            continue
        earlier = bank.get(each.seed)
        if _differ(earlier, each, CHANGED_NOISES * noise):
            bank.clear()
        bank[each.seed] = each


def _is_own(record: TrialRecord, commit: str) -> bool:
    return record.commit == commit and (record.parent != commit or record.reason is Reason.BASELINE)


def _differ(one: Replicate | None, other: Replicate, most_bpb: float) -> bool:
    if one is None or one.val_bpb is None or other.val_bpb is None:
        return False
    return abs(one.val_bpb - other.val_bpb) > most_bpb
