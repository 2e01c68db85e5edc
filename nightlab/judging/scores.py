"""The scores of a code: which of them count, their mean, and how far noise spreads them."""

import math
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from nightlab.judging.contention import mark_contended
from nightlab.records import Reason, Replicate, TrialRecord, Verdict

CONTENDED_LIMIT = 3
"""Replicates of a code under contention that are replaced by others in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The noise floor: how far scores of identical code lie apart."""

    sigma_bpb: float
    degrees_of_freedom: int


def is_better(score: float, other: float) -> bool:
    """Say whether ``score`` beats ``other``. Bits per byte: lower is better."""
    return score < other


def counted(replicates: Sequence[Replicate]) -> list[Replicate]:
    """Return those whose scores count.

    Outdated ones never do. Contended ones do only where they are too many to be replaced, and more
    than the others: then the machine is always this noisy.
    """
    scored = [each for each in replicates if not each.outdated and each.val_bpb is not None]
    contended = sum(each.contended for each in scored)
    if not contended or contended > max(CONTENDED_LIMIT, len(scored) - contended):
        return scored
    return [each for each in scored if not each.contended]


def counted_scores(replicates: Sequence[Replicate]) -> list[float]:
    """Return the scores that count."""
    return scores_of(counted(replicates))


def scores_of(replicates: Iterable[Replicate]) -> list[float]:
    """Return the scores of those that have one, whether they count or not."""
    return [each.val_bpb for each in replicates if each.val_bpb is not None]


def pairs_of(
    replicates: Sequence[Replicate], others: Sequence[Replicate]
) -> list[tuple[Replicate, Replicate]]:
    """Two codes' trainings that have the same seed, where both count."""
    found = {each.seed: each for each in counted(others)}
    return [(each, found[each.seed]) for each in counted(replicates) if each.seed in found]


def mean_of(replicates: Iterable[Replicate]) -> float | None:
    """Mean of the scores there are, of replicates that were found to count; or None."""
    scores = scores_of(replicates)
    return fmean(scores) if scores else None


def mean_bpb(replicates: Iterable[Replicate]) -> float | None:
    """Mean score of the replicates that count, or None."""
    return mean_of(counted(tuple(replicates)))


def incumbent_evidence(records: Iterable[TrialRecord], commit: str) -> tuple[Replicate, ...]:
    """All trainings of a commit: its own trial's, and those that later trials added.

    Those under contention are marked by all of them, whatever their records say: of three
    trainings another may stand out than of two.
    """
    found: list[Replicate] = []
    counts_tokens = False
    for record in records:
        counts_tokens = counts_tokens or record.budget_tokens is not None
        if (record.commit == commit and record.parent != commit) or _is_baseline(record, commit):
            found += record.replicates
        if record.parent == commit:
            found += record.incumbent_replicates
    return mark_contended(found, counts_tokens=counts_tokens)


def evidence_bpb(records: Iterable[TrialRecord], commit: str) -> float | None:
    """Mean score of a code by all its trainings, later ones too, or None."""
    return mean_bpb(incumbent_evidence(records, commit))


def find_baseline(records: Iterable[TrialRecord]) -> TrialRecord | None:
    """The record of the study's baseline, or None while there is none."""
    return next((record for record in records if record.reason is Reason.BASELINE), None)


def standing_record(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """The record of the incumbent: the keep that no other keep was built on.

    Mostly the last one; but a trial may be kept after one with a higher number was.
    """
    kept = [record for record in records if record.verdict is Verdict.KEEP]
    built_on = {record.parent for record in kept if record.parent != record.commit}
    standing = [record for record in kept if record.commit not in built_on]
    return standing[-1] if standing else None


def measure_noise(records: Iterable[TrialRecord], without: Container[str] = ()) -> Noise | None:
    """Pool the variance of trainings that nothing selected: the baseline's, and incumbents'.

    A candidate is trained again because it scored well, and its later scores fall back; its
    scores lie further apart than noise, so they say nothing here.

    Args:
        records: the study's.
        without: commits to leave out.

    Returns:
        None while no code has two such scores.
    """
    groups = unselected_trainings(records, without)
    return pool_noise(map(counted_scores, groups), None)


def unselected_trainings(
    records: Iterable[TrialRecord], without: Container[str] = ()
) -> list[tuple[Replicate, ...]]:
    """Trainings that no good score selected, by code: the baseline's, and later ones of incumbents.

    Args:
        records: the study's.
        without: commits to leave out.
    """
    groups: dict[str, list[Replicate]] = {}
    counts_tokens = False
    for record in records:
        counts_tokens = counts_tokens or record.budget_tokens is not None
        if record.reason is Reason.BASELINE:
            groups.setdefault(record.commit, []).extend(record.replicates)
        groups.setdefault(record.parent, []).extend(record.incumbent_replicates)
    return [
        mark_contended(group, counts_tokens=counts_tokens)
        for commit, group in groups.items()
        if commit not in without
    ]


def pool_noise(groups: Iterable[Sequence[float]], other: Noise | None) -> Noise | None:
    """Pool the variance within groups of scores with a noise that is known; None without any."""
    degrees = other.degrees_of_freedom if other is not None else 0
    squares = other.sigma_bpb**2 * degrees if other is not None else 0.0
    for scores in groups:
        if len(scores) > 1:
            mean = fmean(scores)
            squares += math.fsum((score - mean) ** 2 for score in scores)
            degrees += len(scores) - 1
    if not degrees:
        return None
    return Noise(sigma_bpb=math.sqrt(squares / degrees), degrees_of_freedom=degrees)


def no_finer_than_audits(
    noise: Noise, candidate: Sequence[Replicate], incumbent: Sequence[Replicate]
) -> Noise:
    """The noise, or what the audits of two codes' scores leave uncertain if that is more.

    Scores vary by training and by the audit's draw of positions together; a few that lie close
    by luck are still no closer than the audits can tell. Each code's own error counts by how few
    scores it has, so that many exact ones of the incumbent hide no inexact one of the candidate.
    """
    total, weights = 0.0, 0.0
    for replicates in (candidate, incumbent):
        scored = counted(replicates)
        errors = [
            each.evaluation.standard_error or 0.0 for each in scored if each.evaluation is not None
        ]
        if errors:
            weights += 1 / len(errors)
            total += fmean(error**2 for error in errors) / len(errors)
    least = math.sqrt(total / weights) if weights else 0.0
    return Noise(sigma_bpb=max(noise.sigma_bpb, least), degrees_of_freedom=noise.degrees_of_freedom)


def reference_bpb(records: Sequence[TrialRecord], commit: str) -> float | None:
    """Mean score of the code that a commit was simplified from: the last that was no ``simpler``.

    Of the commit itself where it is none; None where that code was never scored.
    """
    kept = {record.commit: record for record in records if record.verdict is Verdict.KEEP}
    while commit in kept and kept[commit].reason is Reason.SIMPLER:
        commit = kept[commit].parent
    return evidence_bpb(records, commit)


def _is_baseline(record: TrialRecord, commit: str) -> bool:
    return record.commit == commit and record.reason is Reason.BASELINE
