"""A session of a study: prepare, baseline, then trial after trial."""

import time
from dataclasses import dataclass

from prefect import flow
from prefect.runtime import flow_run

from flows.confirm import confirmation
from flows.keys import read_api_key
from flows.killed_runs import close_killed_runs
from flows.progress import session_progress
from flows.pushing import push_or_say
from flows.trial import record_of, trial
from nightlab import events
from nightlab.errors import (
    BudgetReached,
    MachineryError,
    NightlabError,
    UsageError,
)
from nightlab.judging.scores import find_baseline, standing_record
from nightlab.records import Reason, TrialRecord, Verdict
from nightlab.settings import Places, SessionSettings
from nightlab.study.confirmation import confirmation_due
from nightlab.study.limits import Limits
from nightlab.study.patience import after_failures
from nightlab.study.prefetch import Prefetch, is_prefetched
from nightlab.study.session import Session, begin_study, open_session
from nightlab.study.steering import Steering
from nightlab.study.trial import baseline_proposal, keep_unanswered
from tasks.prepare import prepare
from tasks.report import report, show_trials

DEFAULTS = SessionSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSummary:
    """How a session ended."""

    study: str
    stopped: str
    """Why it stopped, as a sentence."""
    trials: int
    """Trials that this session recorded, the baseline included."""
    baseline: TrialRecord
    incumbent: TrialRecord
    report_page: str
    report_picture: str
    models: str | None
    """What models cost, in words; None where none was asked."""


@flow(name="research", flow_run_name="{settings.study}")
def research(settings: SessionSettings = DEFAULTS) -> SessionSummary:
    """Run a session of a study until its number of trials, its time or its money is spent.

    Naming an existing study continues it, and a trial that was in flight is resumed. A
    retried run goes on in the same way: git says what has already happened.
    """
    key = read_api_key(settings.api_key_secret)
    identifier = flow_run.get_id() or ""
    with open_session(settings, Places.find(), identifier=identifier, api_key=key) as session:
        return _session(session)


def _session(session: Session) -> SessionSummary:
    with session_progress(session):
        close_killed_runs(session)
        prepare(session)
        begin_study(session)
        limits, steering = Limits(session), Steering(session)
        steering.begin()
        events.publish(events.Notice(text=f"Proposer: {session.proposer_why}"))
        prefetch = Prefetch(session)
        stopped = _trials(session, limits, prefetch, steering)
        keep_unanswered(session)
        _say_ideas_in_hand(session)
        push_or_say(session)
        _confirm_or_say(session)
        summary = _summary(session, stopped)
        steering.end()
        return summary


def _trials(session: Session, limits: Limits, prefetch: Prefetch, steering: Steering) -> str:
    """Run trials until a limit; return the sentence on it."""
    try:
        _resume_interrupted(session, limits, prefetch)
        _baseline(session)
        steering.hear()
        while (stopped := limits.reached()) is None:
            _run_and_ask_ahead(session, _next_number(session), limits, prefetch)
            steering.hear()
    except BudgetReached as reached:
        return str(reached)
    return stopped


def _confirm_or_say(session: Session) -> None:
    """Confirm the gain; a failure is said and can be resumed, and the session ends as usual."""
    if not confirmation_due(session):
        return
    study = session.ledger.study
    try:
        confirmation(session, study, session.settings.confirm_replicates, until_sure=True)
    except MachineryError as error:
        text = f"The gain is not confirmed yet: {error} `nightlab confirm {study}` continues it."
        events.publish(events.Notice(text=text))
    push_or_say(session)


def _run_and_ask_ahead(session: Session, number: int, limits: Limits, prefetch: Prefetch) -> None:
    """Run a trial; if another follows, its idea is asked for meanwhile."""
    ledger = session.ledger
    another = session.settings.prefetch and limits.reached(under_way=1) is None
    begun = find_baseline(ledger.records()) is not None
    in_hand = any(is_prefetched(mark) and mark.number != number for mark in ledger.marks())
    try:
        _run(session, number, prefetch=prefetch if another and begun and not in_hand else None)
    except NightlabError:
        prefetch.wait()  # What is being answered is paid for.
        push_or_say(session)
        raise
    prefetch.wait()


def _resume_interrupted(session: Session, limits: Limits, prefetch: Prefetch) -> None:
    for mark in session.ledger.marks():
        if is_prefetched(mark):
            continue  # never begun: it is the next trial
        events.publish(events.Notice(text=f"Trial {mark.number} was interrupted: it is resumed."))
        _run_and_ask_ahead(session, mark.number, limits, prefetch)


def _next_number(session: Session) -> int:
    """The trial whose idea is in hand already, or a new one."""
    waiting = session.ledger.marks()
    return waiting[0].number if waiting else session.ledger.next_number()


def _say_ideas_in_hand(session: Session) -> None:
    for mark in session.ledger.marks():
        if mark.proposal is None:
            continue
        text = f"The idea for trial {mark.number} is in hand: the next session begins with it."
        events.publish(events.Notice(text=text))


def _baseline(session: Session) -> None:
    if find_baseline(session.ledger.records()) is not None:
        return
    record = _run(session, session.ledger.next_number(), baseline=True)
    if record.verdict is Verdict.FAILED:
        raise UsageError(
            f"The baseline of study {record.study!r} was not trained: {record.decision.sentence} "
            "Mend that, then run the same command again."
        )
    if record.reason is not Reason.BASELINE:
        raise UsageError(
            f"The baseline of study {record.study!r} did not train, so there is nothing to improve "
            f"on: {record.decision.sentence} (`nightlab show {record.study} {record.number}`). "
            "Mend and commit trainer/train.py, then begin another study: this one keeps its start."
        )


def _run(
    session: Session, number: int, *, baseline: bool = False, prefetch: Prefetch | None = None
) -> TrialRecord:
    ledger = session.ledger
    proposal = baseline_proposal() if baseline else None
    state = trial(session, ledger.study, number, proposal, prefetch=prefetch, return_state=True)
    record = record_of(session, number, state)
    show_trials(ledger.study, ledger.records(), session.tracker.run_url(number))
    push_or_say(session)
    _pause_or_stop(session)
    return record


def _pause_or_stop(session: Session) -> None:
    patience = after_failures(session.ledger.records(), session.identifier)
    if patience.stop is not None:
        raise UsageError(patience.stop)
    if patience.pause_seconds:
        text = f"No model answers: the next trial begins in {patience.pause_seconds:.0f} s."
        events.publish(events.Notice(text=text))
        time.sleep(patience.pause_seconds)


def _summary(session: Session, stopped: str) -> SessionSummary:
    session.tracker.flush(timeout_seconds=60)
    files = report(session)
    records = session.ledger.records()
    baseline, incumbent = find_baseline(records), standing_record(records)
    if baseline is None or incumbent is None:
        raise RuntimeError("a session ended without a baseline")
    return SessionSummary(
        study=session.ledger.study,
        stopped=stopped,
        trials=sum(record.session == session.identifier for record in records),
        baseline=baseline,
        incumbent=incumbent,
        report_page=str(files.html),
        report_picture=str(files.png),
        models=session.spending.in_words(),
    )
