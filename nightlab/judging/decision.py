"""Keep, discard, or train once more: pure functions of what was measured.

A trial is judged after every training, by the rule that docs/decisions-explained.md shows in
pictures:

0. Where too many trials in a row were judged against the incumbent without it being trained beside
   them, it is trained first: the machine may have changed since, or its trainings been lucky.
1. One training of the candidate screens it: what gains too little is discarded, once the incumbent
   is known well enough to say so.
2. What survives is trained again with fresh seeds, in turns with the incumbent, until it falls
   behind, or the evidence for it suffices, or ``REPLICATE_LIMIT`` is reached. An improvement
   needs evidence from those turns alone too: on earlier trainings of the incumbent a machine
   that has changed since would pass for a gain.
3. The evidence (``sequential_test``) that a keep needs grows with the number of trials, so
   that the false keeps of a whole study stay bounded.
4. Code that is no worse within noise and shorter is kept as ``simpler``, as long as all that was
   kept so since the last improvement has not lost more than noise together.
"""

import math
from collections.abc import Sequence
from enum import StrEnum
from statistics import fmean

from nightlab.judging import verdict_sentence
from nightlab.judging.case import Case, TurnComparison, compare, compare_turns, noise_of, turns
from nightlab.judging.crashes import first_crash
from nightlab.judging.scores import counted, counted_scores, mean_bpb
from nightlab.judging.screening import (
    DOUBT,
    LEAST_GAIN,
    is_crowded_out,
    is_in_doubt,
    is_settled,
    is_stale,
    is_thin,
    unknown_in_sigmas,
)
from nightlab.judging.sequential_test import Comparison
from nightlab.records import Decision, Reason, Replicate, Verdict

BASELINE_REPLICATES = 3
REPLICATE_LIMIT = 16
"""Scored replicates of a candidate after which a trial ends without a keep."""

ERROR_RATE = 1.0
"""False keeps that a study may expect at most, however many trials it has: the per-family error
rate, which bounds the probability of any (the family-wise one) as long as it is below 1."""
HALF_SPENT_AFTER = 100
"""Trials after which half of the error rate is spent: a study of so many keeps any code that is no
better with a probability of at most 0.5 by this bound; what is measured lies far below it
(bench/decisions.py)."""

NEEDED_ON_TURNS = 10.0
"""Evidence that the incumbent's trainings next to an improvement's own have to give alone, since
what lies further back may be of a machine that was slower then: strong, on the scale of Jeffreys,
"Theory of Probability", 1961."""
NEEDED_ON_DIFFERENCES = 100.0
"""Likewise by the differences of the turns, where those give too little by all that is known of the
noise: decisive, on that scale. A machine that wanders has its spells in that noise."""

SIMPLER_REPLICATES = 4
"""Turns of a candidate and the incumbent without which none is kept as ``simpler``."""
SIMPLER_LOSSES = (1.0, 0.8, 0.65, 0.5)
"""Mean loss, in standard deviations of one training, that shorter code may show after its first,
second, … replicate."""


class Subject(StrEnum):
    """Whom to train next."""

    CANDIDATE = "candidate"
    INCUMBENT = "incumbent"


def alpha_at(earlier_trials: int) -> float:
    """The share of the study's error rate that a trial may spend.

    The shares of all trials add up to ``ERROR_RATE``, and those of the first n trials bound the
    probability of any false keep among them, by Bonferroni's inequality (weights over hypotheses
    in their order: Foster and Stine, "Alpha-investing", Journal of the Royal Statistical Society B
    2008, whose plain alpha-spending this is).
    """
    before = HALF_SPENT_AFTER + earlier_trials
    return ERROR_RATE * HALF_SPENT_AFTER / (before * (before + 1))


def is_baseline_complete(replicates: Sequence[Replicate]) -> bool:
    """Whether the baseline has the replicates that a study begins with."""
    return len(counted_scores(replicates)) >= BASELINE_REPLICATES


def decide_baseline(replicates: Sequence[Replicate]) -> Decision:
    """The baseline is kept when every replicate was scored."""
    failed = first_crash(replicates)
    if failed is not None:
        return failed
    score = mean_bpb(replicates)
    standing = counted(replicates)
    scores = ", ".join(f"{each:.4f}" for each in counted_scores(replicates))
    left_out = sum(each.contended for each in replicates if each not in standing)
    contended = f"; {left_out} contended, left out" if left_out else ""
    return Decision(
        verdict=Verdict.KEEP,
        reason=Reason.BASELINE,
        sentence=(
            f"Baseline {score:.4f} bpb, the mean of {len(standing)} seeds ({scores}){contended}."
        ),
    )


def judge(case: Case) -> Decision | Subject:
    """Judge a trial, or say whose replicate to train next.

    Raises:
        ValueError: no code of the study was scored twice, though the incumbent was often enough.
    """
    failed = _pruned(case) or first_crash(case.candidate)
    if failed is not None:
        return failed
    if not counted_scores(case.candidate):
        return Subject.INCUMBENT if is_stale(case) else Subject.CANDIDATE
    if len(counted_scores(case.incumbent)) < BASELINE_REPLICATES:
        return Subject.INCUMBENT
    scores, standing = counted_scores(case.candidate), counted_scores(case.incumbent)
    comparison = compare(scores, standing, noise_of(case))
    simpler = case.saves_code and _still_simpler(case, comparison)
    if comparison.gain_in_sigmas < LEAST_GAIN and not simpler:
        if is_in_doubt(case, comparison):
            return Subject.INCUMBENT
        return _discarded(case, comparison)
    if is_thin(case, comparison):
        return Subject.INCUMBENT
    return _judge_survivor(case, comparison, is_simpler=simpler)


