"""A fleet on one machine: a bare remote, a clone that is deployed, a Prefect server, a worker."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import git, make_clone, nightlab_environment, prefect_server

PREFECT = str(Path(sys.executable).parent / "prefect")
SHORT = {"budget_seconds": 6, "startup_free_seconds": 60}
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
LATEST_SECONDS = 600


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A clone whose origin is a bare repository with the present code on its branch main."""
    clone = make_clone(tmp_path / "clone")
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "hub.git")
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


@pytest.fixture
def fleet(hub: Path, server: dict[str, str]) -> dict[str, str]:
    """The file as it is shipped, deployed; the environment of a client."""
    run_prefect(server, hub, "work-pool", "create", "gpu", "--type", "process")
    run_prefect(server, hub, "deploy", "--all")
    return server


def run_prefect(environment: dict[str, str], folder: Path, *arguments: str) -> str:
    """Run ``prefect`` as a user would; it must succeed."""
    done = subprocess.run(
        [PREFECT, "--no-prompt", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def worker(environment: dict[str, str], folder: Path) -> Iterator[None]:
    """A worker of the pool ``gpu`` while the block runs; nothing of the pool starts afterwards."""
    process = subprocess.Popen(
        [PREFECT, "worker", "start", "--pool", "gpu", "--limit", "1"],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        run_prefect(environment, folder, "work-pool", "pause", "gpu")
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:  # Seen now and then: Prefect's worker lost the signal.
            process.kill()
            process.wait()


def start_run(environment: dict[str, str], folder: Path, name: str, *options: str) -> str:
    """Start a deployment as a user would; give the run's id."""
    said = run_prefect(environment, folder, "deployment", "run", name, *options)
    found = re.search(r"UUID: *([0-9a-f-]{36})", said)
    assert found is not None, said
    return found[1]


def ended(environment: dict[str, str], run: str) -> dict[str, Any]:
    """Wait for the end of a run; give what Prefect has of it."""
    deadline = time.monotonic() + LATEST_SECONDS
    address = f"{environment['PREFECT_API_URL']}/flow_runs/{run}"
    while time.monotonic() < deadline:
        found: dict[str, Any] = httpx.get(address, timeout=30).json()
        if found["state_type"] in ENDED:
            return found
        time.sleep(1)
    pytest.fail(f"the run has not ended: {found['state']}")


def log_of(environment: dict[str, str], run: str) -> str:
    """What a run has said so far."""
    query = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"}
    address = f"{environment['PREFECT_API_URL']}/logs/filter"
    return "\n".join(each["message"] for each in httpx.post(address, json=query).json())


def await_log(environment: dict[str, str], run: str, text: str) -> None:
    """Wait until a run says something."""
    deadline = time.monotonic() + LATEST_SECONDS
    while time.monotonic() < deadline:
        if text in log_of(environment, run):
            return
        time.sleep(1)
    pytest.fail(log_of(environment, run))
