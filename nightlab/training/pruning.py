"""Pruning: stop a training that is behind and can hardly get where it would have to.

What is compared. A candidate's training and its *twin*, the incumbent's with the same seed. The
host hands out the same text in the same order for the same seed, so what batches do to a loss
falls out of the gap between the two curves; between different seeds it is several times as large
as what edits do (docs/decisions/0010-pruning.md has the numbers).

What is foreseen. At each look the gap (mean over the last ``WINDOW_BINS`` bins, candidate less
twin) is put through a straight line that was fitted to the study's own finished trainings: their
gaps at that look, and how far from their twins they ended. Around the line stands Student's
predictive distribution, and with it the chance that the candidate would end where the judge lets
it go on. Ends further than ``FAR_BEHIND`` behind the twin, or ``FAR_AHEAD`` better than needed,
count as just that, and gaps likewise: how much worse is not asked, and would drown the spread.

When it stops. The candidate has not shown half of the gain that it needs, its chance is at most
``MOST_CHANCE``, and with it the chances of all that was stopped in this study come to at most
``FALSE_STOP_RATE`` a trial. A sum of chances is the expected number of times that they come true
(stochastic curtailment by predictive power: Lan, Simon and Halperin, "Stochastically curtailed
tests in long-term clinical trials", Sequential Analysis 1982), so where the fitted model holds, at
most that share of a study's trials is expected to be stopped that would have gone on. One trial
in ``SPARED_ONE_IN`` runs to its end whatever was foreseen, so that the line goes on being
fitted to what would be stopped too, and errors show.

When it is off. Until ``LEAST_PAIRS`` trainings are finished; where more than ``MOST_GOOD`` of them
went on; for edits of the schedule
(nightlab/source/schedule.py); and for models with more parameters than the incumbent's, which learn
more slowly at first and may overtake it late.

A candidate prints its curve itself. Low lies only keep it running, and the score is the
engine's; one that reports no finite losses, or too rarely, is not pruned.
"""

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from scipy.special import stdtr

from nightlab.judging.bank import bank_of
from nightlab.records import Forecast, Reason, Replicate, TrialRecord
from nightlab.records.counting import counted
from nightlab.training.curve import PROFILE_BINS, Curve

LOOKS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16)
"""Bins of the budget that are gone at each look, of ``PROFILE_BINS``."""
WINDOW_BINS = 2
FALSE_STOP_RATE = 0.02
"""Share of a study's trials that may be expected to be stopped though they would have gone on."""
MOST_CHANCE = 0.15
LEAST_PAIRS = 6
"""Finished trainings with a twin, each of another code, below which nothing is stopped."""
MOST_GOOD = 0.25
"""Share of finished trainings that went on, above which nothing is stopped: where many edits are
good, the line fits worst and there is least to save."""
SPARED_ONE_IN = 20
FAR_BEHIND = 0.5
"""In standard deviations of one training: ends further behind a twin are all alike."""
FAR_BEHIND_GAP = 1.0
"""Likewise for gaps on the way."""
FAR_AHEAD = 2.0
"""Likewise for ends that are so much better than the candidate needs."""
FAR_AHEAD_GAP = 3.0
LEAST_SPREAD = 0.25
"""The least spread around the line, likewise: a few ends may lie on it by luck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A finished training and its twin: how far apart they were on the way, and at the end."""

    gaps_bpb: tuple[float | None, ...]
    """By bin, candidate less twin."""
    final_bpb: float
    """Difference of their scores, likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What a gap says of the final difference to the twin."""

    expected_bpb: float
    spread_bpb: float
    """Of the predictive distribution."""
    degrees_of_freedom: int

    def chance_below(self, difference_bpb: float) -> float:
        """Probability that the final difference is at most this."""
        distance = (difference_bpb - self.expected_bpb) / self.spread_bpb
        return float(stdtr(self.degrees_of_freedom, distance))


def can_be_followed(twin: Replicate) -> bool:
    """Whether a training of the incumbent has all that another is set beside."""
    return _is_whole(twin)