def _judge_survivor(case: Case, comparison: Comparison, *, is_simpler: bool) -> Decision | Subject:
    """Judge a candidate that gains enough to go on, or is shorter and loses little enough."""
    tried, needed = comparison.candidate_count, 1 / alpha_at(case.earlier_trials)
    is_likelier = comparison.evidence() >= needed
    on_turns = compare_turns(case)
    if on_turns is not None and is_likelier and _is_borne_out(on_turns):
        why = verdict_sentence.enough_evidence(comparison, needed, case.earlier_trials, on_turns)
        return _verdict(case, comparison, Verdict.KEEP, Reason.IMPROVED, why)
    taken = len(turns(case))
    if is_simpler and taken >= SIMPLER_REPLICATES:
        why = "no worse within noise, and fewer lines of code"
        return _verdict(case, comparison, Verdict.KEEP, Reason.SIMPLER, why)
    is_in_vain = not taken and is_crowded_out(case)
    if tried < REPLICATE_LIMIT and not is_in_vain:
        return Subject.CANDIDATE
    if on_turns is None:
        why = verdict_sentence.NOTHING_BESIDE_IT
    elif is_likelier:
        why = verdict_sentence.too_little_beside_it(on_turns.by_noise, NEEDED_ON_TURNS)
    else:
        why = verdict_sentence.too_little_evidence(comparison, needed)
    return _verdict(case, comparison, Verdict.DISCARD, Reason.WITHIN_NOISE, why)


def _is_borne_out(on_turns: TurnComparison) -> bool:
    return (
        on_turns.by_noise.evidence() >= NEEDED_ON_TURNS
        or on_turns.by_differences.evidence() >= NEEDED_ON_DIFFERENCES
    )


def could_be_kept_below_bpb(case: Case, *, in_doubt: bool = False) -> float:
    """The score below which the next replicate would let a candidate go on to a keep.

    Args:
        case: without that replicate.
        in_doubt: whether further trainings of the incumbent may yet let it.
    """
    scores, known = counted_scores(case.candidate), counted_scores(case.incumbent)
    if len(known) < BASELINE_REPLICATES:
        return math.inf
    standing = fmean(known)
    noise = noise_of(case)
    slack = SIMPLER_LOSSES[0] if case.saves_code else -LEAST_GAIN
    if in_doubt and not is_settled(case, len(known)):
        error = unknown_in_sigmas(len(known), noise.degrees_of_freedom)
        slack = max(slack, DOUBT * error - LEAST_GAIN)
    wanted = standing + slack * noise.sigma_bpb
    # What the others already lost, the next one may make up for.
    return wanted * (len(scores) + 1) - math.fsum(scores) if scores else wanted


def _pruned(case: Case) -> Decision | None:
    """The verdict on a candidate whose training was stopped on the way; None for others."""
    standing = mean_bpb(case.incumbent)
    for replicate in case.candidate:
        forecast = replicate.training.forecast
        if replicate.failure is Reason.PRUNED and forecast is not None and standing is not None:
            return Decision(
                verdict=Verdict.DISCARD,
                reason=Reason.PRUNED,
                sentence=replicate.training.message,
                difference_bpb=forecast.expected_bpb - standing,
                noise_bpb=noise_of(case).sigma_bpb,
            )
    return None


def _still_simpler(case: Case, comparison: Comparison) -> bool:
    """Whether shorter code has lost little, on the incumbent and on what simplifications began at.

    Without the second, each of a row of them could lose as much again.
    """
    most = _at(SIMPLER_LOSSES, comparison.candidate_count) * comparison.sigma
    score = fmean(counted_scores(case.candidate))
    return -comparison.gain <= most and score - case.reference_bpb <= most


def _at(thresholds: Sequence[float], count: int) -> float:
    return thresholds[min(count, len(thresholds)) - 1]


def _discarded(case: Case, comparison: Comparison) -> Decision:
    """Discard a candidate that gains too little to go on."""
    reason, why = Reason.WITHIN_NOISE, verdict_sentence.too_little_gain(comparison, LEAST_GAIN)
    if -comparison.gain > comparison.noise:
        reason, why = Reason.REGRESSION, verdict_sentence.worse_than_noise(comparison)
    return _verdict(case, comparison, Verdict.DISCARD, reason, why)


def _verdict(
    case: Case, comparison: Comparison, verdict: Verdict, reason: Reason, why: str
) -> Decision:
    low, high = comparison.interval
    score, standing = fmean(counted_scores(case.candidate)), fmean(counted_scores(case.incumbent))
    return Decision(
        verdict=verdict,
        reason=reason,
        sentence=verdict_sentence.verdict_sentence(
            score, standing, comparison, is_kept=verdict is Verdict.KEEP, why=why
        ),
        difference_bpb=-comparison.gain,
        threshold_bpb=comparison.noise,
        noise_bpb=comparison.sigma,
        interval_bpb=(-high, -low),
        evidence=comparison.evidence(),
        evidence_needed=1 / alpha_at(case.earlier_trials),
        replicates=comparison.candidate_count,
        incumbent_replicates=comparison.incumbent_count,
        degrees_of_freedom=comparison.degrees_of_freedom,
    )
