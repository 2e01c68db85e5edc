"""What Prefect shows of a session that was killed, or of an outage, once the study goes on."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import flow, task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Paused, Running

from flows.open_runs import close_killed_runs, close_runs_below
from nightlab.ledger import Ledger
from nightlab.records import Proposal, Verdict
from tests.session_samples import STUDY, finish_trial, sample_session

opened: dict[str, UUID] = {}


@task(name="step")
def step() -> None:
    """A step whose process is killed: its end reaches no server."""


@flow(name="trial")
def below(study: str, number: int) -> None:
    opened[f"trial {number}"] = UUID(flow_run.get_id())


@flow(name="above")
def above() -> None:
    below(STUDY, 0)
    below(STUDY, 1)
    opened["above"] = UUID(flow_run.get_id())


class Server:
    """A server that shows a session, its trials 0 and 1, and a step of the second as running."""

    def __init__(self, client: SyncPrefectClient) -> None:
        self._client = client
        above()
        self.step = client.create_task_run(
            step, opened["trial 1"], dynamic_key="0", state=Running()
        ).id
        for run in opened.values():
            self.open(run)

    def open(self, run: UUID, state: Any = None) -> None:
        self._client.set_flow_run_state(run, state or Running(), force=True)

    def states(self) -> list[str]:
        runs = [self._client.read_flow_run(opened[name]) for name in sorted(opened)]
        steps = [self._client.read_task_run(self.step)]
        return [str(run.state_name) for run in [*runs, *steps]]

    def message(self, run: str) -> str:
        return str(self._client.read_flow_run(opened[run]).state.message)  # type: ignore[union-attr]


@pytest.fixture
def server(prefect_api: dict[str, str]) -> Iterator[Server]:
    with (
        temporary_settings({PREFECT_API_URL: prefect_api["PREFECT_API_URL"]}),
        get_client(sync_client=True) as client,
    ):
        yield Server(client)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Trial 0 has failed, trial 1 has no record."""
    session = sample_session(tmp_path / "clone")
    finish_trial(session, Proposal(title="baseline", proposer="baseline"), Verdict.FAILED)
    found: Ledger = session.ledger
    return found


def session(ledger: Ledger, identifier: str, *killed: str) -> Any:
    hold = SimpleNamespace(killed=set(killed))
    return SimpleNamespace(identifier=identifier, hold=hold, ledger=ledger)


@pytest.mark.slow
def test_what_a_killed_session_left_open_is_closed_and_nothing_else(
    server: Server, ledger: Ledger
) -> None:
    own = str(opened["above"])
    close_killed_runs(session(ledger, own, own))
    close_killed_runs(session(ledger, "x", str(uuid4()), "nightlab research"))
    assert server.states() == ["Running"] * 4
    close_killed_runs(session(ledger, "x", own))
    # Above, the trial that has a record, the one that has none, and its step.
    assert server.states() == ["Crashed", "Failed", "Crashed", "Crashed"]
    assert server.message("above") == "Its session was killed; flow run x continues it."
    assert server.message("trial 0").startswith("failed (")

    # A worker told of the end of the run itself, and of none below it.
    server.open(opened["trial 1"])
    close_killed_runs(session(ledger, "x", own))
    assert server.states() == ["Crashed", "Failed", "Crashed", "Crashed"]
    assert server.message("above") == "Its session was killed; flow run x continues it."


@pytest.mark.slow
@pytest.mark.parametrize("state", [Running(), Paused()])
def test_what_an_outage_or_a_pause_left_open_below_a_run_is_closed_and_the_run_goes_on(
    server: Server, ledger: Ledger, state: Any
) -> None:
    server.open(opened["trial 1"], state)
    close_runs_below(session(ledger, str(opened["above"])))
    assert server.states() == ["Running", "Failed", "Crashed", "Crashed"]
    close_runs_below(session(ledger, "of another server"))
