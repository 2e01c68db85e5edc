"""Scores, audits and budgets in words: the same in the terminal, the report and MLflow."""

import math
from collections.abc import Iterable

from nightlab.judging.scores import counted
from nightlab.records import Evaluation, Replicate

NOTHING = "\N{EN DASH}"
_SMALLEST = 0.00005
"""What four decimals can show, in bits per byte."""


def format_score(bpb: float | None, error: float | None = None) -> str:
    """A score with its standard error, such as ``1.7599 ± 0.0003``; a dash where there is none."""
    if bpb is None:
        return NOTHING
    return f"{bpb:.4f}" if error is None else f"{bpb:.4f} ± {format_error(error)}"


def format_error(error: float | None) -> str:
    """A standard error with four decimals; what they cannot show is said to be less."""
    if error is None:
        return NOTHING
    return f"{error:.4f}" if error >= _SMALLEST else "<0.0001"


def budget_text(seconds: str, tokens: int | None) -> str:
    """The budget of one training; ``seconds`` comes as text, as the place writes durations."""
    return seconds if tokens is None else f"{tokens:,} tokens within {seconds}"


def audit_error(replicates: Iterable[Replicate]) -> float | None:
    """Standard error, by the audits, of the mean score of replicates; None where one has none.

    Audits are drawn independently, so their variances add. The spread between seeds, mostly far
    larger, is not in it: that is the noise floor.
    """
    errors = [
        replicate.evaluation.standard_error
        for replicate in counted(tuple(replicates))
        if replicate.evaluation is not None
    ]
    known = [error for error in errors if error is not None]
    if not known or len(known) < len(errors):
        return None
    return math.hypot(*known) / len(known)


def audit_sentence(evaluation: Evaluation | None) -> str:
    """What the audit found, in one sentence; empty where there was none."""
    if evaluation is None or evaluation.claimed_bpb is None:
        return ""
    claimed = f"Claimed {evaluation.claimed_bpb:.4f} bpb"
    if evaluation.correction_bpb is None or evaluation.audited_positions is None:
        return f"{claimed}; the audit did not end."
    largest = evaluation.largest_deviation_nats
    deviation = "" if largest is None else f", the largest deviation {largest:.2g} nats"
    return (
        f"{claimed}; {evaluation.audited_positions:,} secret positions correct it by "
        f"{evaluation.correction_bpb:+.4f} ± {format_error(evaluation.standard_error)}{deviation}."
    )
