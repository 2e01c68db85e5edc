"""The policies that several tasks share.

A candidate's crash is a result and never reaches these: only failures of the machinery
are raised, and only those are tried again.
"""

from typing import Any

from prefect.client.schemas.objects import State, TaskRun

from nightlab.errors import BudgetReached, MachineBusy, MachineryError, ModelRefused, NoEdit
from nightlab.proposers import EndpointError

MODEL_DELAYS_SECONDS = [2.0, 10.0, 30.0]
GIT_DELAYS_SECONDS = [0.5, 2.0, 10.0]
SANDBOX_DELAYS_SECONDS = [2.0]
MEASURING_DELAYS_SECONDS = [*SANDBOX_DELAYS_SECONDS, 30.0, 60.0, 120.0, 300.0, 600.0, 600.0, 600.0]
"""For trainings and evaluations: what goes beyond the first is for a machine that is busy with
other work, which ends, within most of an hour."""


def may_succeed(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    """Say whether another try can help: the machinery failed, and did not refuse for good.

    An agent is not run again at once: each of its runs is paid for.
    """
    error = state.result(raise_on_failure=False)
    final = ModelRefused | BudgetReached | NoEdit
    if not isinstance(error, MachineryError) or isinstance(error, final):
        return False
    # Who says when to come back is waited for by the session.
    asked = error.retry_after_seconds if isinstance(error, EndpointError) else None
    return (asked or 0.0) <= sum(MODEL_DELAYS_SECONDS)


def may_measure(task: Any, run: TaskRun, state: State[Any]) -> bool:
    """Say whether a training or an evaluation is tried again: more often where the machine is busy.

    A broken sandbox is tried once more; other work on the machine is waited for.
    """
    if not may_succeed(task, run, state):
        return False
    is_busy = isinstance(state.result(raise_on_failure=False), MachineBusy)
    return is_busy or run.run_count <= len(SANDBOX_DELAYS_SECONDS)
