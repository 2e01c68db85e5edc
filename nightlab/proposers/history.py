"""The finished trials as a prompt tells them: a bounded table, lessons, and foresight.

All trials stand in the record; a prompt has room for some. What is shortened or only
counted says so, and every kind of failure keeps its lesson however old it is.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from nightlab.models.texts import fenced, one_line
from nightlab.records import Reason, TrialRecord, Verdict

HISTORY_CHARACTERS = 24_000
LESSONS_CHARACTERS = 12_000
TITLE_CHARACTERS = 100
LESSON_CHARACTERS = 240
SHORT_LESSON_CHARACTERS = 70
SHORT_TITLE_CHARACTERS = 40
FULL_TRIALS = 20
"""So many of the newest trials are never shortened."""
NAMED_TRIALS = 6
"""Of a group of failures, so many trials are named."""
STALL_TRIALS = 8
"""Judged candidates in a row without a keep, after which the brief asks for something else."""


def history_table(records: Sequence[TrialRecord], characters: int = HISTORY_CHARACTERS) -> str:
    """All trials, one line each, within ``characters`` (and a line or two that say what is not).

    The rule: every trial that somebody had an idea for stands with number, verdict, reason,
    score, expected and found change, and title; the others are only counted. Where that is too
    long, the newest ``FULL_TRIALS`` stay as they are, and of the older ones, the oldest first,
    those that were not kept are shortened to number, verdict, score and the beginning of the
    title; then these are only counted; then kept ones go the same way. What was done is said
    above the table.
    """
    idle = [record for record in records if _had_no_idea(record)]
    records = [record for record in records if not _had_no_idea(record)]
    if not records:
        return "None yet."
    rows = {record.number: _row(record) for record in records}
    excess = sum(len(row) + 1 for row in rows.values()) - characters
    old = records[:-FULL_TRIALS]
    shortened: list[TrialRecord] = []
    counted: list[TrialRecord] = []
    for is_kept in (False, True):
        group = [record for record in old if (record.verdict is Verdict.KEEP) is is_kept]
        for record in group:
            if excess > 0:
                row = _short_row(record)
                excess -= len(rows[record.number]) - len(row)
                rows[record.number] = row
                shortened.append(record)
        for record in group:
            if excess > 0:
                excess -= len(rows.pop(record.number)) + 1
                counted.append(record)
    notes = [f"({len(idle)} more failed before there was an idea: left out.)"] if idle else []
    notes += [_counts(counted)] if counted else []
    if len(shortened) > len(counted):
        notes.append(f"({len(shortened) - len(counted)} old trials are shortened.)")
    notes.append("number | verdict | reason | val_bpb | expected → found change | title")
    return "\n".join(notes) + "\n" + fenced("\n".join(rows.values()))


def _had_no_idea(record: TrialRecord) -> bool:
    """Whether the machinery, a model or an agent failed before there was anything to train."""
    return record.verdict is Verdict.FAILED and record.commit == record.parent


def _row(record: TrialRecord) -> str:
    cells = [
        str(record.number),
        record.verdict.value,
        record.reason.value,
        _score(record),
        f"{_change(record.expected_bpb)} → {_change(record.decision.difference_bpb)}",
        one_line(record.title, TITLE_CHARACTERS),
    ]
    return " | ".join(cells)


def _short_row(record: TrialRecord) -> str:
    title = one_line(record.title, SHORT_TITLE_CHARACTERS)
    return f"{record.number} | {record.verdict.value} | {_score(record)} | {title}"


def _score(record: TrialRecord) -> str:
    return "-" if record.val_bpb is None else f"{record.val_bpb:.5f}"


def _change(value: float | None) -> str:
    return "-" if value is None else f"{value:+.4f}"


def _counts(records: list[TrialRecord]) -> str:
    by_reason = Counter(record.reason.value for record in records)
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(by_reason.items()))
    numbers = sorted(record.number for record in records)
    return (
        f"({len(records)} more trials, between numbers {numbers[0]} and {numbers[-1]}, are only "
        f"counted: {counts}.)"
    )


@dataclass(slots=True)
class _Failures:
    """Trials that failed alike."""

    reason: Reason
    lesson: str
    numbers: list[int] = field(default_factory=list)


def failure_lessons(records: Sequence[TrialRecord], characters: int = LESSONS_CHARACTERS) -> str:
    """What candidates failed of, each kind once with its trials; empty where none failed.

    Failures are alike where reason and sentence agree but for numbers. Where the lessons are
    too long together they are shortened, all alike, and only where that does not help are the
    newest left out and counted: an early lesson is the one that is forgotten.
    """
    groups: dict[tuple[Reason, str], _Failures] = {}
    for record in records:
        if record.verdict is not Verdict.CRASH and record.reason is not Reason.PRUNED:
            continue
        sentence = one_line(record.decision.sentence, LESSON_CHARACTERS)
        key = (record.reason, re.sub(r"\d+(\.\d+)?", "#", sentence))
        group = groups.setdefault(key, _Failures(record.reason, sentence))
        group.numbers.append(record.number)
    if not groups:
        return ""
    for length in (LESSON_CHARACTERS, SHORT_LESSON_CHARACTERS):
        lines = [_lesson(group, length) for group in groups.values()]
        if sum(len(line) + 1 for line in lines) <= characters:
            return fenced("\n".join(lines))
    shown, room = [], characters
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        shown.append(line)
    left = f"({len(lines) - len(shown)} newer kinds of failure are left out.)"
    return f"{left}\n{fenced(chr(10).join(shown))}"


def _lesson(group: _Failures, characters: int) -> str:
    named = ", ".join(map(str, group.numbers[:NAMED_TRIALS]))
    more = len(group.numbers) - NAMED_TRIALS
    trials = f"{named} and {more} more" if more > 0 else named
    return f"{group.reason.value} (trials {trials}): {one_line(group.lesson, characters)}"


def foresight(records: Sequence[TrialRecord]) -> str:
    """How well expected effects came true, in a sentence; empty where none was told."""
    pairs = [
        (record.expected_bpb, record.decision.difference_bpb)
        for record in records
        if record.expected_bpb is not None and record.decision.difference_bpb is not None
    ]
    if not pairs:
        return ""
    expected, found = fmean(pair[0] for pair in pairs), fmean(pair[1] for pair in pairs)
    right = sum((pair[0] < 0) == (pair[1] < 0) for pair in pairs)
    return (
        f"Over {len(pairs)} trials with an expectation, the expected change of val_bpb was "
        f"{expected:+.4f} on average and the found one {found:+.4f}; its sign was right in {right}."
    )


def trials_since_keep(records: Sequence[TrialRecord]) -> int:
    """Candidates in a row, up to the newest, that came to a verdict and were not kept.

    A trial without a candidate, whose edit was of no use, says nothing about what helps.
    """
    count = 0
    for record in reversed(records):
        if record.verdict is Verdict.KEEP:
            break
        count += record.verdict is not Verdict.FAILED and record.commit != record.parent
    return count


def is_stalled(records: Sequence[TrialRecord]) -> bool:
    """Whether small steps from the incumbent have stopped to help."""
    return trials_since_keep(records) >= STALL_TRIALS
