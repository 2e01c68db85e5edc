"""Does the gain hold? Baseline and incumbent on fresh seeds and the holdout split."""

from collections.abc import Sequence
from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.opening import RETRIES, RETRY_DELAY_SECONDS, with_prefect, working_session
from flows.rounds import measure_rounds, settings_of
from flows.session_page import show_session
from flows.telling import ended, tell_failed
from nightlab import events
from nightlab.ledger import ConfirmationRecord, confirmations
from nightlab.report import log_report, write_report
from nightlab.settings import SessionSettings, StudyName
from nightlab.study.confirmation import (
    Due,
    add_confirmed,
    begin_confirmation,
    check_confirmable,
    confirmation_of,
    finish_confirmation,
    next_round,
    pairs,
    with_enough,
)
from nightlab.study.session import Session, current_session
from nightlab.study.steering import Steering
from tasks.confirm import confirm as confirm_code
from tasks.finished import finished


@flow(name="confirmation", flow_run_name="confirm {study}")
def confirmation(study: str, wanted: int, until_sure: bool = False) -> ConfirmationRecord:
    """Train and score both codes, pair by pair, or resume where a kill cut in.

    If a person asks the session to stop, it is left to be resumed.

    Args:
        study: the study that the session works on.
        wanted: new pairs.
        until_sure: whether fewer are enough where they confirm the gain.
    """
    session = current_session()
    record = begin_confirmation(session, wanted)
    # Who asked for more pairs than this gets all of them.
    until_sure = until_sure and record.wanted - record.carried <= wanted
    limit = "at most " if until_sure else ""

    def due(session: Session, record: ConfirmationRecord) -> tuple[Due, ...]:
        return next_round(session, with_enough(session, record) if until_sure else record)

    def begun(record: ConfirmationRecord, _due: Sequence[Due]) -> events.StepBegun:
        return events.StepBegun(
            study=study,
            number=record.incumbent_trial,
            step="confirm",
            title=f"pair {len(pairs(record)) + 1} of {limit}{record.wanted}",
        )

    record, is_done = measure_rounds(
        session, record, next_round=due, begun=begun, train=confirm_code, add=add_confirmed
    )
    if not is_done:
        return record
    record = finish_confirmation(session, with_enough(session, record))
    session.tracker.confirmed(record)
    events.publish(events.Notice(text=record.sentence))
    return finished(record, record.sentence)


@flow(
    name="confirm",
    flow_run_name="confirm {study}",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAY_SECONDS,
    on_failure=[tell_failed],
)
def confirm(
    study: StudyName,
    replicates: Annotated[int, Field(ge=1)] | None = None,
    remote: str | None = None,
) -> ConfirmationRecord:
    """Confirm a study's gain by itself, with the settings of its latest trial.

    Args:
        study: its name.
        replicates: fresh trainings of each code, besides those of an earlier confirmation; empty
            for as many as the study's last session had.
        remote: git remote to fetch the study from and push it to.
    """
    _, settings = settings_of(study, remote, check_confirmable)
    with working_session(settings) as session:
        session.trials_ended_at = session.began
        wanted = replicates or settings.confirm_replicates or SessionSettings().confirm_replicates
        # An outage of Prefect, or a retry of this run, asks for no second one.
        record = with_prefect(
            session, lambda: confirmation_of(session) or confirmation(study, wanted)
        )
        told = confirmations(session.ledger)
        files = write_report(session.ledger, session.places.mlruns / "reports", told)
        log_report(session.tracker, files)
        show_session(session, files.picture)
        session.tracker.flush(timeout_seconds=60)
        Steering(session).end()
    return ended(study, record, record.sentence)
