"""Ask the proposer for an idea."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from nightlab.records import InFlight, Proposal
from nightlab.study.briefing import brief
from nightlab.study.session import Session
from tasks.policy import MODEL_DELAYS_SECONDS, may_succeed


# Nothing is cached here: a proposal that was paid for stands in the trial's in-flight
# mark in git, where a retried or resumed trial finds it, on another machine too.
@task(
    name="propose",
    task_run_name="propose {mark.number}",
    retries=len(MODEL_DELAYS_SECONDS),
    retry_delay_seconds=MODEL_DELAYS_SECONDS,
    retry_condition_fn=may_succeed,
    cache_policy=NO_CACHE,
)
def propose(session: Session, mark: InFlight) -> Proposal:
    """Ask for a proposal; a model's calls become traces of the trial's run in MLflow."""
    if not session.proposer.reads:
        return session.proposer.propose(brief(session, mark))
    with session.tracker.model_calls(mark.number):
        return session.proposer.propose(brief(session, mark))