def finished_pairs(records: Sequence[TrialRecord]) -> tuple[Pair, ...]:
    """The first trainings of the study's trials that ran to their end beside a twin."""
    pairs = []
    for at, record in enumerate(records):
        if record.reason is Reason.BASELINE or not record.replicates:
            continue
        first = record.replicates[0]
        bank = bank_of(records[: at + 1], record.parent, first.place, (), math.inf)
        twin = bank.get(first.seed)
        if twin is None or not _is_whole(first) or not _is_whole(twin):
            continue
        if not _has_grown(first.training.num_params, twin.training.num_params):
            pairs.append(pair_of(first, twin))
    return tuple(pairs)


def gaps_bpb(profile: Sequence[float | None], twin: Replicate) -> tuple[float | None, ...]:
    """Mean loss less the twin's by bin, from nats per token to bits per byte."""
    scale = _bits_per_byte_of_a_nat(twin)
    return tuple(
        None if own is None or other is None else scale * (own - other)
        for own, other in zip(profile, twin.training.loss_profile, strict=False)
    )


def gap_at(gaps: Sequence[float | None], look: int) -> float | None:
    """Mean gap over the last bins before a look; None where one of them is missing."""
    known = [gap for gap in gaps[look - WINDOW_BINS : look] if gap is not None]
    return fmean(known) if len(known) == WINDOW_BINS else None


def chances_taken(records: Iterable[TrialRecord]) -> float:
    """Sum of the chances that the trainings stopped so far would have gone on."""
    return math.fsum(
        each.training.forecast.chance
        for record in records
        for each in record.replicates
        if each.failure is Reason.PRUNED and each.training.forecast is not None
    )


def foresee(
    pairs: Sequence[Pair], look: int, gap_bpb: float, *, sigma_bpb: float, needed_bpb: float
) -> Prospect | None:
    """Foresee the final difference to the twin from the gap at a look.

    Args:
        pairs: finished trainings of the study.
        look: bins of the budget that are gone.
        gap_bpb: of the training under way at that look.
        sigma_bpb: standard deviation between scores of identical code.
        needed_bpb: final difference that would let the candidate go on.

    Returns:
        None while too few trainings are finished, or where their gaps are all alike.
    """
    known = [
        (gap, pair.final_bpb) for pair in pairs if (gap := gap_at(pair.gaps_bpb, look)) is not None
    ]
    if len(known) < LEAST_PAIRS:
        return None
    gaps = [
        _within(gap, -FAR_AHEAD_GAP * sigma_bpb, FAR_BEHIND_GAP * sigma_bpb) for gap, _ in known
    ]
    best = needed_bpb - FAR_AHEAD * sigma_bpb
    ends = [_within(end, best, FAR_BEHIND * sigma_bpb) for _, end in known]
    middle, level = fmean(gaps), fmean(ends)
    squares = math.fsum((gap - middle) ** 2 for gap in gaps)
    if squares == 0:
        return None
    products = ((gap - middle) * (end - level) for gap, end in zip(gaps, ends, strict=True))
    slope = math.fsum(products) / squares
    misses = (end - level - slope * (gap - middle) for gap, end in zip(gaps, ends, strict=True))
    freedom = len(known) - 2
    spread = math.sqrt(math.fsum(miss**2 for miss in misses) / freedom)
    away = _within(gap_bpb, -FAR_AHEAD_GAP * sigma_bpb, FAR_BEHIND_GAP * sigma_bpb) - middle
    return Prospect(
        expected_bpb=level + slope * away,
        spread_bpb=max(spread, LEAST_SPREAD * sigma_bpb)
        * math.sqrt(1 + 1 / len(known) + away**2 / squares),
        degrees_of_freedom=freedom,
    )


