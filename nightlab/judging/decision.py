"""Keep, discard, or train more: pure functions of what was measured.

A candidate and the incumbent are trained on the same seeds, and what counts is the difference of
each pair. After every training the table below is gone through from the top; the first line
that holds decides (docs/decisions-explained.md shows it in pictures):

| what is known of the candidate                                    | then                     |
|-------------------------------------------------------------------|--------------------------|
| a training failed                                                 | crash                    |
| no pair yet, and a training was stopped as hopeless               | discard (pruned)         |
| no pair yet                                                       | train the first pair     |
| another pair is worth more than a training brings elsewhere       | train another pair       |
| P(better) is at least ``keep_probability``, and a gain expected   | keep (improved)          |
| it is clearly less code, and is likely no worse by a pair's noise | keep (simpler)           |
| the same, but not likely enough yet                               | train another pair       |
| otherwise                                                         | discard                  |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean

from nightlab.judging import verdict_sentence
from nightlab.judging.case import Case, Noise, noise_of, pairs_of
from nightlab.judging.crashes import first_crash
from nightlab.judging.evidence import Belief, believe, worth_of_pair
from nightlab.records import Decision, Pair, Reason, Replicate, Verdict
from nightlab.records.counting import counted

BASELINE_REPLICATES = 2
MOST_PAIRS = 8
"""Pairs after which a trial ends in any case."""
PRICE = 0.3
"""What a training brings elsewhere in a night, in standard deviations of a pair."""

SIMPLER_PROBABILITY = 0.9
"""How likely clearly less code must be no worse by more than ``SIMPLER_MARGIN``."""
SIMPLER_MARGIN = 1.0
"""In standard deviations of one pair."""
SIMPLER_PAIRS = 4
"""Pairs after which it is not trained again for being simpler."""
MOST_NEEDED = 8.0
"""The largest gain that a first pair is said to need, in standard deviations of a pair."""


class Subject(StrEnum):
    """Whose code is trained."""

    CANDIDATE = "candidate"
    INCUMBENT = "incumbent"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A training that a trial needs."""

    subject: Subject
    seed: int


def wanted_for_baseline(
    replicates: Sequence[Replicate], seeds: Sequence[int], lanes: int
) -> tuple[Wanted, ...]:
    """What the baseline still needs trained; nothing once it is whole, or has crashed."""
    if first_crash(replicates) is not None:
        return ()
    done = {each.seed for each in replicates if each.val_bpb is not None}
    missing = [seed for seed in seeds[:BASELINE_REPLICATES] if seed not in done]
    return tuple(Wanted(Subject.CANDIDATE, seed) for seed in missing[:lanes])


def decide_baseline(replicates: Sequence[Replicate]) -> Decision:
    """The baseline is kept when every replicate was scored."""
    failed = first_crash(replicates)
    if failed is not None:
        return failed
    scores = [each.val_bpb for each in replicates if each.val_bpb is not None]
    shown = ", ".join(f"{each:.4f}" for each in scores)
    return Decision(
        verdict=Verdict.KEEP,
        reason=Reason.BASELINE,
        sentence=f"Baseline {fmean(scores):.4f} bpb, the mean of {counted(len(scores), 'seed')} "
        f"({shown}).",
    )


