"""What could a study do without? Each kept change left out, in pairs with the incumbent."""

from collections.abc import Sequence
from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.opening import RETRIES, RETRY_DELAY_SECONDS, with_prefect, working_session
from flows.pushing import push_or_say
from flows.rounds import measure_rounds, settings_of
from flows.telling import ended, tell_failed
from nightlab import events
from nightlab.errors import RemoteError
from nightlab.judging.consolidating import FEWEST_PAIRS, MOST_PAIRS
from nightlab.ledger import ConsolidationRecord, Ledger, offered_commits
from nightlab.settings import StudyName
from nightlab.study.consolidation import (
    Due,
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
from nightlab.study.steering import Steering
from tasks.consolidate import consolidate as train_code
from tasks.finished import finished


@flow(name="consolidation", flow_run_name="consolidate {study}")
def consolidation(study: str, pairs: int) -> ConsolidationRecord:
    """Train round by round, or resume where a kill cut in; then say what came out.

    If a person asks the session to stop, it is left to be resumed.
    """
    session = current_session()

    def begun(record: ConsolidationRecord, due: Sequence[Due]) -> events.StepBegun:
        return events.StepBegun(
            study=study,
            number=record.incumbent_trial,
            step="consolidate",
            title=", ".join(each.code for each in due),
            seed=due[0].seed,
        )

    record, is_done = measure_rounds(
        session,
        begin_consolidation(session, pairs),
        next_round=next_round,
        begun=begun,
        train=train_code,
        add=add_trained,
    )
    if not is_done:
        return record
    record = finish_consolidation(session, record)
    session.tracker.consolidated(record)
    events.publish(events.Notice(text=record.sentence))
    return finished(record, record.sentence)


@flow(
    name="consolidate",
    flow_run_name="consolidate {study}",
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAY_SECONDS,
    on_failure=[tell_failed],
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
    ledger, settings = settings_of(study, remote, check_consolidatable)
    known = latest_consolidation(ledger)
    if known is not None and known.finished_at is not None and not again:
        _offer_or_say(ledger, known)
        return ended(study, known, known.sentence)
    with working_session(settings) as session:
        session.trials_ended_at = session.began
        # An outage of Prefect, or a retry of this run, asks for no second one.
        record = with_prefect(
            session, lambda: consolidation_of(session) or consolidation(study, pairs)
        )
        _offer_or_say(session.ledger, record)
        session.tracker.flush(timeout_seconds=60)
        push_or_say(session)
        _push_branch_or_say(session, record)
        Steering(session).end()
    return ended(study, record, record.sentence)


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
