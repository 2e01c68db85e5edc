"""A study as the table of the original project, whose notebooks then read it."""

from collections.abc import Iterable

from nightlab.ledger.candidates import one_line
from nightlab.records import TrialRecord
from nightlab.shown import for_terminal

COLUMNS = ("commit", "val_bpb", "memory_gb", "status", "description")


def results_tsv(records: Iterable[TrialRecord]) -> str:
    """Return ``results.tsv``: a header and one line a trial, in the given order.

    Its ``val_bpb`` is the records': what is lower was found better, in pairs, so that a discard
    is never drawn below what stood. A missing number is an empty cell, never 0: in a column where
    lower is better a crash would otherwise show the best score.
    """
    lines = ["\t".join(COLUMNS)]
    for record in records:
        memory_mb = peak_memory_mb(record)
        cells = (
            record.commit[:7],
            "" if record.val_bpb is None else f"{record.val_bpb:.6f}",
            "" if memory_mb is None else f"{memory_mb / 1024:.1f}",
            record.verdict.value,
            _cell(record.title),
        )
        lines.append("\t".join(cells))
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text of others for one cell: a spreadsheet takes what begins so for a formula."""
    line = for_terminal(one_line(text))
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line


def peak_memory_mb(record: TrialRecord) -> float | None:
    """Return the most memory that a replicate of the trial took, in MiB, or None."""
    peaks = [replicate.training.peak_memory_mb for replicate in record.replicates]
    return max((peak for peak in peaks if peak is not None), default=None)
