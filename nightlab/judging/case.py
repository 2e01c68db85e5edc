"""What the decision on a trial rests on: its pairs, and what the study has learnt before."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from nightlab.records import Pair, Reason, Replicate, TrialRecord

WEAK_PAIRS = 4
"""Degrees of freedom that the preset's own noise counts as, beside what pairs have shown."""
WILD = 3.0
"""A trial's pairs count as no further apart than so many standard deviations of a pair, by the
median trial: one candidate whose trainings diverge is not to set the noise of all others."""
_MEDIAN_SQUARE = 0.455
"""Median of the square of a standard normal number: of chi-squared with one degree of freedom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How far differences of pairs of the same two codes lie apart."""

    pair_bpb: float
    """Standard deviation of one pair's difference."""
    degrees_of_freedom: int

    def including(self, gains_bpb: Sequence[float]) -> "Noise":
        """With what a candidate's own pairs show, of which there is one at least."""
        squares, freedom = _squares(gains_bpb)
        degrees = self.degrees_of_freedom + freedom
        squares += self.degrees_of_freedom * self.pair_bpb**2
        return Noise(pair_bpb=math.sqrt(squares / degrees), degrees_of_freedom=degrees)


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What a study has learnt from its earlier trials."""

    gains_bpb: tuple[tuple[float, ...], ...] = ()
    """Of each judged trial, the gains of its pairs."""
    pruned: int = 0
    """How many trials were stopped before they had a pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that the decision on a trial rests on."""

    candidate: Sequence[Replicate]
    bank: Mapping[int, Replicate]
    """The incumbent's trainings by seed, as they count here."""
    seeds: Sequence[int]
    """The study's, in the order in which every code is trained on them."""
    learnt: Learnt
    preset_noise_bpb: float
    """Standard deviation of a pair's difference that is usual with these sizes."""
    keep_probability: float
    saves_code: bool = False
    """Whether the candidate is clearly less code than its parent."""
    lost_bpb: float = 0.0
    """What simpler code has lost since the last improvement, as measured; at least 0."""
    lanes: int = 1
    """How many trainings can run side by side."""


def pairs_of(candidate: Iterable[Replicate], bank: Mapping[int, Replicate]) -> tuple[Pair, ...]:
    """The pairs of a candidate's trainings with the incumbent's of the same seeds."""
    pairs = []
    for each in candidate:
        twin = bank.get(each.seed)
        if each.val_bpb is None or twin is None or twin.val_bpb is None:
            continue
        if each.place == twin.place:
            pairs.append(
                Pair(seed=each.seed, candidate_bpb=each.val_bpb, incumbent_bpb=twin.val_bpb)
            )
    return tuple(pairs)


def learnt_from(records: Iterable[TrialRecord]) -> Learnt:
    """Gather what a study's finished trials say of its ideas and its noise."""
    gains, pruned = [], 0
    for record in records:
        decision = record.decision
        if decision.pairs:
            gains.append(tuple(-pair.difference_bpb for pair in decision.pairs))
        elif decision.reason is Reason.PRUNED:
            pruned += 1
    return Learnt(gains_bpb=tuple(gains), pruned=pruned)


def noise_of(gains_bpb: Iterable[Sequence[float]], preset_noise_bpb: float) -> Noise:
    """Pool how far the pairs of each trial lie apart, with what is usual for the preset.

    Args:
        gains_bpb: of each trial, the gains of its pairs.
        preset_noise_bpb: counts as ``WEAK_PAIRS`` degrees of freedom.
    """
    spreads = [_squares(gains) for gains in gains_bpb if len(gains) > 1]
    degrees = WEAK_PAIRS + sum(freedom for _, freedom in spreads)
    usual = [each / freedom / _MEDIAN_SQUARE for each, freedom in spreads]
    most = WILD**2 * median([preset_noise_bpb**2] * WEAK_PAIRS + usual)
    squares = WEAK_PAIRS * preset_noise_bpb**2
    squares += math.fsum(min(each, freedom * most) for each, freedom in spreads)
    return Noise(pair_bpb=math.sqrt(squares / degrees), degrees_of_freedom=degrees)


def _squares(gains: Sequence[float]) -> tuple[float, int]:
    """Sum of squares around the mean, and its degrees of freedom."""
    middle = fmean(gains)
    return math.fsum((gain - middle) ** 2 for gain in gains), len(gains) - 1
