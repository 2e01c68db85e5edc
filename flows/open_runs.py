"""Runs that Prefect would show as running forever, because nobody was left to tell how they ended.

After SIGKILL that is so, and after an outage of the server itself. The session that continues the
study knows from its note which one was at work before, and closes what that one left open; it
closes what an outage or a suspension left open below its own run, too. What became of a trial is
in git.
"""

from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, TaskRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from flows.trial import end_state
from nightlab.ledger import Ledger
from nightlab.study.session import Session

OPEN = [
    StateType.PENDING.value,
    StateType.RUNNING.value,
    StateType.CANCELLING.value,
    StateType.PAUSED.value,
]


def close_killed_runs(session: Session) -> None:
    """Set the unfinished runs of killed sessions of the study to Crashed, with those below them.

    A run that another server had is not known here and is left alone.
    """
    why = f"Its session was killed; flow run {session.identifier} continues it."
    with get_client(sync_client=True) as client:
        for holder in session.hold.killed - {session.identifier}:
            run = _find(client, holder)
            if run is None:
                continue
            # Its worker may have told of its own end, and knows nothing of the runs below it.
            _close_below(client, session.ledger, run.id, why)
            if run.state_type is not None and run.state_type.value in OPEN:
                client.set_flow_run_state(run.id, Crashed(message=why), force=True)


def close_runs_below(session: Session) -> None:
    """Close what is open below the session's own run, while it does nothing that has one.

    So it is after an outage of the server, and where the run itself was retried or resumed.
    """
    with get_client(sync_client=True) as client:
        run = _find(client, session.identifier)
        if run is not None:
            why = "Prefect did not hear how it ended; the session went on."
            _close_below(client, session.ledger, run.id, why)


def _find(client: SyncPrefectClient, holder: str) -> FlowRun | None:
    try:
        return client.read_flow_run(UUID(holder))
    except (ValueError, ObjectNotFound):
        return None  # Held for something else than a run, or another server's.


def _close_below(client: SyncPrefectClient, ledger: Ledger, parent: UUID, why: str) -> None:
    """Close what is open below a run, the innermost first."""
    state = {"type": {"any_": OPEN}}
    below = FlowRunFilter.model_validate({"parent_flow_run_id": {"any_": [parent]}, "state": state})
    for child in client.read_flow_runs(flow_run_filter=below):
        _close_below(client, ledger, child.id, why)
        client.set_flow_run_state(child.id, _end_of(child, ledger, why), force=True)
    steps = TaskRunFilter.model_validate({"flow_run_id": {"any_": [parent]}, "state": state})
    for step in client.read_task_runs(task_run_filter=steps):
        client.set_task_run_state(step.id, Crashed(message=why), force=True)


def _end_of(run: FlowRun, ledger: Ledger, why: str) -> State[Any]:
    """How a run ended: as its trial did where that has a record."""
    number = run.parameters.get("number")
    for record in ledger.records():
        if record.number == number and run.parameters.get("study") == record.study:
            return end_state(record.decision)
    return Crashed(message=why)
