"""Tasks side by side, each in a thread of Prefect's."""

from collections.abc import Sequence
from typing import TypeVar

from prefect.futures import PrefectFuture, wait

from nightlab.study.session import Session

Result = TypeVar("Result")


def results_of(session: Session, running: Sequence[PrefectFuture[Result]]) -> list[Result]:
    """What tasks of the session give back, once all of them are over.

    What one of them raises is raised then, so that none goes on beside whatever follows. Where
    the wait is interrupted (Ctrl-C, a run that is cancelled), their jobs are ended: Prefect
    waits for its threads, and those would train to the end of their budget.
    """
    try:
        wait(list(running))
    except BaseException:
        session.sandbox.end_jobs()
        raise
    return [each.result() for each in running]
