"""The scores of a study: baseline, incumbent, and how far noise spreads them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from nightlab.records import Reason, Replicate, TrialRecord, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedNoise:
    """How far scores of one code with different seeds lie apart."""

    sigma_bpb: float
    degrees_of_freedom: int


def is_better(score: float, other: float) -> bool:
    """Say whether ``score`` beats ``other``. Bits per byte: lower is better."""
    return score < other


def scores_of(replicates: Iterable[Replicate]) -> list[float]:
    """Return the scores of those that have one."""
    return [each.val_bpb for each in replicates if each.val_bpb is not None]


def mean_bpb(replicates: Iterable[Replicate]) -> float | None:
    """Mean of the scores there are, or None."""
    scores = scores_of(replicates)
    return fmean(scores) if scores else None


def level_bpb(
    records: Iterable[TrialRecord], parent: str, difference_bpb: float | None
) -> float | None:
    """A trial's ``val_bpb``: its incumbent's, and the mean difference of its pairs.

    So a study's numbers stand side by side: what is lower was found better, in pairs, while
    a single training's score has its seed's luck in it.

    Args:
        records: the study's.
        parent: the incumbent's commit when the trial began.
        difference_bpb: mean of its pairs' differences.

    Returns:
        None where there is no pair, or no incumbent with a score.
    """
    if difference_bpb is None:
        return None
    standing = next((each for each in records if _made(each, parent)), None)
    if standing is None or standing.val_bpb is None:
        return None
    return standing.val_bpb + difference_bpb


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


def lost_since_improvement_bpb(records: Sequence[TrialRecord], commit: str) -> float:
    """What code kept as simpler has lost since the last improvement, as measured; at least 0."""
    kept = {record.commit: record for record in records if record.verdict is Verdict.KEEP}
    lost = 0.0
    while commit in kept and kept[commit].reason is Reason.SIMPLER:
        lost += kept[commit].decision.difference_bpb or 0.0
        commit = kept[commit].parent
    return max(0.0, lost)


def expected_false_keeps(records: Iterable[TrialRecord]) -> float:
    """How many of a study's improvements are to be expected to be none."""
    return math.fsum(
        1 - record.decision.probability_better
        for record in records
        if record.reason is Reason.IMPROVED and record.decision.probability_better is not None
    )


def seed_noise(records: Iterable[TrialRecord]) -> SeedNoise | None:
    """Pool the variance between seeds within each incumbent that later trials trained.

    Candidates are left out: one is trained again because it scored well, and falls back.

    Returns:
        None while no code has two such scores.
    """
    groups: dict[str, list[float]] = {}
    for record in records:
        if record.reason is Reason.BASELINE:
            groups.setdefault(record.commit, []).extend(scores_of(record.replicates))
        groups.setdefault(record.parent, []).extend(scores_of(record.incumbent_replicates))
    return pool_noise(groups.values())


def pool_noise(groups: Iterable[Sequence[float]]) -> SeedNoise | None:
    """Pool the variance within groups of scores; None where no group has two."""
    squares, degrees = 0.0, 0
    for scores in groups:
        if len(scores) > 1:
            middle = fmean(scores)
            squares += math.fsum((score - middle) ** 2 for score in scores)
            degrees += len(scores) - 1
    if not degrees:
        return None
    return SeedNoise(sigma_bpb=math.sqrt(squares / degrees), degrees_of_freedom=degrees)


def _made(record: TrialRecord, commit: str) -> bool:
    """Whether a record is of the trial that a commit came of."""
    return record.verdict is Verdict.KEEP and record.commit == commit
