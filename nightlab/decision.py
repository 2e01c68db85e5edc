"""Keep or discard: pure functions of evaluations and noise.

A trial is judged against the incumbent by the difference of mean scores. The noise of
one replicate, sigma, is the pooled standard deviation over all code of the study that
was trained with more than one seed (the baseline always is). With few replicates sigma
itself is uncertain, so the threshold uses Student's t rather than the normal quantile:

    threshold = t(CONFIDENCE, degrees of freedom) * sigma * sqrt(1/n_candidate + 1/n_incumbent)

This is the one-sided two-sample test with a common variance (Student, "The probable
error of a mean", Biometrika 1908). It bounds the false keeps of a single trial; a
sequential rule that confirms on fresh seeds takes its place later.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from nightlab.records import Decision, Reason, Replicate, TrialRecord, Verdict

BASELINE_REPLICATES = 3
CONFIDENCE = 0.95

# One-sided 95 % quantiles of Student's t, by degrees of freedom; past the table the
# next lower row is used, which errs towards keeping less. (Any table of the t
# distribution; tests compare it with scipy.)
_T_95 = {
    1: 6.314,
    2: 2.920,
    3: 2.353,
    4: 2.132,
    5: 2.015,
    6: 1.943,
    8: 1.860,
    10: 1.812,
    15: 1.753,
    20: 1.725,
    30: 1.697,
    60: 1.671,
    120: 1.658,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The noise floor: how far scores of identical code lie apart."""

    sigma_bpb: float
    degrees_of_freedom: int


def is_better(score: float, other: float) -> bool:
    """Say whether ``score`` beats ``other``. Bits per byte: lower is better."""
    return score < other


def mean_bpb(replicates: Iterable[Replicate]) -> float | None:
    """Mean score of the replicates that have one, or None."""
    scores = [r.val_bpb for r in replicates if r.val_bpb is not None]
    return fmean(scores) if scores else None


def measure_noise(records: Iterable[TrialRecord]) -> Noise | None:
    """Pool the variance over every code that was trained with several seeds.

    Returns None while no code has two scored replicates.
    """
    squares, degrees = 0.0, 0
    for record in records:
        scores = [r.val_bpb for r in record.replicates if r.val_bpb is not None]
        if len(scores) > 1:
            squares += variance(scores) * (len(scores) - 1)
            degrees += len(scores) - 1
    return (
        Noise(sigma_bpb=math.sqrt(squares / degrees), degrees_of_freedom=degrees)
        if degrees
        else None
    )


def keep_threshold_bpb(noise: Noise, candidate_count: int, incumbent_count: int) -> float:
    """How much better a candidate must be before it is kept, in bits per byte."""
    row = max(degrees for degrees in _T_95 if degrees <= noise.degrees_of_freedom)
    spread = math.sqrt(1 / candidate_count + 1 / incumbent_count)
    return _T_95[row] * noise.sigma_bpb * spread


def decide_baseline(replicates: Sequence[Replicate]) -> Decision:
    """The baseline is kept when every replicate was scored."""
    failed = first_failure(replicates)
    if failed is not None:
        return failed
    score = mean_bpb(replicates)
    scores = ", ".join(f"{r.val_bpb:.4f}" for r in replicates)
    return Decision(
        verdict=Verdict.KEEP,
        reason=Reason.BASELINE,
        sentence=f"Baseline {score:.4f} bpb, the mean of {len(replicates)} seeds ({scores}).",
    )


def decide(
    replicates: Sequence[Replicate], incumbent: Sequence[Replicate], noise: Noise
) -> Decision:
    """Judge a candidate against the incumbent.

    Args:
        replicates: all replicates of the candidate.
        incumbent: the incumbent's, at least one of them scored.
        noise: the study's noise floor.
    """
    failed = first_failure(replicates)
    if failed is not None:
        return failed
    scored, standing = mean_bpb(replicates), mean_bpb(incumbent)
    if scored is None or standing is None:
        raise ValueError("a decision needs a score of the candidate and one of the incumbent")
    count = sum(r.val_bpb is not None for r in replicates)
    incumbent_count = sum(r.val_bpb is not None for r in incumbent)
    threshold = keep_threshold_bpb(noise, count, incumbent_count)
    difference = scored - standing
    if is_better(scored, standing - threshold):
        verdict, reason = Verdict.KEEP, Reason.IMPROVED
        said = "better by more than"
    elif is_better(standing + threshold, scored):
        verdict, reason = Verdict.DISCARD, Reason.REGRESSION
        said = "worse by more than"
    else:
        verdict, reason = Verdict.DISCARD, Reason.WITHIN_NOISE
        said = "within"
    return Decision(
        verdict=verdict,
        reason=reason,
        sentence=(
            f"{scored:.4f} bpb against the incumbent's {standing:.4f} ({difference:+.4f}): {said} "
            f"the noise of ±{threshold:.4f} (sigma {noise.sigma_bpb:.4f} from "
            f"{noise.degrees_of_freedom} degrees of freedom, one-sided {CONFIDENCE:.0%})."
        ),
        difference_bpb=difference,
        threshold_bpb=threshold,
        noise_bpb=noise.sigma_bpb,
    )


def first_failure(replicates: Sequence[Replicate]) -> Decision | None:
    """The crash that a failed replicate, or an ignored seed, makes of its trial; or None."""
    for replicate in replicates:
        reason = replicate.failure
        if reason is None:
            continue
        evaluation = replicate.evaluation
        message = replicate.training.message
        if replicate.training.failure is None and evaluation is not None:
            message = evaluation.message
        return Decision(verdict=Verdict.CRASH, reason=reason, sentence=message)
    if _ignores_seed(replicates):
        return Decision(
            verdict=Verdict.CRASH,
            reason=Reason.CONTRACT,
            sentence="Trainings with different seeds gave identical losses, so the seed is "
            "ignored: the trainer must draw its randomness from run.seed.",
        )
    return None


def _ignores_seed(replicates: Sequence[Replicate]) -> bool:
    seen: dict[tuple[float, float], int] = {}
    for replicate in replicates:
        loss, score = replicate.training.final_loss, replicate.val_bpb
        if loss is None or score is None:
            continue
        if seen.setdefault((loss, score), replicate.seed) != replicate.seed:
            return True
    return False
