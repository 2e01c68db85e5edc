"""Score one replicate."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from nightlab.records import Evaluation, InFlight
from nightlab.session import Session
from nightlab.trial import evaluate_candidate
from tasks.policy import SANDBOX_DELAYS_SECONDS, may_pass


@task(
    name="evaluate",
    task_run_name="evaluate {mark.number} seed {seed}",
    retries=len(SANDBOX_DELAYS_SECONDS),
    retry_delay_seconds=SANDBOX_DELAYS_SECONDS,
    retry_condition_fn=may_pass,
    cache_policy=NO_CACHE,
)
def evaluate(session: Session, mark: InFlight, seed: int) -> Evaluation:
    """Measure val_bpb in a fresh sandbox."""
    return evaluate_candidate(session, mark, seed)
