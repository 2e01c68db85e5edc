"""Does the gain hold? Baseline and incumbent on fresh seeds and the holdout split."""

from functools import partial
from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.opening import RETRIES, RETRY_DELAY_SECONDS, fetched_study, with_prefect, working_session
from flows.pushing import push_or_say
from flows.side_by_side import outcomes_of
from nightlab import events
from nightlab.ledger import ConfirmationRecord, confirmations
from nightlab.records import utc_now
from nightlab.report import log_report, write_report
from nightlab.settings import (
    WITHOUT_IDEAS,
    Places,
    SessionSettings,
    StudyName,
    recorded_settings,
)
from nightlab.study.confirmation import (
    add_confirmed,
    begin_confirmation,
    check_confirmable,
    confirmation_of,
    finish_confirmation,
    next_round,
    pairs,
    with_enough,
)
from nightlab.study.session import current_session
from nightlab.study.steering import Steering, stop_asked_since
from tasks.confirm import confirm as confirm_code


@flow(name="confirmation", flow_run_name="confirm {study}")
def confirmation(study: str, wanted: int, until_sure: bool = False) -> ConfirmationRecord:
    """Train and score both codes, pair by pair, or resume where a kill cut in.

    If a person asks the session to stop, it is left to be resumed.

    Args:
        study: the study that the session works on.
        wanted: new pairs.
        until_sure: whether fewer are enough where they confirm the gain.
    """
    session, began = current_session(), utc_now()
    record = begin_confirmation(session, wanted)
    # Who asked for more pairs than this gets all of them.
    until_sure = until_sure and record.wanted - record.carried <= wanted
    limit = "at most " if until_sure else ""
    while due := next_round(session, with_enough(session, record) if until_sure else record):
        if stop_asked_since(session, began):
            text = f"Asked to stop: `nightlab confirm {study}` continues the confirmation."
            events.publish(events.Notice(text=text))
            return record
        events.publish(
            events.StepBegun(
                study=study,
                number=record.incumbent_trial,
                step="confirm",
                title=f"pair {len(pairs(record)) + 1} of {limit}{record.wanted}",
            )
        )
        submits = [partial(confirm_code.submit, session, record, each) for each in due]
        outcomes = outcomes_of(session, submits)
        measured = [
            (each, result)
            for each, result in zip(due, outcomes.results, strict=True)
            if result is not None
        ]
        record = add_confirmed(session, record, measured)
        outcomes.require_all()
        push_or_say(session)
    record = finish_confirmation(session, with_enough(session, record))
    session.tracker.confirmed(record)
    events.publish(events.Notice(text=record.sentence))
    return record


@flow(
    name="confirm",
    flow_run_name="confirm {study}",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAY_SECONDS,
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
    places = Places.find()
    with fetched_study(study, remote, places) as ledger:
        records = ledger.records()
        check_confirmable(study, records)
        settings = recorded_settings(records[-1].settings)
    # No model is asked for anything here, so none has to be reachable.
    changes = {**WITHOUT_IDEAS, "study": study, "remote": remote or settings.remote}
    settings = settings.model_copy(update=changes)
    with working_session(settings) as session:
        wanted = replicates or settings.confirm_replicates or SessionSettings().confirm_replicates
        began = utc_now()

        def run() -> ConfirmationRecord:
            # An outage of Prefect, or a retry of this run, asks for no second one.
            return confirmation_of(session, began) or confirmation(study, wanted)

        record = with_prefect(session, run)
        told = confirmations(session.ledger)
        files = write_report(session.ledger, places.mlruns / "reports", told)
        log_report(session.tracker, files)
        session.tracker.flush(timeout_seconds=60)
        Steering(session).end()
        return record
