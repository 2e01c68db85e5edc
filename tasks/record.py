"""Write a trial's record into git, and carry it to the study's remote."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from nightlab.records import Decision, InFlight, TrialRecord
from nightlab.study.recording import record_trial
from nightlab.study.session import Session
from tasks.finished import finished
from tasks.policy import GIT_DELAYS_SECONDS, REMOTE_DELAYS_SECONDS, may_succeed


@task(
    name="record",
    task_run_name="record {mark.number} {verdict.verdict.value}",
    retries=len(GIT_DELAYS_SECONDS),
    retry_delay_seconds=GIT_DELAYS_SECONDS,
    retry_condition_fn=may_succeed,
    cache_policy=NO_CACHE,
)
def record(
    session: Session, mark: InFlight, verdict: Decision, step_seconds: dict[str, float]
) -> TrialRecord:
    """Record the trial in one ref transaction; a second try starts from untouched refs."""
    written = record_trial(session, mark, verdict, step_seconds)
    return finished(written, written.decision.sentence)


@task(
    name="push",
    task_run_name="push {session.ledger.study}",
    retries=len(REMOTE_DELAYS_SECONDS),
    retry_delay_seconds=REMOTE_DELAYS_SECONDS,
    retry_condition_fn=may_succeed,
    cache_policy=NO_CACHE,
)
def push(session: Session) -> None:
    """Push the study's branch, its records and the session's heartbeat to its remote."""
    if session.remote is not None:
        session.hold.push()
