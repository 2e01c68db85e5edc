"""A fleet on one machine: Prefect and MLflow on PostgreSQL or SQLite, workers, a bare remote.

Every part is the real one, in a folder of its own, and can be killed and started again alone.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from nightlab.settings import Places

BIN = Path(sys.executable).parent
START_SECONDS = 180
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
POOL = "gpu"
"""Named as in prefect.yaml."""


class Postgres:
    """A PostgreSQL server of this measurement's own, where the machine has one."""

    def __init__(self) -> None:
        # In a folder of its own: it refuses to run as root, and root's are closed to others.
        self._folder = Path(tempfile.mkdtemp(prefix="nightlab-postgres-"))
        self._port = free_port()
        self._as = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        if os.geteuid() != 0:
            self._as = []

    def start(self) -> None:
        """Make its databases and start it."""
        if self._as:
            shutil.chown(self._folder, 65534, 65534)
        self._run("initdb", "-D", str(self._folder / "data"), "-A", "trust", "-U", "nightlab")
        options = f"-p {self._port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._control("start", "-o", options, "-l", str(self._folder / "log"))
        for name in ("prefect", "mlflow"):
            self._run("createdb", "-h", "127.0.0.1", "-p", str(self._port), "-U", "nightlab", name)

    def stop(self) -> None:
        """Stop it, and remove what it had."""
        self._control("stop", "-m", "immediate")
        shutil.rmtree(self._folder)

    def address(self, driver: str, name: str) -> str:
        """A database's address for SQLAlchemy."""
        return f"postgresql+{driver}://nightlab@127.0.0.1:{self._port}/{name}"

    def size_mb(self, name: str) -> float:
        """What a database takes, in MB."""
        query = ["psql", "-h", "127.0.0.1", "-p", str(self._port), "-U", "nightlab", "-Atc"]
        return int(run([*query, f"select pg_database_size('{name}')", name])) / 1e6

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-w", "-D", str(self._folder / "data"), *arguments)

    def _run(self, *command: str) -> None:
        subprocess.run(
            [*self._as, *command], check=True, stdout=subprocess.DEVNULL, cwd=self._folder
        )


