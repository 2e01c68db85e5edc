"""Serve the pages people look at: MLflow's and Prefect's."""

import os
import signal
import socket
import subprocess
import sys
import time

import httpx
from rich.console import Console

from flows.local_server import configure_prefect, server_command, tied
from nightlab.errors import MachineryError, UsageError
from nightlab.redaction import redact
from nightlab.settings import Places
from nightlab.tracking.failures import check_store

START_SECONDS = 120


def serve_pages(places: Places, console: Console, *, port: int, prefect_port: int) -> None:
    """Start MLflow's and Prefect's servers on loopback, name them, and wait for Ctrl-C.

    What is configured elsewhere (a tracking server, PREFECT_API_URL) is named, not started.
    """
    places.require_cache()
    places.mlruns.mkdir(exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    configure_prefect(places.cache, console=False)
    from prefect.settings import PREFECT_API_URL

    processes: list[subprocess.Popen[bytes]] = []
    try:
        mlflow_address = places.tracking_uri
        if places.tracking_is_local:
            _refuse_taken(port, "--port")
            if places.has_store:
                check_store(places.tracking_uri, places.mlruns)
            server = f"http://127.0.0.1:{port}"
            processes.append(_start(_mlflow_command(places, port), {}))
            _await(server, "MLflow", processes[-1])
            mlflow_address = f"{server}/#/experiments?workflowType=machine_learning"
        prefect_address = PREFECT_API_URL.value()
        if not prefect_address:
            _refuse_taken(prefect_port, "--prefect-port")
            prefect_address = f"http://127.0.0.1:{prefect_port}"
            own = {"PREFECT_UI_API_URL": f"{prefect_address}/api"}
            processes.append(_start(server_command(prefect_port), own))
            _await(f"{prefect_address}/api/health", "Prefect", processes[-1])
        console.print(f"MLflow:  {redact(mlflow_address)}", highlight=False)
        console.print(f"Prefect: {redact(prefect_address)}", highlight=False)
        console.print("Ctrl-C ends both.", style="dim")
        for process in processes:
            process.wait()
    except KeyboardInterrupt:
        pass
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


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
        "--backend-store-uri",
        places.tracking_uri,
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