class Watch:
    """Follows one training beside its twin, and says when to stop it.

    Args:
        twin: the incumbent's training with the same seed.
        pairs: finished trainings of the study.
        sigma_bpb: standard deviation between scores of identical code.
        needed_bpb: the score below which the judge would let the candidate go on.
        most_chance: what is left of the study's allowance for false stops.
        is_spared: whether it runs on, whatever is foreseen.
    """

    def __init__(
        self,
        twin: Replicate,
        pairs: Sequence[Pair],
        *,
        sigma_bpb: float,
        needed_bpb: float,
        most_chance: float,
        is_spared: bool = False,
    ) -> None:
        self._twin = twin
        self._pairs = pairs
        self._sigma_bpb = sigma_bpb
        self._needed_bpb = needed_bpb
        self._most_chance = min(most_chance, MOST_CHANCE)
        self._is_spared = is_spared
        self._looked = 0
        self.forecast: Forecast | None = None
        """What was foreseen at the look that stopped the training, or would have."""

    def anew(self) -> "Watch":
        """The same before it has seen anything: of a training that is tried again."""
        other = copy.copy(self)
        other._looked, other.forecast = 0, None
        return other

    def __call__(self, curve: Curve, num_params: int | None) -> str | None:
        """Say in one sentence why to stop now; None to go on."""
        gone = math.floor(curve.share * PROFILE_BINS)
        look = max((each for each in LOOKS if each <= gone), default=0)
        if look <= self._looked or self.forecast is not None:
            return None
        self._looked = look
        if _has_grown(num_params, self._twin.training.num_params):
            return None
        self.forecast = self._look(curve.profile(), look)
        if self.forecast is None or self._is_spared:
            return None
        return forecast_sentence(self.forecast)

    def _look(self, profile: Sequence[float | None], look: int) -> Forecast | None:
        gap, standing = gap_at(gaps_bpb(profile, self._twin), look), _score(self._twin)
        needed = self._needed_bpb - standing
        good = sum(pair.final_bpb <= needed for pair in self._pairs)
        if gap is None or gap <= needed / 2 or good > MOST_GOOD * len(self._pairs):
            return None
        prospect = foresee(self._pairs, look, gap, sigma_bpb=self._sigma_bpb, needed_bpb=needed)
        if prospect is None or (chance := prospect.chance_below(needed)) > self._most_chance:
            return None
        return Forecast(
            share=look / PROFILE_BINS,
            gap_bpb=gap,
            expected_bpb=standing + prospect.expected_bpb,
            needed_bpb=self._needed_bpb,
            chance=chance,
            pairs=len(self._pairs),
            is_spared=self._is_spared,
        )


def forecast_sentence(forecast: Forecast) -> str:
    """What was foreseen, and from what."""
    side = "behind" if forecast.gap_bpb >= 0 else "ahead of"
    return (
        f"Stopped after {forecast.share:.0%} of the budget, {abs(forecast.gap_bpb):.4f} bpb {side} "
        f"the incumbent's training with the same seed: it needed {forecast.needed_bpb:.4f} bpb to "
        f"go on, and by {counted(forecast.pairs, 'finished training')} of this study the chance of "
        f"that was {forecast.chance:.1%}; about {forecast.expected_bpb:.4f} or worse was to be "
        "expected."
    )


def pair_of(candidate: Replicate, twin: Replicate) -> Pair:
    """Set a finished training beside its twin; both were scored."""
    return Pair(
        gaps_bpb=gaps_bpb(candidate.training.loss_profile, twin),
        final_bpb=_score(candidate) - _score(twin),
    )


def _is_whole(replicate: Replicate) -> bool:
    return (
        replicate.failure is None
        and replicate.val_bpb is not None
        and len(replicate.training.loss_profile) == PROFILE_BINS
        and replicate.evaluation is not None
        and bool(replicate.evaluation.num_tokens)
        and bool(replicate.evaluation.num_bytes)
    )


def _score(replicate: Replicate) -> float:
    if replicate.val_bpb is None:
        raise ValueError("a training without a score is no twin")
    return replicate.val_bpb


def _bits_per_byte_of_a_nat(replicate: Replicate) -> float:
    evaluation = replicate.evaluation
    if evaluation is None or not evaluation.num_tokens or not evaluation.num_bytes:
        raise ValueError("a training whose evaluation counted no bytes is no twin")
    return evaluation.num_tokens / evaluation.num_bytes / math.log(2)


def _has_grown(num_params: int | None, others: int | None) -> bool:
    """Whether a model is larger than its twin; one that does not tell may be."""
    return num_params is None or others is None or num_params > others


def _within(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