def judge(case: Case) -> Decision | tuple[Wanted, ...]:
    """Judge a trial, or say what to train next; what is said can be trained side by side."""
    pairs, wanted = pairs_of(case.candidate, case.bank), _wanted(case)
    # Of two that are trained side by side one may be stopped and the other better: then that one
    # is trained again, to its end, as long as it is worth it.
    failed = first_crash(case.candidate) or (None if pairs else _pruned(case))
    if failed is not None:
        return failed
    if not pairs:
        return wanted
    weighed = weigh(case, pairs)
    belief = weighed.belief
    if wanted and worth_of_pair(belief, case.keep_probability) > PRICE:
        return wanted
    if belief.is_kept(case.keep_probability):
        return _verdict(weighed, Verdict.KEEP, Reason.IMPROVED)
    if case.saves_code:
        no_worse = _no_worse(case, belief, weighed.noise)
        if no_worse >= SIMPLER_PROBABILITY:
            return _verdict(weighed, Verdict.KEEP, Reason.SIMPLER, no_worse)
        if no_worse >= 0.5 and wanted and len(pairs) < SIMPLER_PAIRS:
            return wanted
    highest_gain = belief.interval[1]
    reason = Reason.REGRESSION if highest_gain < 0 else Reason.WITHIN_NOISE
    return _verdict(weighed, Verdict.DISCARD, reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A candidate's pairs, and what is believed after them."""

    pairs: tuple[Pair, ...]
    noise: Noise
    belief: Belief

    @property
    def difference_bpb(self) -> float:
        """Mean of the pairs' differences; negative is better."""
        return fmean(pair.difference_bpb for pair in self.pairs)


def weigh(case: Case, pairs: tuple[Pair, ...]) -> Weighed:
    """What is believed of a candidate after its pairs, of which there is one at least."""
    own = tuple(-pair.difference_bpb for pair in pairs)
    # All that its own pairs lie apart counts, however wild: it makes them say less.
    noise = noise_of(case.learnt.gains_bpb, case.preset_noise_bpb).including(own)
    belief = believe(fmean(own) / noise.pair_bpb, len(own), noise.degrees_of_freedom)
    return Weighed(pairs=pairs, noise=noise, belief=belief)


def needed_gain_bpb(case: Case) -> float:
    """The gain of a first pair below which a candidate would be discarded at once; for pruning.

    Negative where one that seems worse would still be trained again.
    """
    noise = noise_of(case.learnt.gains_bpb, case.preset_noise_bpb)
    low, high = -MOST_NEEDED, MOST_NEEDED
    while high - low > 0.1:
        middle = (low + high) / 2
        belief = believe(middle, 1, noise.degrees_of_freedom)
        if _is_hopeful(case, belief, noise):
            high = middle
        else:
            low = middle
    return high * noise.pair_bpb


def _is_hopeful(case: Case, belief: Belief, noise: Noise) -> bool:
    """Whether a candidate would be kept, or trained again."""
    if belief.is_kept(case.keep_probability):
        return True
    if worth_of_pair(belief, case.keep_probability) > PRICE:
        return True
    return case.saves_code and _no_worse(case, belief, noise) >= 0.5


def _no_worse(case: Case, belief: Belief, noise: Noise) -> float:
    """Probability that code is worse by one pair's noise at most, with what simpler code lost."""
    return belief.above(case.lost_bpb / noise.pair_bpb - SIMPLER_MARGIN)


def _wanted(case: Case) -> tuple[Wanted, ...]:
    """The candidate's next trainings and the twins that they lack, a lane each.

    A twin goes first: beside its curve the candidate's training can be stopped early. What was
    excused (``crashes.EXCUSED``) is trained again.
    """
    done = {each.seed for each in case.candidate if each.val_bpb is not None}
    wanted: list[Wanted] = []
    for seed in case.seeds[:MOST_PAIRS]:
        if seed not in case.bank:
            wanted.append(Wanted(Subject.INCUMBENT, seed))
        if seed not in done:
            wanted.append(Wanted(Subject.CANDIDATE, seed))
    return tuple(wanted[: case.lanes])


def _pruned(case: Case) -> Decision | None:
    """The verdict on a candidate whose training was stopped on the way; None for others."""
    for replicate in case.candidate:
        forecast, twin = replicate.training.forecast, case.bank.get(replicate.seed)
        if replicate.failure is not Reason.PRUNED or forecast is None:
            continue
        standing = twin.val_bpb if twin is not None else None
        difference = None if standing is None else forecast.expected_bpb - standing
        return Decision(
            verdict=Verdict.DISCARD,
            reason=Reason.PRUNED,
            sentence=replicate.training.message,
            difference_bpb=difference,
            noise_bpb=noise_of(case.learnt.gains_bpb, case.preset_noise_bpb).pair_bpb,
        )
    return None


def _verdict(
    weighed: Weighed, verdict: Verdict, reason: Reason, no_worse: float | None = None
) -> Decision:
    unit, belief = weighed.noise.pair_bpb, weighed.belief
    low, high = belief.interval
    interval = (-high * unit, -low * unit)
    return Decision(
        verdict=verdict,
        reason=reason,
        sentence=verdict_sentence.verdict_sentence(
            reason, weighed.pairs, weighed.difference_bpb, interval, belief.better, no_worse
        ),
        difference_bpb=weighed.difference_bpb,
        interval_bpb=interval,
        noise_bpb=unit,
        probability_better=belief.better,
        expected_gain_bpb=belief.gain * unit,
        pairs=weighed.pairs,
    )
