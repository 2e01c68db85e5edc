"""Progress on Prefect's pages of a session: a bar, every step in the log, an event for each keep.

All of it is for people who look there: a server that is away does not hold up a session.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

from flows.outages import best_effort
from flows.telling import tell_kept
from nightlab import events
from nightlab.records import Reason, Verdict
from nightlab.records.counting import counted
from nightlab.shown import for_markdown
from nightlab.study.session import Session


@contextmanager
def session_progress(session: Session) -> Iterator[None]:
    """Log what happens, and move the session's progress bar with every trial."""
    logger = get_run_logger()
    wanted = session.settings.trials
    bar = _bar(session.ledger.study, wanted)
    done = 0

    def listen(event: events.Event) -> None:
        nonlocal done
        if isinstance(event, events.Notice):
            logger.info(event.text)
        elif isinstance(event, events.StepBegun) and event.number is not None:
            seed = "" if event.seed is None else f" (seed {event.seed})"
            logger.info("Trial %d: %s %s%s", event.number, event.step, event.title, seed)
        elif isinstance(event, events.TrialEnded):
            record = event.record
            logger.info(
                "Trial %d: %s, %s. %s",
                record.number,
                record.verdict.value,
                record.reason_text,
                record.decision.sentence,
            )
            if record.reason is Reason.BASELINE:
                return
            if record.verdict is Verdict.KEEP:
                tell_kept(record, session.tracker.study_url())
            done += 1
            if bar is not None and wanted:
                share = min(100.0, 100.0 * done / wanted)
                best_effort(partial(update_progress_artifact, bar, progress=share))

    with events.listening(listen):
        yield


def _bar(study: str, wanted: int | None) -> UUID | None:
    if not wanted:
        return None
    text = str(for_markdown(f"{counted(wanted, 'trial')} of study {study}"))
    made = best_effort(partial(create_progress_artifact, progress=0.0, description=text))
    return made if isinstance(made, UUID) else None
