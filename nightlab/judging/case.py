"""What the decision on a trial rests on, and how its scores compare."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from nightlab.judging.scores import (
    Noise,
    counted,
    counted_scores,
    no_finer_than_audits,
    pool_noise,
    scores_of,
)
from nightlab.judging.sequential_test import Comparison
from nightlab.records import Replicate


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


def turns(case: Case) -> list[tuple[Replicate, Replicate]]:
    """The candidate's trainings that count, each with the incumbent's that followed it.

    The two of one turn share a spell of the machine, so that what it does to scores does not enter
    their difference. Where other work kept the incumbent's from counting, there is no turn.
    """
    own = counted(case.candidate)
    ends = [*(each.turn for each in own[1:]), math.inf]
    seeds = {each.seed for each in case.incumbent_anew}
    anew = [each for each in counted(case.incumbent) if each.seed in seeds]
    found = []
    for each, end in zip(own, ends, strict=False):
        found += [(each, other) for other in anew if each.turn < other.turn < end][:1]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnComparison:
    """The codes compared on their turns alone."""

    by_noise: Comparison
    """With all that is known of the noise: sharp at once, and blunt on a machine that wanders,
    whose spells are in that noise."""
    by_differences: Comparison
    """With the spread of the differences alone, where the spells are not in it."""


def compare_turns(case: Case) -> TurnComparison | None:
    """Compare the codes on their turns alone; None where there are fewer than two."""
    pairs = turns(case)
    if len(pairs) < 2:
        return None
    own, others = scores_of(each for each, _ in pairs), scores_of(other for _, other in pairs)
    # Which of the incumbent's count is told by all of them, and not once more by these few.
    by_noise = compare(own, others, noise_of(case))
    apart = stdev(other - each for each, other in zip(own, others, strict=True))
    # Of one training, as the variance of a difference is that of two.
    quiet = Noise(sigma_bpb=apart / math.sqrt(2), degrees_of_freedom=len(pairs) - 1)
    quiet = no_finer_than_audits(quiet, case.candidate, case.incumbent)
    return TurnComparison(by_noise=by_noise, by_differences=compare(own, others, quiet))


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
