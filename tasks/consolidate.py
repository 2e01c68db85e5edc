"""Train and score one code of a consolidation once more."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from nightlab.ledger import ConsolidationRecord
from nightlab.records import Replicate
from nightlab.study.consolidation import Due, consolidate_once
from nightlab.study.session import Session
from tasks.finished import finished
from tasks.policy import MEASURING_DELAYS_SECONDS, may_measure


@task(
    name="consolidate",
    task_run_name="{due.code} seed {due.seed}",
    retries=len(MEASURING_DELAYS_SECONDS),
    retry_delay_seconds=MEASURING_DELAYS_SECONDS,
    retry_condition_fn=may_measure,
    cache_policy=NO_CACHE,
)
def consolidate(session: Session, record: ConsolidationRecord, due: Due) -> Replicate:
    """Train with a fresh seed and score on ``val``."""
    replicate = consolidate_once(session, record, due)
    return finished(replicate, replicate.sentence)
