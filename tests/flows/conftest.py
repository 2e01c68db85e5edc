"""A fleet on one machine: a bare remote, a clone that is deployed, a Prefect server, a worker."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import git, make_clone, nightlab_environment, prefect_server

PREFECT = str(Path(sys.executable).parent / "prefect")


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
