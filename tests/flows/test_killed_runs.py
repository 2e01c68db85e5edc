"""What Prefect shows of a session that was killed, once another one goes on."""

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Running

from flows.killed_runs import close_killed_runs

opened: dict[str, Any] = {}


@task(name="step")
def step() -> None:
    """A step whose process is killed: its end reaches no server."""


@flow(name="below")
def below() -> None:
    opened["below"] = flow_run.get_id()


@flow(name="above")
def above() -> None:
    below()
    opened["above"] = flow_run.get_id()


def session(identifier: str, *killed: str) -> Any:
    return SimpleNamespace(identifier=identifier, hold=SimpleNamespace(killed=set(killed)))


@pytest.mark.slow
def test_what_a_killed_session_left_open_is_closed_and_nothing_else(
    prefect_api: dict[str, str],
) -> None:
    with temporary_settings({PREFECT_API_URL: prefect_api["PREFECT_API_URL"]}):
        above()
        with get_client(sync_client=True) as client:

            def states() -> list[str]:
                runs = [client.read_flow_run(opened[name]) for name in ("above", "below")]
                return [run.state_name or "" for run in runs]

            under_way = client.create_task_run(
                step, opened["below"], dynamic_key="0", state=Running()
            )
            for name in ("above", "below"):
                client.set_flow_run_state(opened[name], Running(), force=True)
            close_killed_runs(session(opened["above"], opened["above"]))
            assert states() == ["Running", "Running"]
            close_killed_runs(session("x", str(uuid4()), "nightlab research"))
            assert states() == ["Running", "Running"]
            close_killed_runs(session("x", opened["above"]))
            assert states() == ["Crashed", "Crashed"]
            message = client.read_flow_run(opened["above"]).state.message
            assert message == "Its session was killed; flow run x continues it."
            assert client.read_task_run(under_way.id).state_name == "Crashed"

            client.set_flow_run_state(opened["below"], Running(), force=True)
            close_killed_runs(session("x", opened["above"]))
            assert states() == ["Crashed", "Running"]
