"""A session of a study: prepare, baseline, then trial after trial."""

from dataclasses import dataclass

from prefect import flow

from flows.approval import hear_page
from flows.confirm import confirmation
from flows.naming import name_of_night
from flows.opening import RETRIES, RETRY_DELAY_SECONDS, with_prefect, working_session
from flows.pushing import push_or_say
from flows.session_page import show_session
from flows.telling import ended, tell_failed
from flows.trial import record_of, trial
from nightlab import events
from nightlab.errors import (
    BudgetReached,
    MachineryError,
    NightlabError,
    SessionOver,
    UsageError,
)
from nightlab.judging.scores import find_baseline
from nightlab.ledger import confirmations
from nightlab.records import Reason, TrialRecord, Verdict, utc_now
from nightlab.report.conclusion import gain_sentence
from nightlab.report.study import read_study
from nightlab.settings import SessionSettings, Settings, StudyName
from nightlab.study.beginning import begin_study
from nightlab.study.confirmation import confirmation_due
from nightlab.study.limits import Limits
from nightlab.study.patience import after_failures
from nightlab.study.prefetch import await_idea, is_prefetched
from nightlab.study.session import Session
from nightlab.study.steering import Steering
from nightlab.study.trial import baseline_proposal, keep_unanswered
from tasks.finished import result_of
from tasks.report import report

DEFAULTS = Settings()


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
    gain: str
    """What the study has gained, as a sentence."""
    gain_bpb: float | None
    mlflow: str | None
    """Address of the study's trials, where MLflow is a server."""
    experiment: str | None = None
    """MLflow's identifier of the study; None while it is away."""


@flow(
    name="research",
    flow_run_name=name_of_night,
    retries=RETRIES,
    retry_delay_seconds=RETRY_DELAY_SECONDS,
    on_failure=[tell_failed],
)
def research(
    study: StudyName = "first-light", remote: str | None = None, settings: Settings = DEFAULTS
) -> SessionSummary:
    """Run a session of a study until its number of trials, its time or its money is spent.

    Naming an existing study continues it, and a trial that was in flight is resumed. A
    retried run goes on in the same way: git says what has already happened.

    Args:
        study: name of the study; an existing one is continued, with the preset, budget and
            corpus that it was begun with.
        remote: git remote to fetch the study from and push it to, such as origin.
        settings: everything else; what is left out has its default.
    """
    with working_session(SessionSettings.of(study, remote, settings)) as session:
        summary = _session(session)
    return ended(study, summary, summary.gain, gain_bpb=summary.gain_bpb, link=summary.mlflow)


def _session(session: Session) -> SessionSummary:
    begin_study(session)
    limits, steering = Limits(session), Steering(session)
    steering.begin()
    events.publish(events.Notice(text=f"Proposer: {session.proposer_why}"))
    stopped = _trials(session, limits, steering)
    session.trials_ended_at = utc_now()
    keep_unanswered(session)
    _say_ideas_in_hand(session)
    push_or_say(session)
    _confirm_or_say(session)
    summary = _summary(session, stopped)
    steering.end()
    return summary


def _trials(session: Session, limits: Limits, steering: Steering) -> str:
    """Run trials until a limit; return the sentence on it."""
    try:
        _resume_interrupted(session, limits)
        _baseline(session)
        _hear(session, steering)
        while (stopped := limits.reached()) is None:
            _run_and_ask_ahead(session, _next_number(session), limits)
            _hear(session, steering)
    except (BudgetReached, SessionOver) as reached:
        return str(reached)
    return stopped


def _hear(session: Session, steering: Steering) -> None:
    hear_page(session)
    steering.hear()


def _confirm_or_say(session: Session) -> None:
    """Confirm the gain; a failure is said and can be resumed, and the session ends as usual."""
    if not confirmation_due(session):
        return
    study = session.ledger.study
    wanted = session.settings.confirm_replicates

    def run() -> None:
        if confirmation_due(session):  # else before Prefect's server went away
            confirmation(study, wanted, until_sure=True)

    try:
        with_prefect(session, run)
    except (MachineryError, SessionOver) as error:
        text = f"The gain is not confirmed yet: {error} `nightlab confirm {study}` continues it."
        events.publish(events.Notice(text=text))
    push_or_say(session)


def _run_and_ask_ahead(session: Session, number: int, limits: Limits) -> None:
    """Run a trial; if another follows, its idea is asked for meanwhile."""
    ledger = session.ledger
    another = session.settings.prefetch and limits.reached(under_way=1) is None
    begun = find_baseline(ledger.records()) is not None
    in_hand = any(is_prefetched(mark) and mark.number != number for mark in ledger.marks())
    try:
        _run(session, number, ask_ahead=another and begun and not in_hand)
    except NightlabError:
        await_idea(session)  # What is being answered is paid for.
        push_or_say(session)
        raise
    await_idea(session)


def _resume_interrupted(session: Session, limits: Limits) -> None:
    for mark in session.ledger.marks():
        if is_prefetched(mark):
            continue  # never begun: it is the next trial
        events.publish(events.Notice(text=f"Trial {mark.number} was interrupted: it is resumed."))
        _run_and_ask_ahead(session, mark.number, limits)


def _next_number(session: Session) -> int:
    """The trial whose idea is in hand already, or a new one."""
    waiting = session.ledger.marks()
    return waiting[0].number if waiting else session.ledger.next_number()


def _say_ideas_in_hand(session: Session) -> None:
    for mark in session.ledger.marks():
        if mark.proposal is None:
            continue
        by = " ".join(filter(None, (mark.proposal.proposer, mark.proposal.model)))
        text = f"The idea for trial {mark.number} is in hand: the next session that asks {by} "
        text += "begins with it."
        events.publish(events.Notice(text=text))


def _baseline(session: Session) -> None:
    if find_baseline(session.ledger.records()) is not None:
        return
    record = _run(session, session.ledger.next_number(), baseline=True)
    if record.verdict is Verdict.FAILED:
        raise MachineryError(
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
    session: Session, number: int, *, baseline: bool = False, ask_ahead: bool = False
) -> TrialRecord:
    ledger = session.ledger
    proposal = baseline_proposal() if baseline else None

    def run() -> TrialRecord:
        if any(record.number == number for record in ledger.records()):
            return ledger.record(number)  # before Prefect's server went away
        state = trial(ledger.study, number, proposal, ask_ahead=ask_ahead, return_state=True)
        return record_of(session, number, state)

    record = with_prefect(session, run)
    show_session(session)
    push_or_say(session)
    _stop_after_failures(session)
    return record


def _stop_after_failures(session: Session) -> None:
    patience = after_failures(session.ledger.records(), session.identifier)
    if patience.stop is not None:
        raise (UsageError if patience.fails else SessionOver)(patience.stop)


def _summary(session: Session, stopped: str) -> SessionSummary:
    session.tracker.flush(timeout_seconds=60)
    files = result_of(report(session))
    show_session(session, files.picture)
    study = read_study(session.ledger, confirmations(session.ledger))
    baseline, incumbent = study.baseline, study.incumbent
    if baseline is None or incumbent is None:
        raise RuntimeError("a session ended without a baseline")
    return SessionSummary(
        study=study.name,
        stopped=stopped,
        trials=sum(record.session == session.identifier for record in study.records),
        baseline=baseline,
        incumbent=incumbent,
        report_page=str(files.html),
        report_picture=str(files.picture),
        models=session.spending.in_words(),
        gain=gain_sentence(study),
        gain_bpb=study.gain_bpb,
        mlflow=session.tracker.study_url(),
        experiment=session.tracker.experiment_id,
    )
