"""Progress on Prefect's page of a session: a bar, and every step in the run's log."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.logging import get_run_logger

from nightlab import events
from nightlab.records import Reason
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
                record.reason.value,
                record.decision.sentence,
            )
            done += record.reason is not Reason.BASELINE
            if bar is not None and wanted:
                update_progress_artifact(bar, progress=min(100.0, 100.0 * done / wanted))

    with events.listening(listen):
        yield


def _bar(study: str, wanted: int | None) -> UUID | None:
    if not wanted:
        return None
    made = create_progress_artifact(progress=0.0, description=f"{wanted} trials of study {study}")
    return made if isinstance(made, UUID) else None
