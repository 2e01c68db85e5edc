"""Serve the pages people look at: MLflow's and Prefect's."""

import os
import signal
import socket
import subprocess
import sys
import time
from urllib.parse import urlsplit

import httpx

from flows.local_server import configure_prefect, server_command, tied
from flows.prefect_health import require_api
from flows.terminal import Terminal
from nightlab.errors import MachineryError, UsageError
from nightlab.redaction import redact
from nightlab.settings import Places
from nightlab.tracking.connection import latest_views
from nightlab.tracking.failures import check_store

START_SECONDS = 300
SHOWN_STUDIES = 10
"""So many of the studies that were worked on last are named."""


def serve_pages(places: Places, console: Terminal, *, port: int, prefect_port: int) -> None:
    """Name MLflow's and Prefect's pages, and serve until Ctrl-C what is on no server yet.

    Raises:
        UsageError: a port is taken, or an address is none.
        TrackingError: MLflow's store or server does not answer as it should.
        MachineryError: a server does not start, or Prefect's does not answer.
    """
    places.require_cache()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    configure_prefect(places.cache, console=False)
    served: list[subprocess.Popen[bytes]] = []
    try:
        mlflow = _mlflow_address(places, port, served)
        # Without that word MLflow opens on a page for language models.
        page = f"{redact(mlflow).rstrip('/')}/#/experiments?workflowType=machine_learning"
        console.say(f"MLflow:  {page}")
        for study, view in latest_views(mlflow, places.mlruns, SHOWN_STUDIES).items():
            console.say(f"         {study}: {view}")
        console.say(f"Prefect: {_prefect_page(prefect_port, served)}")
        if served:
            console.print(f"Ctrl-C ends {'both' if len(served) > 1 else 'it'}.", style="dim")
        for process in served:
            process.wait()
    except KeyboardInterrupt:
        pass
    finally:
        for process in served:
            process.terminate()
        for process in served:
            process.wait()


def _mlflow_address(places: Places, port: int, served: list["subprocess.Popen[bytes]"]) -> str:
    """The address of MLflow's server; a store that is on none is served."""
    server = places.tracking_uri
    is_server = urlsplit(server).scheme in ("http", "https")
    if is_server or places.has_store:
        check_store(places.tracking_uri, places.mlruns)
    if not is_server:
        _refuse_taken(port, "--port")
        places.mlruns.mkdir(exist_ok=True)
        server = f"http://127.0.0.1:{port}"
        # Not an argument: an address may hold a password, and all users see arguments.
        store = {"MLFLOW_BACKEND_STORE_URI": places.tracking_uri}
        served.append(_start(_mlflow_command(places, port), store))
        _await(server, "MLflow", served[-1])
    return server


def _prefect_page(port: int, served: list["subprocess.Popen[bytes]"]) -> str:
    """The address of Prefect's page: the configured server's, or of one that is served."""
    from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL

    configured = PREFECT_API_URL.value()
    if configured:
        require_api(configured)
        return redact(PREFECT_UI_URL.value() or configured)
    _refuse_taken(port, "--prefect-port")
    page = f"http://127.0.0.1:{port}"
    served.append(_start(server_command(port), {"PREFECT_UI_API_URL": f"{page}/api"}))
    _await(f"{page}/api/health", "Prefect", served[-1])
    return page


def _refuse_taken(port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(
                f"Port {port} is needed and is not free ({error.strerror}): choose another with "
                f"{option}."
            ) from error


def _mlflow_command(places: Places, port: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--artifacts-destination",
        f"file://{places.mlruns / 'artifacts'}",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]


def _start(command: list[str], extra: dict[str, str]) -> "subprocess.Popen[bytes]":
    quiet = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # MLflow's server imports litellm, which without network hangs over its price list.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    environment = {**os.environ, **quiet, **extra}
    return subprocess.Popen(
        tied(command), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _await(address: str, name: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(address, timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise MachineryError(
        f"{name}'s server did not answer at {address}: is the port taken? Choose another with "
        "--port or --prefect-port."
    )
