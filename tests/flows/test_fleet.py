"""``nightlab doctor --fleet`` on real parts: each is broken, named, and mended as it says."""

import base64
import importlib.metadata
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.fleet import examine_fleet
from nightlab.settings import Places
from tests.conftest import ROOT, find_free_port, git, nightlab_command
from tests.flows.conftest import run_prefect, worker

Findings = dict[str, dict[str, str]]
"""By name."""

VERSION = importlib.metadata.version("mlflow")
AS_ADA = ("-c", "user.name=Ada", "-c", "user.email=ada@localhost")

RESEARCH = ("deployment research/nightly", "deployment research/on-demand")
DEPLOYMENTS = (
    *RESEARCH,
    *(f"deployment {flow}/on-demand" for flow in ("retry", "confirm", "consolidate", "approve")),
)


def doctor(clone: Path, environment: dict[str, str]) -> tuple[int, Findings]:
    """Run the command as a user would; give its status and what it found."""
    done = subprocess.run(
        nightlab_command("doctor", "--fleet", "--json"),
        cwd=clone,
        # Nobody answers there: that the corpus cannot be had from here is said and no fault.
        env={**environment, "HF_ENDPOINT": f"http://127.0.0.1:{find_free_port()}"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, {each["name"]: each for each in json.loads(done.stdout)}


def commands_of(finding: dict[str, str]) -> list[str]:
    return re.findall(r"`([^`]+)`", finding["remedy"])


def mend(finding: dict[str, str], environment: dict[str, str], clone: Path) -> None:
    """Run the first command that a finding names."""
    assert finding["outcome"] == "bad", finding
    program, *arguments = shlex.split(commands_of(finding)[0])
    assert program == "prefect"
    run_prefect(environment, clone, *arguments)


@pytest.fixture
def mlflow_address(tmp_path: Path) -> Iterator[str]:
    """A real MLflow server, perhaps still starting."""
    port = find_free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path / 'served.db'}"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    yield f"http://127.0.0.1:{port}"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def await_answer(address: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if httpx.get(address, timeout=5).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    pytest.fail(f"nobody answers at {address}")


@pytest.mark.slow
def test_what_is_missing_is_found_and_mended_by_the_commands_that_are_named(
    hub: Path, mlflow_address: str, server: dict[str, str], tmp_path: Path
) -> None:
    status, found = doctor(hub, server)
    assert status == 1
    assert found["remote"]["outcome"] == found["prefect"]["outcome"] == "good"
    assert "worker" not in found, "there is no pool to look into yet"
    assert [found[name]["outcome"] for name in DEPLOYMENTS] == ["bad"] * len(DEPLOYMENTS)
    assert found["tracking"]["outcome"] == "optional"

    mend(found["work pool"], server, hub)
    mend(found[RESEARCH[0]], server, hub)
    status, found = doctor(hub, server)
    assert status == 1
    assert [found[name]["outcome"] for name in DEPLOYMENTS] == ["good"] * len(DEPLOYMENTS)
    assert found[RESEARCH[0]]["found"] == "starts by its schedule"
    assert commands_of(found["worker"]) == ["prefect worker start --pool gpu --limit 1"]
    assert found["corpus for quick"]["outcome"] == "good"
    assert found["corpus for h100"]["outcome"] == "optional", "a worker may reach the hub"

    await_answer(f"{mlflow_address}/health")
    with worker(server, tmp_path):
        await_worker(server["PREFECT_API_URL"])
        status, found = doctor(hub, {**server, "NIGHTLAB_TRACKING_URI": mlflow_address})
        assert found["tracking"]["outcome"] == "good"
        assert mlflow_address in found["tracking"]["found"]
        assert {each["outcome"] for each in found.values()} <= {"good", "optional"}
        assert status == 0
    status, found = doctor(hub, server)
    assert "is paused" in found["work pool"]["found"]
    mend(found["work pool"], server, hub)

    change(server, "research/nightly", {"study": "s", "remote": "origin", "settings": {"hour": 7}})
    change(server, "confirm/on-demand", {"study": "s", "remote": "backup"})
    _, found = doctor(hub, server)
    assert "hour" in found[RESEARCH[0]]["found"]
    assert "'backup'" in found["deployment confirm/on-demand"]["found"]
    mend(found[RESEARCH[0]], server, hub)
    _, found = doctor(hub, server)
    assert [found[name]["outcome"] for name in DEPLOYMENTS] == ["good"] * len(DEPLOYMENTS)

    settings = {"preset": "h100", "corpus": "embedded"}
    change(server, "research/nightly", {"study": "s", "remote": "origin", "settings": settings})
    _, found = doctor(hub, server)
    assert found["corpus for h100"]["outcome"] == "bad"
    assert "needs 503.57 MB of text and embedded has" in found["corpus for h100"]["found"]


def await_worker(api: str) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        workers = httpx.post(f"{api}/work_pools/gpu/workers/filter", json={}, timeout=30).json()
        if any(each["status"] == "ONLINE" for each in workers):
            return
        time.sleep(0.5)
    pytest.fail("no worker came online")


def change(environment: dict[str, str], name: str, parameters: dict[str, object]) -> None:
    """Give a deployment other parameters, as somebody does on Prefect's page."""
    api = environment["PREFECT_API_URL"]
    known = httpx.get(f"{api}/deployments/name/{name}", timeout=30).json()
    changes = {"parameters": parameters, "enforce_parameter_schema": False}
    httpx.patch(f"{api}/deployments/{known['id']}", json=changes, timeout=30).raise_for_status()


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Places]:
    """The places of a small clone with a bare origin, and no server; the test stands in it."""
    hub = tmp_path / "clone"
    (hub / "trainer").mkdir(parents=True)
    (hub / "trainer" / "train.py").touch()
    (hub / "prefect.yaml").write_bytes((ROOT / "prefect.yaml").read_bytes())
    git(hub, "init", "-q", "-b", "main")
    git(hub, "add", ".")
    git(hub, *AS_ADA, "commit", "-qm", "Begin")
    git(tmp_path, "init", "-q", "--bare", "hub.git")
    git(hub, "remote", "add", "origin", (tmp_path / "hub.git").as_uri())
    git(hub, "push", "-q", "origin", "main")
    monkeypatch.chdir(hub)
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        yield Places.find(hub, {"NIGHTLAB_CACHE": str(tmp_path / "cache")})


