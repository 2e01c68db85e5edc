"""Ask the proposer for an idea."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from nightlab.records import InFlight, Proposal
from nightlab.study.briefing import brief
from nightlab.study.prefetch import ask_ahead
from nightlab.study.session import Session
from tasks.finished import finished
from tasks.policy import MODEL_DELAYS_SECONDS, may_succeed


# Nothing is cached here: a proposal that was paid for stands in the trial's in-flight
# mark in git, where a retried or resumed trial finds it, on another machine too.
@task(
    name="propose",
    task_run_name="propose",
    retries=len(MODEL_DELAYS_SECONDS),
    retry_delay_seconds=MODEL_DELAYS_SECONDS,
    retry_condition_fn=may_succeed,
    cache_policy=NO_CACHE,
)
def propose(session: Session, mark: InFlight) -> Proposal:
    """Ask for a proposal; a model's calls become traces of the trial's run in MLflow."""
    if not session.proposer.reads:
        idea = session.proposer.propose(brief(session, mark))
    else:
        with session.tracker.model_calls(mark.number):
            idea = session.proposer.propose(brief(session, mark))
    return finished(idea, f"idea: {idea.title}")


# Not tried again: the trial asks when its turn comes.
@task(name="propose ahead", task_run_name="propose {number} ahead", cache_policy=NO_CACHE)
def propose_ahead(session: Session, number: int, under_way: InFlight) -> Proposal:
    """Ask for the next trial's idea while one trains, and keep it for that trial."""
    idea = ask_ahead(session, number, under_way)
    return finished(idea, f"idea for trial {number}: {idea.title}")
