"""The policies that several tasks share.

A candidate's crash is a result and never reaches these: only failures of the machinery
are raised, and only those are tried again.
"""

from typing import Any

from prefect.client.schemas.objects import State, TaskRun

from nightlab.errors import BudgetReached, MachineryError, ModelRefused

MODEL_DELAYS_SECONDS = [2.0, 10.0, 30.0]
GIT_DELAYS_SECONDS = [0.5, 2.0, 10.0]
REMOTE_DELAYS_SECONDS = [1.0, 5.0]
SANDBOX_DELAYS_SECONDS = [2.0]


def may_succeed(_task: Any, _run: TaskRun, state: State[Any]) -> bool:
    """Say whether another try can help: the machinery failed, and did not refuse for good."""
    error = state.result(raise_on_failure=False)
    final = ModelRefused | BudgetReached
    return isinstance(error, MachineryError) and not isinstance(error, final)