def found_here(places: Places) -> dict[str, tuple[str, str]]:
    return {each.name: (each.outcome.value, each.found) for each in examine_fleet(places)}


def test_without_a_server_the_rest_is_still_tried(alone: Places) -> None:
    found = found_here(alone)
    assert list(found) == ["remote", "prefect", "tracking"]
    assert found["prefect"] == ("bad", "no server is configured")
    assert found["remote"][0] == "good"
    assert found["tracking"][0] == "optional"


def test_a_remote_that_lacks_the_code_or_takes_no_push_is_said(
    alone: Places, tmp_path: Path
) -> None:
    git(alone.root, *AS_ADA, "commit", "-qm", "New", "--allow-empty")
    assert found_here(alone)["remote"][0] == "optional"
    assert "another commit there" in found_here(alone)["remote"][1]
    git(alone.root, "switch", "-qc", "unpushed")
    assert found_here(alone)["remote"][0] == "bad"
    git(alone.root, "config", "remote.origin.pushurl", (tmp_path / "gone.git").as_uri())
    assert "takes no push" in found_here(alone)["remote"][1]
    git(alone.root, "remote", "set-url", "origin", (tmp_path / "gone.git").as_uri())
    assert found_here(alone)["remote"][0] == "bad"
    git(alone.root, "remote", "remove", "origin")
    assert "git remote add origin ADDRESS" in found_here(alone)["remote"][1]
    assert "doctor" not in git(tmp_path / "hub.git", "for-each-ref")


def test_servers_that_do_not_answer_are_named_without_their_passwords(
    alone: Places,
) -> None:
    host = f"127.0.0.1:{find_free_port()}"
    places = alone.model_copy(update={"tracking_uri": f"http://me:hidden@{host}"})
    with temporary_settings({PREFECT_API_URL: f"http://me:hidden@{host}/api"}):
        found = found_here(places)
    for name, variable in (("prefect", "PREFECT_API_URL"), ("tracking", "NIGHTLAB_TRACKING_URI")):
        outcome, said = found[name]
        assert outcome == "bad"
        assert host in said
        assert "start it, or correct" in said
        assert variable in said
        assert "hidden" not in said


def test_mlflow_behind_a_password_is_asked_with_the_one_that_sessions_send(
    alone: Places, guarded_mlflow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = alone.model_copy(update={"tracking_uri": guarded_mlflow})
    outcome, said = found_here(places)["tracking"]
    assert outcome == "bad"
    assert "MLFLOW_TRACKING_PASSWORD" in said
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hidden")
    outcome, said = found_here(places)["tracking"]
    assert (outcome, said) == ("good", f"{guarded_mlflow} answers, version {VERSION}")


@pytest.fixture
def guarded_mlflow() -> Iterator[str]:
    """As much of MLflow's server with its basic-auth app as doctor asks."""
    answers = {"/health": b"OK", "/version": VERSION.encode()}
    wanted = f"Basic {base64.b64encode(b'ada:hidden').decode()}"

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def do_GET(self) -> None:
            is_open = self.path == "/health" or self.headers.get("Authorization") == wanted
            body = answers.get(self.path, b"{}") if is_open else b""
            self.send_response(200 if is_open else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing is said."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
