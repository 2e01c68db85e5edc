import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from nightlab.tracking.connection import ENVIRONMENT

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def restored_environment() -> Iterator[None]:
    """Tracking sets variables for the whole process, and MLflow its own address."""
    names = [*ENVIRONMENT, "MLFLOW_TRACKING_URI"]
    before = {name: os.environ.get(name) for name in names}
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "2"
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all tests: making its tables takes seconds. Each test has its study."""
    return tmp_path_factory.mktemp("clone") / "mlruns"


@pytest.fixture(scope="session")
def local_uri(mlruns: Path) -> str:
    return f"sqlite:///{mlruns / 'mlflow.db'}"


@pytest.fixture
def study() -> str:
    return f"study-{next(_numbers)}"


@pytest.fixture(scope="session")
def server(mlruns: Path, local_uri: str) -> Iterator[str]:
    """A real MLflow server on the store that the local tests use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mlruns.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", local_uri]
    command += ["--artifacts-destination", f"file://{mlruns / 'served'}", "--workers", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, **ENVIRONMENT}
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _await(lambda: httpx.get(f"{address}/health", timeout=2).is_success)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            if ready():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.3)
    raise AssertionError("MLflow's server did not start")