class Service:
    """A server process that can be killed and started again at the same address."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], health: str) -> None:
        self._command, self._environment, self._health = list(command), environment, health
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = start(self._command, self._environment)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                if httpx.get(self._health, timeout=5).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.2)
        raise TimeoutError(f"{self._health} did not answer")

    def kill(self) -> None:
        """End it at once, as a crash of its machine would."""
        if self._process is not None:
            kill(self._process)
            self._process = None


class Fleet:
    """The parts together, deployed from a clone as prefect.yaml ships.

    Args:
        folder: for all that they write.
        on_files: whether the databases are files of SQLite, wherever PostgreSQL is or is not.
    """

    def __init__(self, folder: Path, *, on_files: bool = False) -> None:
        self.folder, self.hub, self.desk = folder, folder / "hub.git", folder / "desk"
        self._workers: list[subprocess.Popen[bytes]] = []
        self._postgres = Postgres() if shutil.which("postgres") and not on_files else None
        self.database = "PostgreSQL" if self._postgres else "SQLite"
        prefect_port, mlflow_port = free_port(), free_port()
        self.api = f"http://127.0.0.1:{prefect_port}/api"
        self.tracking = f"http://127.0.0.1:{mlflow_port}"
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PREFECT_", "MLFLOW_", "NIGHTLAB_", "PYTHONPATH"))
        }
        self.environment = {
            **own,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_UI_API_URL": "/api",  # or the page asks the default port
            "DO_NOT_TRACK": "1",
            "PREFECT_CLI_PROMPT": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # README: it hangs without the internet
            "NIGHTLAB_CACHE": str(Places.find().cache),
        }
        prefect, mlflow = dict(self.environment), f"sqlite:///{folder / 'mlflow.db'}"
        if self._postgres is not None:
            database = self._postgres.address("asyncpg", "prefect")
            prefect["PREFECT_API_DATABASE_CONNECTION_URL"] = database
            mlflow = self._postgres.address("psycopg2", "mlflow")
        at = ["--host", "127.0.0.1", "--port"]
        self.prefect = Service(
            [str(BIN / "prefect"), "server", "start", *at, str(prefect_port)],
            prefect,
            f"{self.api}/health",
        )
        self.mlflow = Service(
            [
                *(str(BIN / "mlflow"), "server", "--workers", "1", *at, str(mlflow_port)),
                *("--backend-store-uri", mlflow, "--artifacts-destination", str(folder / "runs")),
            ],
            self.environment,
            f"{self.tracking}/health",
        )
        self.environment |= {"PREFECT_API_URL": self.api, "NIGHTLAB_TRACKING_URI": self.tracking}

    def start(self) -> None:
        """Start the servers, and deploy."""
        run(["git", "clone", "--quiet", "--bare", str(Places.find().root), str(self.hub)])
        run(["git", "clone", "--quiet", str(self.hub), str(self.desk)])
        if self._postgres is not None:
            self._postgres.start()
        self.prefect.start()
        self.mlflow.start()
        self.command("work-pool", "create", POOL, "--type", "process")
        self.command("deploy", "--all")

    def stop(self) -> None:
        """End all that was started."""
        for worker in self._workers:
            kill(worker)
        self.prefect.kill()
        self.mlflow.kill()
        if self._postgres is not None:
            self._postgres.stop()

    def database_mb(self, name: str) -> float:
        """What the database of ``prefect`` or ``mlflow`` takes, in MB."""
        if self._postgres is not None:
            return self._postgres.size_mb(name)
        return sum(path.stat().st_size for path in self.folder.rglob(f"{name}.db*")) / 1e6

    def worker(self, cache: Path | None = None) -> "subprocess.Popen[bytes]":
        """A worker on a machine of its own, as far as folders go."""
        number = len(self._workers)
        temporary = self.folder / f"worker-{number}"
        temporary.mkdir()
        environment = {**self.environment, "TMPDIR": str(temporary)}
        if cache is not None:
            environment["NIGHTLAB_CACHE"] = str(cache)
        command = [str(BIN / "prefect"), "worker", "start", "--pool", POOL, "--limit", "1"]
        worker = start([*command, "--name", f"worker {number}"], environment, self.folder)
        self._workers.append(worker)
        return worker

    def end_workers(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Send all workers a signal, and not what they started."""
        for worker in self._workers:
            if worker.poll() is None:
                worker.send_signal(how)

    def command(self, *arguments: str) -> str:
        """Run ``prefect`` at the desk and return what it printed."""
        return run([str(BIN / "prefect"), "--no-prompt", *arguments], self.desk, self.environment)

    def begin(self, deployment: str, *parameters: str) -> str:
        """Ask for a run of a deployment; returns its identifier."""
        given = [part for each in parameters for part in ("--param", each)]
        said = self.command("deployment", "run", deployment, *given)
        return next(word for word in said.split() if word.count("-") == 4 and len(word) == 36)

    def flow_run(self, identifier: str) -> dict[str, Any]:
        """What Prefect has of a run."""
        found: dict[str, Any] = httpx.get(f"{self.api}/flow_runs/{identifier}", timeout=30).json()
        return found

    def await_end(self, identifier: str, seconds: float = 900) -> str:
        """Wait for a run's end; returns its state and message."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                state = self.flow_run(identifier)["state"]
            except (httpx.TransportError, KeyError, ValueError):
                state = {"type": "AWAY"}
            if state["type"] in ENDED:
                return f"{state['name']}: {state.get('message') or ''}"
            time.sleep(1)
        return "did not end"

    def count(self, kind: str, *states: str) -> int:
        """How many flow runs or task runs are in one of some states."""
        query = {kind: {"state": {"type": {"any_": list(states)}}}}
        answer = httpx.post(f"{self.api}/{kind}/count", json=query, timeout=30)
        return int(answer.text)

    def engine(self, identifier: str) -> int | None:
        """The process of a run, if there is one: the eldest that Prefect gave the run's name to."""
        wanted = f"PREFECT__FLOW_RUN_ID={identifier}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:
                continue  # it ended meanwhile
        return min(found, default=None)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(
    command: Sequence[str], environment: dict[str, str], folder: Path | None = None
) -> "subprocess.Popen[bytes]":
    """Start a process in a group of its own, which says nothing here."""
    return subprocess.Popen(
        list(command),
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill(process: "subprocess.Popen[bytes]") -> None:
    """End a process and its group with SIGKILL."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run(
    command: Sequence[str],
    folder: Path | None = None,
    environment: dict[str, str] | None = None,
    *,
    check: bool = True,
) -> str:
    """Run a command and return what it printed.

    Raises:
        RuntimeError: it failed; with all that it said.
    """
    done = subprocess.run(
        list(command), cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def remote_away(hub: Path) -> Iterator[None]:
    """The remote cannot be reached while the block runs."""
    elsewhere = hub.with_suffix(".away")
    hub.rename(elsewhere)
    try:
        yield
    finally:
        elsewhere.rename(hub)


def as_parameter(name: str, value: object) -> str:
    """A parameter as ``prefect deployment run --param`` takes it."""
    return f"{name}={json.dumps(value)}"
