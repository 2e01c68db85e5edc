"""Write a trial's record into git."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from nightlab.records import Decision, InFlight, TrialRecord
from nightlab.study.recording import record_trial
from nightlab.study.session import Session
from tasks.finished import finished
from tasks.policy import GIT_DELAYS_SECONDS, may_succeed


@task(
    name="record",
    task_run_name="decide: {verdict.verdict.value}",
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
    return finished(written, f"recorded: {verdict.verdict.value} ({verdict.reason.value})")
