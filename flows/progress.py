"""Progress on Prefect's pages of a session: a bar, the table of trials, every step in the log.

All of it is for people who look there: a server that is away does not hold up a session.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from uuid import UUID

from prefect.artifacts import (
    create_link_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.logging import get_run_logger

from flows.outages import best_effort
from nightlab import events
from nightlab.records import Reason, TrialRecord
from nightlab.records.counting import counted
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
            done += record.reason is not Reason.BASELINE
            if bar is not None and wanted:
                share = min(100.0, 100.0 * done / wanted)
                best_effort(partial(update_progress_artifact, bar, progress=share))

    with events.listening(listen):
        yield


def _bar(study: str, wanted: int | None) -> UUID | None:
    if not wanted:
        return None
    text = f"{counted(wanted, 'trial')} of study {study}"
    made = best_effort(partial(create_progress_artifact, progress=0.0, description=text))
    return made if isinstance(made, UUID) else None


def show_trials(study: str, records: tuple[TrialRecord, ...], study_url: str | None) -> None:
    """Put the table of trials, and a link to MLflow's, on the session's page."""
    rows = [
        {
            "trial": record.number,
            "verdict": record.verdict.value,
            "reason": record.reason_text,
            "val_bpb": "" if record.val_bpb is None else f"{record.val_bpb:.4f}",
            "title": record.title,
        }
        for record in records
    ]
    about = f"Trials of study {study}"
    # Prefect's artifact keys take lower-case letters, digits and dashes only.
    key = study.lower().replace("_", "-")
    text = "The trials in MLflow"
    if study_url is not None:
        best_effort(partial(create_link_artifact, study_url, text, key=f"{key}-mlflow"))
    best_effort(partial(create_table_artifact, rows, key=f"{key}-trials", description=about))
