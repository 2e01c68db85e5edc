"""What could a study do without? Each kept change left out, in pairs with the incumbent."""

from functools import partial
from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.opening import RETRIES, RETRY_DELAY_SECONDS, fetched_study, with_prefect, working_session
from flows.pushing import push_or_say
from flows.side_by_side import outcomes_of
from nightlab import events
from nightlab.errors import RemoteError
from nightlab.judging.consolidating import FEWEST_PAIRS, MOST_PAIRS
from nightlab.ledger import ConsolidationRecord, Ledger, offered_commits
from nightlab.records import utc_now
from nightlab.settings import WITHOUT_IDEAS, Places, StudyName, recorded_settings
from nightlab.study.consolidation import (
    add_trained,
    begin_consolidation,
    consolidation_of,
    finish_consolidation,
    latest_consolidation,
    next_round,
    offer,
)
from nightlab.study.consolidation_codes import check_consolidatable
from nightlab.study.session import Session, current_session
from nightlab.study.steering import Steering, stop_asked_since
from tasks.consolidate import consolidate as train_code


@flow(name="consolidation", flow_run_name="consolidate {study}")
def consolidation(study: str, pairs: int) -> ConsolidationRecord:
    """Train round by round, or resume where a kill cut in; then say what came out.

    If a person asks the session to stop, it is left to be resumed.
    """
    session, began = current_session(), utc_now()
    record = begin_consolidation(session, pairs)
    while due := next_round(session, record):
        if stop_asked_since(session, began):
            text = f"Asked to stop: `nightlab consolidate {study}` goes on with it."
            events.publish(events.Notice(text=text))
            return record
        events.publish(
            events.StepBegun(
                study=study,
                number=record.incumbent_trial,
                step="consolidate",
                title=", ".join(each.code for each in due),
                seed=due[0].seed,
            )
        )
        submits = [partial(train_code.submit, session, record, each) for each in due]
        outcomes = outcomes_of(session, submits)
        trained = [
            (each, result)
            for each, result in zip(due, outcomes.results, strict=True)
            if result is not None
        ]
        record = add_trained(session, record, trained)
        outcomes.require_all()
        push_or_say(session)
    record = finish_consolidation(session, record)
    session.tracker.consolidated(record)
    events.publish(events.Notice(text=record.sentence))
    return record


@flow(
    name="consolidate",
    flow_run_name="consolidate {study}",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAY_SECONDS,
)
def consolidate(
    study: StudyName,
    pairs: Annotated[int, Field(ge=FEWEST_PAIRS)] = MOST_PAIRS,
    again: bool = False,
    remote: str | None = None,
) -> ConsolidationRecord:
    """Leave one kept change out at a time, and offer the code without those that bring nothing.

    Args:
        study: its name.
        pairs: the most pairs of trainings for each change.
        again: begin anew with fresh seeds, where the incumbent has been consolidated already.
        remote: git remote to fetch the study from and push it to.
    """
    places = Places.find()
    with fetched_study(study, remote, places) as ledger:
        records = ledger.records()
        check_consolidatable(study, records)
        settings = recorded_settings(records[-1].settings)
    known = latest_consolidation(ledger)
    if known is not None and known.finished_at is not None and not again:
        _offer_or_say(ledger, known)
        return known
    # No model is asked for anything here, so none has to be reachable.
    changes = {**WITHOUT_IDEAS, "study": study, "remote": remote or settings.remote}
    settings = settings.model_copy(update=changes)
    with working_session(settings) as session:
        began = utc_now()

        def run() -> ConsolidationRecord:
            # An outage of Prefect, or a retry of this run, asks for no second one.
            return consolidation_of(session, began) or consolidation(study, pairs)

        record = with_prefect(session, run)
        _offer_or_say(session.ledger, record)
        session.tracker.flush(timeout_seconds=60)
        push_or_say(session)
        _push_branch_or_say(session, record)
        Steering(session).end()
        return record


def _offer_or_say(ledger: Ledger, record: ConsolidationRecord) -> None:
    problem = offer(ledger, record)
    if problem is not None:
        events.publish(events.Notice(text=problem))


def _push_branch_or_say(session: Session, record: ConsolidationRecord) -> None:
    """Push the branch that is offered: a worker's clone may be gone with the worker."""
    commit, remote = record.consolidated_commit, session.remote
    if commit is None or remote is None:
        return
    branch = f"{session.ledger.branch}-consolidated"
    try:
        stands = remote.push_consolidated(commit, offered_commits(session.ledger))
    except RemoteError as error:
        events.publish(events.Notice(text=f"Branch {branch} is not pushed: {error}"))
        return
    if not stands:
        text = f"Branch {branch} at remote {remote.name!r} is not this study's, so it stays."
        events.publish(events.Notice(text=text))
