"""Prefect's server for a session on one machine, where none is configured.

Prefect would start a temporary server by itself; two things speak against that. Killed
with SIGKILL, a session would leave that server running; and task runs that are reported
late would be lost at exit. So the server is started here, tied to this process's life by
the kernel, and drained before it is stopped.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx

from flows.prefect_health import require_api, require_database, require_settings
from nightlab.errors import MachineryError
from nightlab.machine.folders import at_home, require_writable
from nightlab.machine.network import prepare_network
from nightlab.tracking.connection import shown_address

START_SECONDS = 120
DRAIN_SECONDS = 20
POLL_SECONDS = 0.25
ERROR_LINE = re.compile(r"[\w.]+(Error|Exception): |\([\w.]+Error\) ")
LONGEST_LINE = 300
SERVER_LOG_LEVEL = "WARNING"


def configure_prefect(cache: Path, *, console: bool) -> None:
    """Set Prefect's environment before it is imported: no telemetry, our own folder.

    Args:
        cache: the user's cache folder for Nightlab; Prefect's database goes there, unless
            the user has a Prefect home or server of their own.
        console: whether Prefect's own log lines may go to the terminal.

    Raises:
        UsageError: Prefect could not be used here, for a reason that a person can mend.
    """
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_CLI_PROMPT", "false")
    if not console:
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    prepare_network(os.environ)
    own_home = at_home("~/.prefect")
    has_own = own_home is not None and (own_home / "profiles.toml").is_file()
    if "PREFECT_HOME" not in os.environ and not has_own:
        os.environ["PREFECT_HOME"] = str(cache / "prefect")
    home = at_home(os.environ.get("PREFECT_HOME") or "~/.prefect") or cache / "prefect"
    require_writable(home, "Prefect keeps its files in", "set PREFECT_HOME to another folder")
    require_settings()


@contextmanager
def prefect_server(cache: Path) -> Iterator[str]:
    """Give the address of Prefect's API: the configured one, or a server for this block.

    Args:
        cache: the user's cache folder for Nightlab; what the server says goes to a log there.

    Raises:
        UsageError: the address or the database is wrong.
        MachineryError: the server does not answer or start; the sentence names its log.
    """
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_SERVER_DATABASE_CONNECTION_URL,
        temporary_settings,
    )

    configured = PREFECT_API_URL.value()
    if configured:
        require_api(configured)
        yield configured
        return
    require_database(PREFECT_SERVER_DATABASE_CONNECTION_URL.value())
    port = _free_port()
    address = f"http://127.0.0.1:{port}/api"
    log = cache / "prefect-server.log"
    began = datetime.now(UTC)
    process = _start(port, log)
    try:
        _await_ready(process, address, log)
        try:
            with temporary_settings({PREFECT_API_URL: address}):
                yield address
        finally:
            _drain(address, began)
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def server_command(port: int) -> list[str]:
    """The command of a Prefect server on loopback."""
    import prefect

    return [
        sys.executable,
        "-m",
        "uvicorn",
        "--app-dir",
        str(Path(prefect.__file__).parent),
        "--factory",
        "prefect.server.api.server:create_app",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--log-level",
        "error",
        "--lifespan",
        "on",
    ]


def tied(command: list[str]) -> list[str]:
    """The command, ended by the kernel when the thread that starts it ends.

    Start it from the main thread, which lives as long as the process does.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise MachineryError(
            "Nightlab needs util-linux's `setpriv` to tie Prefect's server to its own life, and "
            "found none on the PATH: install util-linux, or start `prefect server start` yourself "
            "and set PREFECT_API_URL."
        )
    return [setpriv, "--pdeathsig", "KILL", *command]


def _start(port: int, log: Path) -> "subprocess.Popen[bytes]":
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "PREFECT_UI_ENABLED": "false",
        # The terminal is spared Prefect's log lines, and this log is for nothing else.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": SERVER_LOG_LEVEL,
        "PREFECT_SERVER_LOGGING_LEVEL": SERVER_LOG_LEVEL,
    }
    with log.open("wb") as sink:
        return subprocess.Popen(
            tied(server_command(port)),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            # Out of the terminal's foreground group: Ctrl-C is the session's, which still
            # has to tell the server how it ended.
            process_group=0,
        )


def _await_ready(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise MachineryError(
                f"Prefect's local server ended while it started ({_last_error(log)}): {log} has "
                "the whole of it, and `nightlab doctor` looks for what may be wrong."
            )
        try:
            if httpx.get(f"{address}/health", timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(POLL_SECONDS)
    raise MachineryError(
        f"Prefect's local server did not answer within {START_SECONDS} seconds: {log} may say why."
    )


def _last_error(log: Path) -> str:
    """The last line of a log that names an error, or its last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if ERROR_LINE.match(line)]
    return (errors or lines or ["it says nothing"])[-1][:LONGEST_LINE]


def _drain(address: str, began: datetime) -> None:
    """Wait until the server has all logs, and the end of every task run since ``began``.

    Task runs of sessions that were killed stay unfinished forever and do not count.
    """
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=DRAIN_SECONDS)
    unfinished = {
        "state": {"type": {"any_": ["RUNNING", "PENDING"]}},
        "start_time": {"after_": began.isoformat()},
    }
    deadline = time.monotonic() + DRAIN_SECONDS
    count = -1
    while time.monotonic() < deadline:
        try:
            running = _count(address, {"task_runs": unfinished})
            known = _count(address, {})
        except httpx.TransportError:
            return
        if running == 0 and known == count:
            return
        count = known
        time.sleep(1.0)


def _count(address: str, query: dict[str, object]) -> int:
    response = httpx.post(f"{address}/task_runs/count", json=query, timeout=10)
    return int(response.text) if response.is_success else 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def prefect_state(cache: Path) -> str:
    """What a session would find of Prefect, for ``nightlab doctor``.

    Raises:
        UsageError: it could not begin, for a reason that a person can mend.
        MachineryError: the configured server does not answer.
    """
    configure_prefect(cache, console=False)
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_DATABASE_CONNECTION_URL

    configured = PREFECT_API_URL.value()
    if configured:
        require_api(configured)
        return f"the server at {shown_address(configured)} answers"
    require_database(PREFECT_SERVER_DATABASE_CONNECTION_URL.value())
    return (
        "no server configured: each session starts its own on loopback (for schedules and remote "
        "workers: `prefect server start` and PREFECT_API_URL)"
    )
