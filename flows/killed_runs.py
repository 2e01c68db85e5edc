"""Runs that Prefect would show as running forever, because their session was killed.

After SIGKILL nobody is left to tell the server. The session that continues the study knows from
its note which one was at work before, and closes what that one left open.
"""

from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from nightlab.study.session import Session

OPEN = [StateType.PENDING.value, StateType.RUNNING.value, StateType.CANCELLING.value]


def close_killed_runs(session: Session) -> None:
    """Set the unfinished runs of killed sessions of the study to Crashed, with those below them.

    A run that is retried after a kill is the session's own, and a run that another server
    had is not known here: both are left alone.
    """
    with get_client(sync_client=True) as client:
        for holder in session.hold.killed - {session.identifier}:
            run = _find(client, holder)
            if run is not None and run.state_type is not None and run.state_type.value in OPEN:
                _close(client, run, session.identifier)


def _find(client: SyncPrefectClient, holder: str) -> FlowRun | None:
    try:
        return client.read_flow_run(UUID(holder))
    except (ValueError, ObjectNotFound):
        return None  # Held for something else than a run, or another server's.


def _close(client: SyncPrefectClient, run: FlowRun, successor: str) -> None:
    """Close a run and what is open below it, the innermost first."""
    crashed: State[Any] = Crashed(
        message=f"Its session was killed; flow run {successor} continues it."
    )
    state = {"type": {"any_": OPEN}}
    below = FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": [run.id]}, "state": state})
    for child in client.read_flow_runs(flow_run_filter=below):
        _close(client, child, successor)
    steps = TaskRunFilter.model_validate({"flow_run_id": {"any_": [run.id]}, "state": state})
    for step in client.read_task_runs(task_run_filter=steps):
        client.set_task_run_state(step.id, crashed, force=True)
    client.set_flow_run_state(run.id, crashed, force=True)
