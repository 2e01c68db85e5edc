"""Deployments on a real server with a real worker, and a schedule that must really fire."""

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from flows.deployment import describe_clone
from nightlab.errors import UsageError
from nightlab.ledger import Ledger
from nightlab.records import Reason
from nightlab.sandbox.driver import may_have_gpu
from tests.conftest import git
from tests.flows.conftest import (
    SHORT,
    await_log,
    ended,
    log_of,
    run_prefect,
    start_run,
    worker,
)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://me:secret@example.org/lab.git", "https://example.org/lab.git"),
        ("https://me:se/cr@et@example.org/lab.git", "https://example.org/lab.git"),
        ("ssh://git:secret@example.org:22/lab.git", "ssh://git@example.org:22/lab.git"),
        ("ssh://git@example.org/lab.git", "ssh://git@example.org/lab.git"),
        ("ssh://example.org/lab.git", "ssh://example.org/lab.git"),
        ("git@example.org:me/lab.git", "git@example.org:me/lab.git"),
    ],
)
def test_a_password_in_the_remotes_address_does_not_reach_the_deployment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, shown: str
) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "remote", "add", "origin", address)
    monkeypatch.chdir(tmp_path)
    described = describe_clone()
    assert described["repository"] == shown
    assert described["branch"] == "main"
    assert described["timezone"]


def test_a_clone_without_origin_cannot_be_deployed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="git remote add origin"):
        describe_clone()


def test_a_schedule_is_not_made_for_utc_where_the_zone_has_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "remote", "add", "origin", "https://example.org/lab.git")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    with pytest.raises(UsageError, match="TZ=Europe/Berlin"):
        describe_clone()


@pytest.mark.slow
def test_the_nightly_schedule_fires_and_its_session_reaches_the_remote(
    hub: Path, server: dict[str, str], tmp_path: Path
) -> None:
    _every_minute(hub / "prefect.yaml")
    run_prefect(server, hub, "work-pool", "create", "gpu", "--type", "process")
    run_prefect(server, hub, "deploy", "--all")
    inspected = run_prefect(server, hub, "deployment", "inspect", "research/nightly")
    assert "Europe/Berlin" in inspected
    with worker(server, tmp_path):
        completed = _await_completed(server["PREFECT_API_URL"], deadline_seconds=300)
    assert completed["auto_scheduled"]
    records = Ledger(tmp_path / "hub.git", "nightly").records()
    assert records[0].reason is Reason.BASELINE
    assert git(tmp_path / "hub.git", "rev-parse", "nightlab/nightly").strip() == records[0].commit


@pytest.mark.slow
@pytest.mark.skipif(may_have_gpu(), reason="the night that is shipped would run")
def test_each_deployment_as_shipped_starts_and_says_in_a_sentence_what_does_not_fit(
    fleet: dict[str, str], hub: Path, tmp_path: Path
) -> None:
    with worker(fleet, tmp_path):
        no_gpu = ended(fleet, start_run(fleet, hub, "research/nightly"))
        no_remote = ended(
            fleet, start_run(fleet, hub, "research/nightly", "--param", "remote=null")
        )
        without_study = [
            ended(fleet, start_run(fleet, hub, f"{name}/on-demand"))
            for name in ("retry", "confirm", "consolidate")
        ]
        demanded = start_run(fleet, hub, "research/on-demand")
        await_log(fleet, demanded, "Trial 0: ")
        _cancel(fleet, demanded)
    assert _sentence(no_gpu) == (
        "The preset h100 needs a GPU and finds none: run it on a machine with a GPU, or take "
        "--preset laptop."
    )
    assert "no remote is named that study 'nightly' could be pushed to" in _sentence(no_remote)
    assert "--param remote=origin" in _sentence(no_remote)
    for run in without_study:
        assert "'on-demand'" in _sentence(run)
    assert Ledger(tmp_path / "hub.git", "nightly").records() == ()


@pytest.mark.slow
def test_settings_of_one_run_leave_its_study_and_remote_alone(
    fleet: dict[str, str], hub: Path, tmp_path: Path
) -> None:
    """One parameter on the command line once replaced the remote with it, and lost the study."""
    given = f"settings={json.dumps({'preset': 'quick', 'trials': 0, **SHORT})}"
    with worker(fleet, tmp_path):
        run = ended(fleet, start_run(fleet, hub, "research/on-demand", "--param", given))
    assert run["state_type"] == "COMPLETED", run["state"]["message"]
    records = Ledger(tmp_path / "hub.git", "on-demand").records()
    assert [record.reason for record in records] == [Reason.BASELINE]
    assert records[0].budget_seconds == SHORT["budget_seconds"]
    assert "MLflow's store is a file of this machine alone" in log_of(fleet, run["id"])


def _sentence(run: dict[str, Any]) -> str:
    """What a run that failed says."""
    assert run["state_type"] == "FAILED", run["state"]
    _, separator, sentence = run["state"]["message"].partition("UsageError: ")
    assert separator, run["state"]["message"]
    assert "\n" not in sentence
    return str(sentence)


def _cancel(environment: dict[str, str], run: str) -> None:
    address = f"{environment['PREFECT_API_URL']}/flow_runs/{run}/set_state"
    httpx.post(address, json={"state": {"type": "CANCELLING"}}, timeout=30).raise_for_status()
    assert ended(environment, run)["state_type"] == "CANCELLED"


def _every_minute(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    nightly = document["deployments"][0]
    assert nightly["name"] == "nightly"
    nightly["schedules"][0]["cron"] = "* * * * *"
    nightly["parameters"]["settings"] = {"preset": "quick", "trials": 0, **SHORT}
    path.write_text(yaml.safe_dump(document))


def _await_completed(api: str, deadline_seconds: float) -> dict[str, object]:
    query = {"flows": {"name": {"any_": ["research"]}}, "sort": "START_TIME_ASC"}
    deadline = time.monotonic() + deadline_seconds
    states: list[object] = []
    while time.monotonic() < deadline:
        runs = httpx.post(f"{api}/flow_runs/filter", json=query, timeout=30).json()
        states = [(run["state_type"], run["state"]["message"]) for run in runs]
        for run in runs:
            if run["state_type"] == "COMPLETED":
                return dict(run)
            if run["state_type"] in ("FAILED", "CRASHED"):
                pytest.fail(f"the scheduled run ended as {run['state']}")
        time.sleep(1)
    pytest.fail(f"no scheduled run was completed; the server has {states}")
