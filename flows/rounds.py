"""What is measured beside the trials, in rounds: a gain that is confirmed, a study consolidated."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from prefect import Task

from flows.opening import fetched_study
from flows.pushing import push_or_say
from flows.side_by_side import outcomes_of
from nightlab import events
from nightlab.errors import SessionOver
from nightlab.ledger import Ledger
from nightlab.records import Replicate, TrialRecord
from nightlab.settings import WITHOUT_IDEAS, Places, SessionSettings, StudyName, recorded_settings
from nightlab.study.session import Session
from nightlab.study.steering import require_no_stop

Record = TypeVar("Record")
Due = TypeVar("Due")


def measure_rounds(
    session: Session,
    record: Record,
    *,
    next_round: Callable[[Session, Record], Sequence[Due]],
    begun: Callable[[Record, Sequence[Due]], events.StepBegun],
    train: Task[[Session, Record, Due], Replicate],
    add: Callable[[Session, Record, list[tuple[Due, Replicate]]], Record],
) -> tuple[Record, bool]:
    """Train round by round, side by side; return what is due and whether all of it is done.

    If a person asks the session to stop, the rest is left for another time, which is said.

    Args:
        session: at work.
        record: as far as it is.
        next_round: what to train next; empty when all is done.
        begun: tells what a round is for.
        train: the task that trains and scores one code.
        add: moves the record forward by a round, in git.
    """
    step = ""
    while due := next_round(session, record):
        told = begun(record, due)
        step = told.step
        try:
            require_no_stop(session)
            events.publish(told)
            outcomes = outcomes_of(
                session, [partial(train.submit, session, record, each) for each in due]
            )
            measured = [
                (each, result)
                for each, result in zip(due, outcomes.results, strict=True)
                if result is not None
            ]
            record = add(session, record, measured)
            outcomes.require_all()
        except SessionOver as over:
            text = f"{over} `nightlab {step} {session.ledger.study}` goes on with it."
            events.publish(events.Notice(text=text))
            return record, False
        push_or_say(session)
    return record, True


def settings_of(
    study: StudyName,
    remote: str | None,
    check: Callable[[str, tuple[TrialRecord, ...]], Any],
) -> tuple[Ledger, SessionSettings]:
    """A study as it stands, and the settings of its latest trial for what asks no model.

    So none has to be reachable.

    Raises:
        UsageError: ``check`` says that there is nothing to do.
    """
    with fetched_study(study, remote, Places.find()) as ledger:
        records = ledger.records()
        check(study, records)
        settings = recorded_settings(records[-1].settings)
    changes = {**WITHOUT_IDEAS, "study": study, "remote": remote or settings.remote}
    return ledger, settings.model_copy(update=changes)
