"""``nightlab ui``: every address that it names is a page, served by it or configured."""

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from nightlab.tracking.connection import connect
from tests.conftest import find_free_port, nightlab_command, nightlab_environment


@contextmanager
def pages(
    clone: Path, environment: dict[str, str], *arguments: str
) -> Iterator[tuple["subprocess.Popen[str]", dict[str, str]]]:
    """The command, and what it says, by name, as far as its pages."""
    process = subprocess.Popen(
        nightlab_command("ui", *arguments),
        cwd=clone,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = {}
        while "Prefect" not in said and (line := process.stdout.readline()):
            name, _, address = line.partition(": ")
            said[name.strip()] = address.strip()
        yield process, said
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


@pytest.mark.slow
def test_what_is_named_is_a_page_served_here_or_on_a_configured_server(
    clone: Path, shared_cache: Path, tmp_path: Path
) -> None:
    own = nightlab_environment(shared_cache)
    port, prefect_port, free = (find_free_port() for _ in range(3))
    ports = ("--port", str(port), "--prefect-port", str(prefect_port))
    mlruns, store = clone / "mlruns", f"sqlite:///{clone / 'mlruns' / 'mlflow.db'}"
    client = connect(store, mlruns)
    experiment = client.create_experiment("nightlab/night")  # as an older version made it
    with pages(clone, own, *ports) as (_, here):
        assert "Prefect" in here, here
        assert here["Prefect"] == f"http://127.0.0.1:{prefect_port}"
        assert here["MLflow"].startswith(f"http://127.0.0.1:{port}/#/experiments")
        assert here["night"].startswith(f"http://127.0.0.1:{port}/#/experiments/{experiment}/runs?")
        views = client.get_experiment(experiment).tags
        assert f"mlflow.sharedViewState.{here['night'].rpartition('=')[2]}" in views
        fleet = {
            "NIGHTLAB_TRACKING_URI": f"http://127.0.0.1:{port}/",
            "PREFECT_API_URL": f"http://127.0.0.1:{prefect_port}/api",
        }
        with pages(clone, {**own, **fleet}) as (process, configured):
            # Nothing is left to serve, so it ends by itself.
            assert process.wait(timeout=30) == 0
        assert configured == here
        for address in configured.values():
            answer = httpx.get(address, timeout=30, follow_redirects=True)
            assert answer.is_success
            assert "text/html" in answer.headers["content-type"]
        # A database that is no file of this clone is served as well.
        elsewhere = {**own, **fleet, "NIGHTLAB_TRACKING_URI": f"sqlite:///{tmp_path / 'other.db'}"}
        with pages(clone, elsewhere, "--port", str(free)) as (_, other):
            assert re.match(rf"http://127\.0\.0\.1:{free}/#/", other["MLflow"])
            assert httpx.get(f"http://127.0.0.1:{free}/health", timeout=30).text == "OK"
