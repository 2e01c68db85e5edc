"""Deployments on a real server with a real worker, and a schedule that must really fire."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from flows.deployment import describe_clone
from nightlab.errors import UsageError
from nightlab.ledger import Ledger
from nightlab.records import Reason
from tests.conftest import git, make_clone, nightlab_environment, prefect_server

PREFECT = str(Path(sys.executable).parent / "prefect")


def test_a_password_in_the_remotes_address_does_not_reach_the_deployment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "remote", "add", "origin", "https://me:secret@example.org/lab.git")
    monkeypatch.chdir(tmp_path)
    described = describe_clone()
    assert described["repository"] == "https://example.org/lab.git"
    assert described["branch"] == "main"
    assert described["timezone"]


def test_a_clone_without_origin_cannot_be_deployed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="git remote add origin"):
        describe_clone()


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A bare repository with the present code on its branch main."""
    clone = make_clone(tmp_path / "clone")
    git(tmp_path, "init", "-q", "--bare", "hub.git")
    git(clone, "remote", "add", "origin", (tmp_path / "hub.git").as_uri())
    git(clone, "push", "-q", "origin", "main")
    return clone


@pytest.fixture
def server(tmp_path: Path, shared_cache: Path, free_port: int) -> Iterator[dict[str, str]]:
    """The environment of a client of a Prefect server that runs for one test."""
    api = f"http://127.0.0.1:{free_port}/api"
    environment = nightlab_environment(
        shared_cache,
        {
            "PREFECT_HOME": str(tmp_path / "prefect"),
            "PREFECT_API_URL": api,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_CLI_PROMPT": "false",
            "NIGHTLAB_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}",
            "TZ": "Europe/Berlin",
        },
    )
    own = {name: value for name, value in environment.items() if name != "PREFECT_API_URL"}
    command = [PREFECT, "server", "start", "--host", "127.0.0.1", "--port", str(free_port)]
    with prefect_server(command, own, api):
        yield environment


@pytest.mark.slow
def test_the_nightly_schedule_fires_and_its_session_reaches_the_remote(
    hub: Path, server: dict[str, str], tmp_path: Path
) -> None:
    _every_minute(hub / "prefect.yaml")
    _prefect(server, hub, "work-pool", "create", "gpu", "--type", "process")
    _prefect(server, hub, "deploy", "--all")
    inspected = _prefect(server, hub, "deployment", "inspect", "research/nightly")
    assert "Europe/Berlin" in inspected
    worker = subprocess.Popen(
        [PREFECT, "worker", "start", "--pool", "gpu", "--limit", "1"],
        cwd=tmp_path,
        env=server,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        completed = _await_completed(server["PREFECT_API_URL"], deadline_seconds=300)
    finally:
        _prefect(server, hub, "work-pool", "pause", "gpu")  # No run at the next minute.
        _end(worker)
    assert completed["auto_scheduled"]
    records = Ledger(tmp_path / "hub.git", "nightly").records()
    assert records[0].reason is Reason.BASELINE
    assert git(tmp_path / "hub.git", "rev-parse", "nightlab/nightly").strip() == records[0].commit


def _end(worker: "subprocess.Popen[bytes]") -> None:
    worker.terminate()
    try:
        worker.wait(timeout=30)
    except subprocess.TimeoutExpired:  # Seen now and then: Prefect's worker lost the signal.
        worker.kill()
        worker.wait()


def _every_minute(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    nightly = document["deployments"][0]
    assert nightly["name"] == "nightly"
    nightly["schedules"][0]["cron"] = "* * * * *"
    short = {"budget_seconds": 6, "startup_free_seconds": 60}
    nightly["parameters"]["settings"].update(preset="quick", trials=0, **short)
    path.write_text(yaml.safe_dump(document))


def _prefect(environment: dict[str, str], folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [PREFECT, "--no-prompt", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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
