"""Train a candidate once."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from nightlab.judging.decision import Subject
from nightlab.records import InFlight, TrainingResult
from nightlab.study.measurement import train_subject
from nightlab.study.session import Session
from tasks.policy import SANDBOX_DELAYS_SECONDS, may_succeed


@task(
    name="train",
    task_run_name="train {mark.number} {subject.value} seed {seed}",
    retries=len(SANDBOX_DELAYS_SECONDS),
    retry_delay_seconds=SANDBOX_DELAYS_SECONDS,
    retry_condition_fn=may_succeed,
    cache_policy=NO_CACHE,
)
def train(session: Session, mark: InFlight, subject: Subject, seed: int) -> TrainingResult:
    """Train for the budget in the sandbox. The host keeps the clock, not this task."""
    return train_subject(session, mark, subject, seed)
