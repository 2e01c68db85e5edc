"""Give a candidate its dry run, and have what breaks mended."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from nightlab import events
from nightlab.errors import ModelError
from nightlab.records import InFlight, PreflightResult, Proposal
from nightlab.study.briefing import brief
from nightlab.study.preflight import problem_text, run_preflight
from nightlab.study.session import Session
from tasks.finished import finished
from tasks.policy import MEASURING_DELAYS_SECONDS, may_measure


@task(
    name="preflight",
    task_run_name="preflight",
    retries=len(MEASURING_DELAYS_SECONDS),
    retry_delay_seconds=MEASURING_DELAYS_SECONDS,
    retry_condition_fn=may_measure,
    cache_policy=NO_CACHE,
)
def preflight(session: Session, mark: InFlight) -> PreflightResult:
    """Train for seconds on random tokens, save, answer."""
    result = run_preflight(session, mark)
    return finished(result, f"dry run: {result.message or 'it runs'}")


# Not tried again: a candidate that is not mended is a crash, which is a result.
@task(name="repair", task_run_name="repair", cache_policy=NO_CACHE)
def repair(session: Session, mark: InFlight) -> Proposal | None:
    """Send the traceback back to the proposer; None where it has no answer."""
    proposal, result = mark.proposal, mark.preflight
    if proposal is None or result is None or not session.proposer.reads:
        return None
    try:
        with session.tracker.model_calls(mark.number):
            told = brief(session, mark)
            mended = session.proposer.repair(told, proposal, problem_text(result))
    except ModelError as error:
        text = f"Trial {mark.number} could not be sent back to its proposer: {error}"
        events.publish(events.Notice(text=text))
        return None
    return finished(mended, "no answer" if mended is None else f"mended: {mended.title}")
