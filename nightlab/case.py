"""What the decision on a trial rests on, and how its scores compare."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from nightlab.records import Replicate
from nightlab.scores import Noise, counted, counted_scores, no_finer_than_audits, pool_noise
from nightlab.sequential_test import Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that the decision on a trial rests on."""

    candidate: Sequence[Replicate]
    incumbent: Sequence[Replicate]
    incumbent_anew: Sequence[Replicate]
    """Those of them that were trained for this very trial."""
    reference_bpb: float
    """Mean score of the code that was last kept as an improvement, or of the baseline: of the
    incumbent itself, unless shorter code was kept since."""
    other_noise: Noise | None
    """Of the study's other trainings that nothing selected."""
    earlier_trials: int
    """Trials of the study that were judged before."""
    earlier_against: int
    """Those of them that were judged against the present incumbent."""
    earlier_since_trained: int
    """Those of these again that came after the incumbent's last training."""
    saves_code: bool
    """Whether the candidate has fewer lines of code than its parent."""


def beside(case: Case) -> list[Replicate]:
    """The incumbent's trainings next to the candidate's: the first one after each, that counts.

    Those of one turn of either code share a spell of the machine, so that what it does to scores
    does not enter their difference.
    """
    own = counted(case.candidate)
    ends = [*(each.turn for each in own[1:]), math.inf]
    seeds = {each.seed for each in case.incumbent_anew}
    anew = [each for each in counted(case.incumbent) if each.seed in seeds]
    found = []
    for each, end in zip(own, ends, strict=True):
        found += [other for other in anew if each.turn < other.turn < end][:1]
    return found


def compare(candidate: Sequence[float], incumbent: Sequence[float], noise: Noise) -> Comparison:
    """Set the scores of two codes against each other; both have some."""
    return Comparison(
        gain=fmean(incumbent) - fmean(candidate),
        sigma=noise.sigma_bpb,
        degrees_of_freedom=noise.degrees_of_freedom,
        candidate_count=len(candidate),
        incumbent_count=len(incumbent),
    )


def noise_of(case: Case) -> Noise:
    """The noise of one score: from all replicates, and no less than their audits' errors.

    Raises:
        ValueError: no code of the study was scored twice.
    """
    groups = [counted_scores(case.candidate), counted_scores(case.incumbent)]
    noise = pool_noise(groups, case.other_noise)
    if noise is None:
        raise ValueError("a decision needs some code of the study to be scored twice")
    return no_finer_than_audits(noise, case.candidate, case.incumbent)
