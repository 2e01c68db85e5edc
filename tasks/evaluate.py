"""Score one replicate."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from nightlab.records import Evaluation
from nightlab.study.measurement import Training, evaluate_once
from nightlab.study.session import Session
from tasks.finished import finished
from tasks.policy import MEASURING_DELAYS_SECONDS, may_measure


@task(
    name="evaluate",
    task_run_name="evaluate {training.wanted.subject.value} seed {training.seed}",
    retries=len(MEASURING_DELAYS_SECONDS),
    retry_delay_seconds=MEASURING_DELAYS_SECONDS,
    retry_condition_fn=may_measure,
    cache_policy=NO_CACHE,
)
def evaluate(session: Session, training: Training) -> Evaluation:
    """Measure val_bpb in a fresh sandbox."""
    evaluation = evaluate_once(session, training)
    return finished(evaluation, f"scored {training.label}: {evaluation.sentence}")
