"""When a session pauses or stops after trials that failed through no fault of their candidates.

A single failure may be chance, a provider may be down for an hour, and a wrong key stays wrong. So
a session ends after the same refusal three times in a row, or any three failures of this machine,
and an endpoint that does not answer is waited for, longer each time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from nightlab.records import Reason, TrialRecord, Verdict

MAX_FAILURES_IN_A_ROW = 3
MAX_SILENCES_IN_A_ROW = 10
"""Trials in a row whose model did not answer: about an hour and a half with the pauses."""
FIRST_PAUSE_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """What a session does after a failed trial."""

    stop: str | None = None
    """Why it ends, as a sentence; None where it goes on."""
    pause_seconds: float = 0.0
    """How long it waits before it goes on."""


def after_failures(records: Sequence[TrialRecord], session: str) -> Patience:
    """Look at the failed trials with which a session's records end.

    Args:
        records: of the study.
        session: whose failures count.
    """
    ours = [record for record in records if record.session == session]
    row = list(takewhile(lambda record: record.verdict is Verdict.FAILED, reversed(ours)))
    silent = list(takewhile(lambda record: record.reason is Reason.MODEL, row))
    if silent:
        if len(silent) >= MAX_SILENCES_IN_A_ROW:
            return Patience(stop=_sentence(silent))
        pause = FIRST_PAUSE_SECONDS * 2.0 ** (len(silent) - 2) if len(silent) > 1 else 0.0
        return Patience(pause_seconds=min(pause, LONGEST_PAUSE_SECONDS))
    newest = row[:MAX_FAILURES_IN_A_ROW]
    if len(newest) < MAX_FAILURES_IN_A_ROW:
        return Patience()
    refusals = {record.decision.sentence for record in newest}
    if newest[0].reason is Reason.MODEL_REFUSED and len(refusals) > 1:
        return Patience()
    return Patience(stop=_sentence(newest))


def _sentence(failed: Sequence[TrialRecord]) -> str:
    newest = failed[0]
    return (
        f"{len(failed)} trials in a row failed through no fault of their candidates, so the "
        f"session stopped; the last said: {newest.decision.sentence} Mend that, then run the "
        f"same command again; `nightlab retry {newest.study} {newest.number}` retries a trial."
    )
