"""What a candidate has to gain to go on, and whether the incumbent is known well enough to say so.

A training of the incumbent serves all later trials, where one of a candidate serves that trial
only; so it is the incumbent that is trained while what is known of it leaves a doubt.
"""

import math

from nightlab.judging.case import Case
from nightlab.judging.scores import CONTENDED_LIMIT, counted, counted_scores
from nightlab.judging.sequential_test import Comparison

LEAST_GAIN = 0.94
"""Mean gain, in standard deviations of one training, that a candidate has to show after every
replicate to be trained again: about half of the gain that the rule is made to find. Below it the
scores are likelier without any gain than with one of two (Wald, "Sequential tests of
statistical hypotheses", Annals of Mathematical Statistics 1945)."""

DOUBT = 3.0
"""A candidate is in doubt while its gain is closer to the least one than so many standard errors of
what is known of the incumbent and of the noise."""
SETTLED_AT_FIRST = 16
"""Replicates of the incumbent that settle every doubt; one more for each trial judged against it,
since the longer it stands the more it pays to know it."""
SETTLED_AT_LAST = 64

LEAST_KNOWN = 14
"""Replicates that the incumbent has before a candidate that passes is trained a second time, unless
it passes beyond doubt: they serve all later trials, where the candidate's serve this one only."""

STALE_AFTER = 10
"""Trials judged in a row without a training of the incumbent, after which the next one begins with
it; fewer where it has fewer replicates: as many as those."""


def is_stale(case: Case) -> bool:
    """Whether what is known of the incumbent may hold no more.

    Candidates that are discarded at once, or stopped on the way, would otherwise stay so for
    as long as the machine stays slower than it was, or forever if a few trainings were lucky.
    """
    most = min(STALE_AFTER, len(counted_scores(case.incumbent)))
    was_trained = bool(counted_scores(case.incumbent_anew)) or is_crowded_out(case)
    return case.earlier_since_trained >= most and not was_trained


def is_in_doubt(case: Case, comparison: Comparison) -> bool:
    """Whether to know the incumbent better before a candidate is discarded.

    Few and lucky trainings of the incumbent would screen out whatever comes. One more of them
    serves all later trials, where one of the candidate serves this one only.
    """
    return _is_close(comparison) and not is_settled(case, comparison.incumbent_count)


def is_thin(case: Case, comparison: Comparison) -> bool:
    """Whether to train the incumbent before a candidate that goes on is trained again.

    They take turns, so that what a machine does for a while it does to both.
    """
    if not _is_trained_since(case):
        return True
    if is_crowded_out(case):
        return False
    tried, known = comparison.candidate_count, comparison.incumbent_count
    passes = comparison.gain_in_sigmas >= LEAST_GAIN
    return known <= tried or (passes and known < LEAST_KNOWN and _is_close(comparison))


def is_settled(case: Case, incumbent_count: int) -> bool:
    """Whether the incumbent is known as well as it pays, or as well as the machine lets it."""
    enough = min(SETTLED_AT_LAST, SETTLED_AT_FIRST + case.earlier_against)
    return incumbent_count >= enough or is_crowded_out(case)


def unknown_in_sigmas(incumbent_count: int, degrees_of_freedom: int) -> float:
    """Standard error of the least gain as a score: of the incumbent's mean, and of sigma itself.

    A sample's standard deviation has about the relative error 1 / sqrt(2 degrees of freedom).
    """
    return math.sqrt(1 / incumbent_count + LEAST_GAIN**2 / (2 * degrees_of_freedom))


def is_crowded_out(case: Case) -> bool:
    """Whether other work on the machine keeps the incumbent from being measured now."""
    latest = [each for each in case.incumbent_anew if each.val_bpb is not None][-CONTENDED_LIMIT:]
    count = {each.seed for each in counted(case.incumbent)}
    return len(latest) == CONTENDED_LIMIT and not any(each.seed in count for each in latest)


def _is_trained_since(case: Case) -> bool:
    """Whether the incumbent was trained after the candidate's last training.

    Counting or not: to repeat one code's until it counts would set it beside another hour.
    """
    own = [each.turn for each in case.candidate if each.val_bpb is not None]
    others = [each.turn for each in case.incumbent_anew if each.val_bpb is not None]
    return max(others, default=-1) > max(own, default=-1)


def _is_close(comparison: Comparison) -> bool:
    """Whether a gain and the least one lie too close to each other to tell which is larger."""
    error = unknown_in_sigmas(comparison.incumbent_count, comparison.degrees_of_freedom)
    # Without any spread (a trainer that does nothing) nothing is in doubt.
    return comparison.sigma > 0 and abs(comparison.gain_in_sigmas - LEAST_GAIN) < DOUBT * error
