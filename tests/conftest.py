"""Fixtures that cost much and are therefore shared: a clone to work in, a prepared cache."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from flows.local_server import server_command

ROOT = Path(__file__).parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """Give each of the processes that share the tests its own cores.

    Candidates are pinned to the first cores that their engine may use: without this, those
    of all processes would share one core, and one that floods would slow the others' tests.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None:
        number, workers = int(worker.removeprefix("gw")), config.workerinput["workercount"]
        own = sorted(os.sched_getaffinity(0))[number::workers]
        if own:
            os.sched_setaffinity(0, own)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow tests first, so that no worker is left alone with them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache folder for all tests, so that the corpus is prepared once."""
    return tmp_path_factory.mktemp("cache")


def make_clone(folder: Path) -> Path:
    """Put the files of this checkout, as they are now, into a git repository of their own."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if not (ROOT / name).is_file():
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "clone"]):
        git(folder, "-c", "user.name=Test", "-c", "user.email=test@localhost", *command)
    return folder


def git(folder: Path, *arguments: str) -> str:
    """Run git and return what it printed."""
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A git repository with the present code."""
    return make_clone(tmp_path / "clone")


def nightlab_environment(cache: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a user with nothing configured."""
    ours = ("NIGHTLAB_", "PREFECT_", "MLFLOW_", "OPENAI_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {
        **kept,
        "NIGHTLAB_CACHE": str(cache),
        # Not those of the machine, on which other tests train at the same time.
        "NIGHTLAB_LOCKS": str(cache / "locks"),
        "PREFECT_HOME": str(cache / "prefect"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **(extra or {}),
    }


def nightlab_command(*arguments: str) -> list[str]:
    """The command line of the code in the working directory."""
    return [sys.executable, "-m", "flows.command_line", *arguments]


# A machine that runs other work beside the tests once took fifteen seconds to import torch: with
# the preset's ten that are free, nothing would be left of so short a budget.
SHORT_BUDGET = ("--budget-seconds", "6", "--startup-free-seconds", "60")


def run_nightlab(
    folder: Path,
    cache: Path,
    *arguments: str,
    extra: Mapping[str, str] | None = None,
    timeout_seconds: float = 400,
) -> "subprocess.CompletedProcess[str]":
    """Run ``nightlab`` in a clone as a user would."""
    return subprocess.run(
        nightlab_command(*arguments),
        cwd=folder,
        env=nightlab_environment(cache, extra),
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )


def expect_success(done: "subprocess.CompletedProcess[str]") -> str:
    """Give the output of a command that must have succeeded."""
    if done.returncode != 0:
        pytest.fail(f"{done.args} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


@pytest.fixture
def free_port() -> int:
    """A port on loopback that nobody listens on just now."""
    return find_free_port()


def find_free_port() -> int:
    """A port on loopback that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Prefect server for tests that do not ask how Nightlab starts one: its environment."""
    home = tmp_path_factory.mktemp("prefect")
    port = find_free_port()
    address = f"http://127.0.0.1:{port}/api"
    environment = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_UI_ENABLED": "false"}
    with prefect_server(server_command(port), environment, address):
        yield {"PREFECT_API_URL": address}


@contextmanager
def prefect_server(command: list[str], environment: dict[str, str], address: str) -> Iterator[None]:
    """Run a Prefect server, from when it answers at its API's address to the end of a block."""
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{address}/health", timeout=5).is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.25)
        else:
            pytest.fail("Prefect's server did not start")
        yield
    finally:
        server.terminate()
        server.wait(timeout=30)


@pytest.fixture(autouse=True)
def _keys_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test has the process learn is no secret of the next one's."""
    monkeypatch.setattr("nightlab.redaction._learned", set())
