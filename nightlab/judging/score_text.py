"""Scores, verdicts and budgets in words: the same in the terminal, the report and MLflow."""

from collections.abc import Sequence

from nightlab.judging.scores import expected_false_keeps
from nightlab.judging.verdict_sentence import percent
from nightlab.records import Approval, Decision, Evaluation, Reason, TrialRecord
from nightlab.records.counting import counted
from nightlab.settings import SessionSettings

NOTHING = "\N{EN DASH}"
_SMALLEST = 0.00005
"""What four decimals can show, in bits per byte."""
_FEW = 0.05
"""Expected false keeps below this cannot be said with one decimal, and need no finding."""


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


def format_chance(probability: float | None) -> str:
    """A probability as a person says it; a dash where there is none."""
    return NOTHING if probability is None else percent(probability)


def budget_text(seconds: str, tokens: int | None) -> str:
    """The budget of one training; ``seconds`` comes as text, as the place writes durations."""
    return seconds if tokens is None else f"{tokens:,} tokens within {seconds}"


def needed_probability(record: TrialRecord) -> float:
    """How sure an improvement had to be to be kept, by the settings that the trial had."""
    known = record.settings.get("keep_probability")
    return known if isinstance(known, float) else SessionSettings().keep_probability


def verdict_lines(record: TrialRecord) -> list[str]:
    """What a verdict rests on, in sentences for people who know no statistics.

    To stand below the verdict's own sentence and the table of its pairs. Empty where nothing was
    compared.
    """
    decision = record.decision
    if not decision.pairs:
        return _before_pairs(decision)
    lines = [
        "Both codes were trained on the same seeds, so each pair differs by the change and by "
        f"little else: by chance a pair is off by {format_error(decision.noise_bpb)} bpb or so."
    ]
    if decision.probability_better is not None:
        lines.append(
            f"Chance that it is better: {percent(decision.probability_better)}. "
            f"{_what_was_needed(record)}"
        )
    if decision.expected_gain_bpb is not None:
        lines.append(
            f"Expected gain: {decision.expected_gain_bpb:+.4f} bpb{_gain_interval(decision)}. That "
            "allows for luck: most ideas help little, so a large difference is in part chance."
        )
    return lines


def _what_was_needed(record: TrialRecord) -> str:
    needed = f"To be kept as an improvement it needed {percent(needed_probability(record))}"
    if record.reason is Reason.SIMPLER:
        return f"{needed}; this one was kept because it is clearly less code and likely no worse."
    return f"{needed}."


def _gain_interval(decision: Decision) -> str:
    if decision.interval_bpb is None:
        return ""
    low, high = decision.interval_bpb
    return f", and with 95 % certainty between {-high:+.4f} and {-low:+.4f}"


def _before_pairs(decision: Decision) -> list[str]:
    """Of a record from before trainings were paired, and of a training that was stopped."""
    if decision.difference_bpb is None:
        return []
    if decision.reason is Reason.PRUNED:
        return [
            f"Difference that was foreseen when it was stopped: {decision.difference_bpb:+.4f} bpb "
            "(negative is better)."
        ]
    interval = ""
    if decision.interval_bpb is not None:
        low, high = decision.interval_bpb
        interval = f" (95 % {low:+.4f} to {high:+.4f})"
    return [
        f"Difference to the incumbent: {decision.difference_bpb:+.4f} bpb{interval}; negative is "
        "better. It was judged before trainings were paired by seed."
    ]


def false_keeps_sentence(study: str, records: Sequence[TrialRecord]) -> str:
    """How many of the kept changes are to be expected to help nothing; empty without any."""
    kept = [
        record
        for record in records
        if record.reason is Reason.IMPROVED and record.decision.probability_better is not None
    ]
    if not kept:
        return ""
    expected = expected_false_keeps(kept)
    found = f"; `nightlab consolidate {study}` finds {'out' if len(kept) == 1 else 'them'}"
    command = found if expected >= _FEW else ""
    if len(kept) == 1:
        return (
            "The chance that the one kept change is a passenger, which helps nothing, is "
            f"{percent(expected)}{command}."
        )
    number = f"{expected:.1f}" if expected >= _FEW else "fewer than 0.1"
    return (
        f"Of {len(kept)} kept changes, {number} are to be expected to be passengers, which help "
        f"nothing{command}."
    )


def waiting_sentence(study: str, records: Sequence[TrialRecord]) -> str:
    """Which keeps wait for a person's word, and how it is given; empty where none does."""
    numbers = [str(each.number) for each in records if each.approval is Approval.WAITS]
    if not numbers:
        return ""
    if len(numbers) == 1:
        what = f"1 keep waits for your word (trial {numbers[0]}), and counts until then"
    else:
        trials = ", ".join(numbers)
        what = f"{len(numbers)} keeps wait for your word (trials {trials}), and count until then"
    return f"{what}: `nightlab approve {study}`."


def audit_sentence(evaluation: Evaluation | None) -> str:
    """What the audit found, in one sentence; empty where there was none."""
    if evaluation is None or evaluation.claimed_bpb is None:
        return ""
    claimed = f"Claimed {evaluation.claimed_bpb:.4f} bpb"
    if evaluation.correction_bpb is None or evaluation.audited_positions is None:
        return f"{claimed}; the audit did not end."
    largest = evaluation.largest_deviation_nats
    positions = counted(
        evaluation.audited_positions, "secret position corrects", "secret positions correct"
    )
    deviation = "" if largest is None else f", the largest deviation {largest:.2g} nats"
    return (
        f"{claimed}; {positions} it by "
        f"{evaluation.correction_bpb:+.4f} ± {format_error(evaluation.standard_error)}{deviation}."
    )
