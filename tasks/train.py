"""Train a candidate once."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from nightlab.records import TrainingResult
from nightlab.study.measurement import Training, train_once
from nightlab.study.session import Session
from tasks.finished import finished
from tasks.policy import MEASURING_DELAYS_SECONDS, may_measure


@task(
    name="train",
    task_run_name="train {training.wanted.subject.value} seed {training.seed}",
    retries=len(MEASURING_DELAYS_SECONDS),
    retry_delay_seconds=MEASURING_DELAYS_SECONDS,
    retry_condition_fn=may_measure,
    cache_policy=NO_CACHE,
)
def train(session: Session, training: Training) -> TrainingResult:
    """Train for the budget in the sandbox. The host keeps the clock, not this task."""
    result = train_once(session, training)
    return finished(result, f"trained {training.label}: {result.sentence}")
