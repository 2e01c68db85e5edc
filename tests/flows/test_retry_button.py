"""Retry on Prefect's page, of a session that crashed, was cancelled or failed: it goes on."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from nightlab.ledger import Ledger
from nightlab.records import Reason
from tests.conftest import git
from tests.flows.conftest import LATEST_SECONDS, ended, run_prefect, start_run, worker

STUDY = "on-demand"


@pytest.mark.slow
@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "on another machine"])
def test_retry_goes_on_with_a_session_however_it_ended(
    fleet: dict[str, str], hub: Path, tmp_path: Path, elsewhere: bool
) -> None:
    away, remote = tmp_path / "away.git", tmp_path / "hub.git"
    ledger = Ledger(remote, STUDY)
    settings = {"preset": "quick", "proposer": "knobs", "trials": 2, "confirm_replicates": 0}
    # Tokens, since other work on the machine is no end of them.
    budget = {"budget_tokens": 20_000, "startup_seconds": 300, "push_hours": 0}
    given = json.dumps(settings | budget)
    with machine(fleet, tmp_path, 0):
        run = start_run(fleet, hub, "research/on-demand", "--param", f"settings={given}")
        name = under_way(fleet, ledger, run, 1)
        kill_engine(run)
        assert ended(fleet, run)["state_type"] == "CRASHED"
    with machine(fleet, tmp_path, 1 * elsewhere):
        set_state(fleet, run, RETRY)
        assert under_way(fleet, ledger, run, 2) == name, "it is the same night"
        set_state(fleet, run, {"type": "CANCELLING"})
        assert ended(fleet, run)["state_type"] == "CANCELLED"
    with machine(fleet, tmp_path, 2 * elsewhere):
        set_state(fleet, run, RETRY)
        under_way(fleet, ledger, run, 2)
        remote.rename(away)
        failed = ended(fleet, run)
        away.rename(remote)
        assert failed["state_type"] == "FAILED", failed["state"]
        assert "--push-hours" in failed["state"]["message"]
    with machine(fleet, tmp_path, 3 * elsewhere):
        set_state(fleet, run, RETRY)
        completed = ended(fleet, run)
    assert completed["state_type"] == "COMPLETED", completed["state"]
    assert completed["run_count"] == 4
    records = ledger.records()
    assert [record.number for record in records] == [0, 1, 2], "as many as were asked for"
    assert {record.session for record in records} == {run}
    assert records[0].reason is Reason.BASELINE
    assert ledger.marks() == ()
    assert git(remote, "fsck", "--strict", "--no-dangling") == ""


RETRY = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}
"""What the button asks for."""


def set_state(environment: dict[str, str], run: str, state: dict[str, str]) -> None:
    """Ask for a state as Prefect's page does."""
    address = f"{environment['PREFECT_API_URL']}/flow_runs/{run}/set_state"
    answer = httpx.post(address, json={"state": state, "force": False}, timeout=30)
    assert answer.raise_for_status().json()["status"] == "ACCEPT", answer.text


@contextmanager
def machine(environment: dict[str, str], folder: Path, number: int) -> Iterator[None]:
    """A worker with the caches and the clones of a machine."""
    own = folder / f"machine-{number}"
    (own / "tmp").mkdir(parents=True, exist_ok=True)
    places = {"NIGHTLAB_CACHE": str(own / "cache"), "TMPDIR": str(own / "tmp")}
    run_prefect(environment, folder, "work-pool", "resume", "gpu")
    with worker({**environment, **places}, folder):
        yield


def under_way(environment: dict[str, str], ledger: Ledger, run: str, number: int) -> str:
    """Wait until a run is at work on a trial, as the remote sees it; give the run's name."""

    def is_under_way() -> bool:
        marks = {mark.number: mark for mark in ledger.marks()}
        return number in marks and marks[number].attempts > known

    known = {mark.number: mark.attempts for mark in ledger.marks()}.get(number, 0)
    await_that(is_under_way, f"trial {number}")
    address = f"{environment['PREFECT_API_URL']}/flow_runs/{run}"
    return str(httpx.get(address, timeout=30).json()["name"])


def await_that(condition: Callable[[], bool], what: str) -> None:
    """Wait for something."""
    deadline = time.monotonic() + LATEST_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.5)


def kill_engine(run: str) -> None:
    """SIGKILL for the process that works on a run: the eldest that has its identifier."""
    wanted = f"PREFECT__FLOW_RUN_ID={run}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue  # it ended meanwhile
    os.kill(min(found), signal.SIGKILL)
