"""Train and score one code of a confirmation once more."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from nightlab.ledger import ConfirmationRecord
from nightlab.records import Replicate
from nightlab.study.confirmation import Due, confirm_once
from nightlab.study.session import Session
from tasks.finished import finished
from tasks.policy import MEASURING_DELAYS_SECONDS, may_measure


@task(
    name="confirm",
    task_run_name="confirm {due.code.value} seed {due.seed}",
    retries=len(MEASURING_DELAYS_SECONDS),
    retry_delay_seconds=MEASURING_DELAYS_SECONDS,
    retry_condition_fn=may_measure,
    cache_policy=NO_CACHE,
)
def confirm(session: Session, record: ConfirmationRecord, due: Due) -> Replicate:
    """Train with a fresh seed and score on the holdout split."""
    replicate = confirm_once(session, record, due)
    return finished(replicate, replicate.sentence)
