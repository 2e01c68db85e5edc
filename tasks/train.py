"""Train a candidate once."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from nightlab.records import TrainingResult
from nightlab.study.measurement import Training, train_once
from nightlab.study.session import Session
from tasks.policy import SANDBOX_DELAYS_SECONDS, may_succeed


@task(
    name="train",
    task_run_name="train {training.label}",
    retries=len(SANDBOX_DELAYS_SECONDS),
    retry_delay_seconds=SANDBOX_DELAYS_SECONDS,
    retry_condition_fn=may_succeed,
    cache_policy=NO_CACHE,
)
def train(session: Session, training: Training) -> TrainingResult:
    """Train for the budget in the sandbox. The host keeps the clock, not this task."""
    return train_once(session, training)
