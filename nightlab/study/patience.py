"""When a session waits or ends over failures that are no fault of its candidates.

A single failure may be chance, a provider may be away for hours, and a wrong key stays wrong. So a
session ends after three failures in a row of this machine or of its agent, or three alike of its
models, and models that do not answer are waited for, longer each time, within the same trial.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from nightlab.records import Reason, TrialRecord, Verdict

MAX_FAILURES_IN_A_ROW = 3
FIRST_PAUSE_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 600.0
RESET_MARGIN_SECONDS = 2.0
"""Clocks differ: who is asked a moment too early says no again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """What a session does after a failed trial."""

    stop: str | None = None
    """Why it ends, as a sentence; None where it goes on."""
    fails: bool = False
    """Whether its run fails by it: over this machine, or before anything but the baseline was
    measured, so that what was set is wrong. Else what stands is confirmed and reported."""


@dataclass(slots=True)
class Outage:
    """One outage of what a session waits for, however many of its steps meet it."""

    began: float | None = None
    """Monotonic seconds; None while it answers."""
    is_given_up: bool = False
    """Whether no step waits for its end any more."""


def after_failures(records: Sequence[TrialRecord], session: str) -> Patience:
    """Look at the failed trials with which a session's records end.

    Args:
        records: of the study.
        session: whose failures count.
    """
    ours = [record for record in records if record.session == session]
    row = list(takewhile(_failed, reversed(ours)))
    newest = row[:MAX_FAILURES_IN_A_ROW]
    if len(newest) < MAX_FAILURES_IN_A_ROW:
        return Patience()
    # By what was answered, not by its words: some hold a new number each time.
    causes = {record.decision.cause or record.decision.sentence for record in newest}
    if newest[0].reason is Reason.MODEL_REFUSED and len(causes) > 1:
        return Patience()
    is_measured = any(
        record.verdict is not Verdict.FAILED and record.reason is not Reason.BASELINE
        for record in records
    )
    of_models = newest[0].reason in (Reason.MODEL, Reason.MODEL_REFUSED, Reason.NO_EDIT)
    return Patience(stop=_sentence(newest), fails=not (is_measured and of_models))


def _failed(record: TrialRecord) -> bool:
    # One that was kept stands for no failure, whatever a person then said of it.
    return record.verdict is Verdict.FAILED and record.approval is None


def _sentence(failed: Sequence[TrialRecord]) -> str:
    newest = failed[0]
    said = f"\n\nThe last lines of its output:\n{newest.log_tail}" if newest.log_tail else ""
    return (
        f"{len(failed)} trials in a row failed through no fault of their candidates, so the "
        f"session stopped; the last said: {newest.decision.sentence} Mend that, then run the "
        f"same command again; `nightlab retry {newest.study} {newest.number}` retries a trial."
        f"{said}"
    )


def next_pause_seconds(
    pauses: int, waited_seconds: float, longest_seconds: float, asked_seconds: float | None
) -> float | None:
    """How long models that do not answer are waited for before they are asked again.

    Args:
        pauses: made since one answered last.
        waited_seconds: since then.
        longest_seconds: that a session waits for them.
        asked_seconds: what they ask for themselves, as until a limit's reset.

    Returns:
        Seconds; None where the session has waited long enough, or would in vain.
    """
    left = longest_seconds - waited_seconds
    asked = asked_seconds + RESET_MARGIN_SECONDS if asked_seconds else 0.0
    if left <= 0 or asked > left:
        return None
    # Some ask for a second, each time.
    growing = min(FIRST_PAUSE_SECONDS * 2.0 ** min(pauses, 20), LONGEST_PAUSE_SECONDS, left)
    return max(asked, growing)
