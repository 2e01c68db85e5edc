"""Score one replicate."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from nightlab.judging.decision import Subject
from nightlab.records import Evaluation, InFlight
from nightlab.study.measurement import evaluate_subject
from nightlab.study.session import Session
from tasks.policy import SANDBOX_DELAYS_SECONDS, may_succeed


@task(
    name="evaluate",
    task_run_name="evaluate {mark.number} {subject.value} seed {seed}",
    retries=len(SANDBOX_DELAYS_SECONDS),
    retry_delay_seconds=SANDBOX_DELAYS_SECONDS,
    retry_condition_fn=may_succeed,
    cache_policy=NO_CACHE,
)
def evaluate(session: Session, mark: InFlight, subject: Subject, seed: int) -> Evaluation:
    """Measure val_bpb in a fresh sandbox."""
    return evaluate_subject(session, mark, subject, seed)
