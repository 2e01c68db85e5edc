import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, Trace
from pydantic import SecretStr

from nightlab import events
from nightlab.errors import ModelError
from nightlab.models.endpoint import Endpoint
from nightlab.tracking import Tracker
from nightlab.tracking.content import TrialFacts
from nightlab.tracking.runs import milliseconds
from tests.tracking.samples import (
    DIFF,
    SOURCE,
    Relay,
    began,
    curve,
    evidence,
    facts,
    mark,
    record,
    silent_server,
)

SECONDS = 60


@contextlib.contextmanager
def tracking(uri: str, mlruns: Path, study: str) -> Iterator[Tracker]:
    tracker = Tracker(uri, mlruns, study)
    try:
        yield tracker
    finally:
        tracker.close()


@pytest.fixture
def notices() -> Iterator[list[str]]:
    said: list[str] = []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Notice):
            said.append(event.text)

    with events.listening(listen):
        yield said


def begin(tracker: Tracker, study: str, number: int = 3, *, points: int = 5) -> None:
    tracker.trial_started(mark(study, number), facts(study, number))
    tracker.replicate_started(number, number * 10, began(number))
    for point in curve(points):
        tracker.point(number, number * 10, point)


def end(tracker: Tracker, study: str, number: int = 3) -> None:
    tracker.trial_ended(record(study, number), evidence(number), DIFF, SOURCE)


def runs(uri: str, study: str, kind: str = "trial") -> list[Run]:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(f"nightlab/{study}")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], f"tags.`nightlab.kind` = '{kind}'"))


def traces(uri: str, study: str) -> list[Trace]:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(f"nightlab/{study}")
    assert experiment is not None
    return list(client.search_traces(locations=[experiment.experiment_id]))


def test_a_trial_is_a_run_and_its_replicate_a_child_with_the_curve(
    local_uri: str, mlruns: Path, study: str
) -> None:
    client = MlflowClient(tracking_uri=local_uri)
    with tracking(local_uri, mlruns, study) as tracker:
        begin(tracker, study)
        assert tracker.flush(SECONDS)
        (running,) = runs(local_uri, study)
        assert running.info.status == "RUNNING"
        assert running.data.params["DEPTH"] == "6"
        end(tracker, study)
        assert tracker.flush(SECONDS)
        assert tracker.away is None
        assert tracker.study_url() is None
    (run,) = runs(local_uri, study)
    (child,) = runs(local_uri, study, "replicate")
    assert (run.info.run_id, run.info.status) == (running.info.run_id, "FINISHED")
    assert run.info.run_name == "0003 deeper & <b>narrower</b>"
    assert run.data.metrics["val_bpb"] == record(study).val_bpb
    assert run.info.artifact_uri.startswith((mlruns / "artifacts").as_uri())
    assert {item.path for item in client.list_artifacts(run.info.run_id)} >= {
        "diff.patch",
        "train.py",
        "log-30.txt",
        "prompt-1.md",
        "answer-2.md",
        "record.json",
    }
    assert child.data.tags["mlflow.parentRunId"] == run.info.run_id
    assert child.data.metrics["tokens_per_second"] == 1010.1 + 30
    losses = client.get_metric_history(child.info.run_id, "training/loss")
    assert [(metric.step, metric.value) for metric in losses] == [
        (point.step, point.loss) for point in curve()
    ]


def test_points_arrive_while_the_training_goes_on(
    local_uri: str, mlruns: Path, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightlab.tracking.live_curve.POINTS_EVERY_SECONDS", 0.0)
    with tracking(local_uri, mlruns, study) as tracker:
        begin(tracker, study)
        assert tracker.flush(SECONDS)
        (child,) = runs(local_uri, study, "replicate")
        assert child.info.status == "RUNNING"
        live = MlflowClient(tracking_uri=local_uri).get_metric_history(
            child.info.run_id, "training/loss"
        )
        assert len(live) == len(curve())
        end(tracker, study)
        assert tracker.flush(SECONDS)
    client = MlflowClient(tracking_uri=local_uri)
    for key in ("training/loss", "training/elapsed_seconds", "training/learning_rate"):
        assert len(client.get_metric_history(child.info.run_id, key)) == len(curve())


def test_a_killed_session_leaves_a_run_that_the_resumed_trial_takes_up(
    local_uri: str, mlruns: Path, study: str
) -> None:
    script = (
        "import sys, time; from pathlib import Path\n"
        "from nightlab.tracking import Tracker\n"
        "from tests.tracking.samples import began, curve, facts, mark\n"
        "uri, mlruns, study = sys.argv[1:]\n"
        "tracker = Tracker(uri, Path(mlruns), study)\n"
        "tracker.trial_started(mark(study), facts(study))\n"
        "tracker.replicate_started(3, 30, began(3))\n"
        "[tracker.point(3, 30, point) for point in curve(9, scale=1.5)]\n"
        "tracker._submit(lambda: tracker._send(tracker._curves[3, 30, '']))\n"
        "tracker.flush(60); print('ready', flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, local_uri, str(mlruns), study]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path.cwd()) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        os.kill(process.pid, signal.SIGKILL)
    (left,) = runs(local_uri, study)
    assert left.info.status == "RUNNING"
    with tracking(local_uri, mlruns, study) as tracker:
        begin(tracker, study)
        end(tracker, study)
        assert tracker.flush(SECONDS)
    (run,) = runs(local_uri, study)
    (child,) = runs(local_uri, study, "replicate")
    assert (run.info.run_id, run.info.status) == (left.info.run_id, "FINISHED")
    losses = MlflowClient(tracking_uri=local_uri).get_metric_history(
        child.info.run_id, "training/loss"
    )
    assert [metric.value for metric in losses] == [point.loss for point in curve()]


def test_a_replicate_that_the_record_does_not_have_is_closed(
    local_uri: str, mlruns: Path, study: str
) -> None:
    with tracking(local_uri, mlruns, study) as tracker:
        begin(tracker, study)
        tracker.replicate_started(3, 31, began(3))
        end(tracker, study)
        assert tracker.flush(SECONDS)
    statuses = {
        run.data.tags["nightlab.seed"]: run.info.status
        for run in runs(local_uri, study, "replicate")
    }
    assert statuses == {"30": "FINISHED", "31": "KILLED"}


def test_a_server_that_is_down_stops_nothing_and_is_said_once(
    tmp_path: Path, study: str, notices: list[str]
) -> None:
    with tracking("http://127.0.0.1:9", tmp_path / "mlruns", study) as tracker:
        for number in (0, 1):
            begin(tracker, study, number)
            with tracker.model_calls(number):
                pass
            end(tracker, study, number)
        assert not tracker.flush(SECONDS)
        assert tracker.study_url() is None
        assert tracker.away is not None
        assert f"nightlab sync {study}" in tracker.away
    assert notices == [notices[0]]
    assert "http://127.0.0.1:9" in notices[0]


def test_a_server_that_hangs_keeps_nobody_waiting(
    tmp_path: Path, study: str, notices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")
    with silent_server() as address:
        tracker = Tracker(address, tmp_path / "mlruns", study)
        begun = time.monotonic()
        begin(tracker, study, points=1000)
        end(tracker, study)
        told = time.monotonic() - begun
        assert not tracker.flush(0.2)
        assert f"nightlab sync {study}" in (tracker.away or "")
        tracker.close()
    # Whoever had waited for the server would have waited for two minutes.
    assert told < 60
    assert len(notices) == 1


def test_a_server_that_goes_down_and_comes_back_has_every_trial(
    server: str, local_uri: str, mlruns: Path, study: str, notices: list[str]
) -> None:
    host, port = server.removeprefix("http://").split(":")
    relay = Relay(host, int(port))
    with tracking(relay.address, mlruns, study) as tracker:
        begin(tracker, study, 0)
        end(tracker, study, 0)
        assert tracker.flush(SECONDS)
        relay.connected = False
        begin(tracker, study, 1)
        end(tracker, study, 1)
        assert not tracker.flush(SECONDS)
        relay.connected = True
        begin(tracker, study, 2)
        end(tracker, study, 2)
        assert tracker.flush(SECONDS)
        run = next(r for r in runs(local_uri, study) if r.data.tags["nightlab.trial"] == "2")
        experiment = run.info.experiment_id
        assert tracker.study_url() == (
            f"{relay.address}/#/experiments/{experiment}/runs"
            "?workflowType=machine_learning&viewStateShareKey=trials"
        )
    relay.close()
    statuses = {r.data.tags["nightlab.trial"]: r.info.status for r in runs(local_uri, study)}
    assert statuses == {"0": "FINISHED", "1": "FINISHED", "2": "FINISHED"}
    assert len(notices) == 2
    assert "answers again" in notices[1]


def test_files_stand_on_one_run_of_their_own(
    local_uri: str, mlruns: Path, study: str, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    for text in ("first", "second"):
        page.write_text(text)
        with tracking(local_uri, mlruns, study) as tracker:
            tracker.files_written("report", [page])
            assert tracker.flush(SECONDS)
    (run,) = runs(local_uri, study, "report")
    client = MlflowClient(tracking_uri=local_uri)
    found = client.download_artifacts(run.info.run_id, "report.html", str(tmp_path))
    assert Path(found).read_text() == "second"


class ChatServer(BaseHTTPRequestHandler):
    """Speaks as much of the chat protocol as litellm needs, and echoes the key it was sent."""

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        said = f"an answer to {self.headers['Authorization']}"
        message = {"role": "assistant", "content": said}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "x"}
        body = json.dumps({**answer, "choices": [choice], "usage": usage}).encode()
        if "fail" in asked:
            said = f"no, {self.headers['Authorization']}, this failed"
            body = json.dumps({"error": {"message": said}}).encode()
        self.send_response(500 if "fail" in asked else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), ChatServer) as model:
        threading.Thread(target=model.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{model.server_port}/v1"
        model.shutdown()


def ask(address: str, prompt: str) -> str:
    endpoint = Endpoint(model="openai/x", api_base=address, api_key=SecretStr("secret-of-the-test"))
    return endpoint.ask([{"role": "user", "content": prompt}]).text


@pytest.mark.slow
def test_calls_of_a_model_are_traces_of_their_trial_failed_ones_too(
    local_uri: str, mlruns: Path, study: str, endpoint: str
) -> None:
    with tracking(local_uri, mlruns, study) as tracker:
        with tracker.model_calls(3):
            ask(endpoint, "improve it")
        with tracker.model_calls(4), pytest.raises(ModelError):
            ask(endpoint, "fail please")
        for number in (3, 4):
            begin(tracker, study, number)
            end(tracker, study, number)
        assert tracker.flush(SECONDS)
    by_trial = {run.data.tags["nightlab.trial"]: run.info.run_id for run in runs(local_uri, study)}
    found = {trace.info.tags["nightlab.trial"]: trace for trace in traces(local_uri, study)}
    assert {number: trace.info.state.value for number, trace in found.items()} == {
        "3": "OK",
        "4": "ERROR",
    }
    for number, trace in found.items():
        assert trace.info.trace_metadata["mlflow.sourceRun"] == by_trial[number]
        assert trace.info.tags["nightlab.study"] == study
        assert "secret-of-the-test" not in trace.to_json()
        assert "[redacted]" in trace.to_json()
    assert "this failed" in found["4"].to_json()
    (asked,) = found["3"].data.spans[0].inputs["messages"]
    assert asked["content"] == "```\nimprove it\n```"  # as code, and not as Markdown
    assert found["3"].info.token_usage == {
        "input_tokens": 7,
        "output_tokens": 3,
        "total_tokens": 10,
    }


@pytest.mark.slow
def test_without_a_run_a_model_answers_all_the_same(
    tmp_path: Path, study: str, endpoint: str, local_uri: str
) -> None:
    with tracking("http://127.0.0.1:9", tmp_path / "mlruns", study) as tracker:
        with tracker.model_calls(0):
            assert ask(endpoint, "improve it").startswith("an answer")
        assert tracker.flush(SECONDS) is False


def test_a_new_store_is_made_without_a_word(tmp_path: Path, study: str) -> None:
    script = (
        "import sys; from pathlib import Path; from nightlab.tracking import Tracker\n"
        "from tests.tracking.samples import facts, mark\n"
        "uri, mlruns, study = sys.argv[1:]\n"
        "tracker = Tracker(uri, Path(mlruns), study)\n"
        "tracker.trial_started(mark(study), facts(study))\n"
        "print(tracker.flush(120)); tracker.close()\n"
    )
    mlruns = tmp_path / "mlruns"
    uri = f"sqlite:///{mlruns / 'mlflow.db'}"
    command = [sys.executable, "-c", script, uri, str(mlruns), study]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    assert done.stderr == ""


def test_what_is_open_at_the_end_of_a_session_is_not_shown_as_running(
    local_uri: str, mlruns: Path, study: str
) -> None:
    with tracking(local_uri, mlruns, study) as tracker:
        begin(tracker, study, 2)
        end(tracker, study, 2)
        begin(tracker, study, 3)
        with tracker.model_calls(4):
            pass
        tracker.flush(SECONDS)
    status = {run.data.tags["nightlab.trial"]: run.info.status for run in runs(local_uri, study)}
    assert status == {"2": "FINISHED", "3": "KILLED", "4": "SCHEDULED"}
    cut_off = [run for run in runs(local_uri, study, "replicate") if run.info.status == "KILLED"]
    assert [run.data.tags["nightlab.trial"] for run in cut_off] == ["3"]
    with tracking(local_uri, mlruns, study) as tracker:
        begin(tracker, study, 3)
        tracker.flush(SECONDS)
        again = {run.data.tags["nightlab.trial"]: run.info.status for run in runs(local_uri, study)}
        assert again["3"] == "RUNNING"


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_whose_making_was_not_answered_is_there_once(
    server: str, local_uri: str, mlruns: Path, study: str, times: int
) -> None:
    host, port = server.removeprefix("http://").split(":")
    relay = Relay(host, int(port))
    with tracking(relay.address, mlruns, study) as tracker:
        tracker.trial_started(mark(study, 0), facts(study, 0))
        assert tracker.flush(SECONDS)
        relay.lost = [b"/runs/create"] * times
        begin(tracker, study)
        assert tracker.flush(SECONDS)
        relay.lost = [b"/runs/create"] * times
        tracker.replicate_started(3, 30, began(3), "incumbent")
        assert tracker.flush(SECONDS)
        assert relay.lost == []
        end(tracker, study)
        assert tracker.flush(SECONDS)
    relay.close()
    shown = {run.data.tags["nightlab.trial"]: run.info.status for run in runs(local_uri, study)}
    assert len(runs(local_uri, study)) == len(shown)
    assert shown == {"0": "KILLED", "3": "FINISHED"}
    trained = {run.data.tags["subject"]: run for run in runs(local_uri, study, "replicate")}
    assert len(runs(local_uri, study, "replicate")) == len(trained)
    ends = {subject: run.info.status for subject, run in trained.items()}
    assert ends == {"candidate": "FINISHED", "incumbent": "KILLED"}


def test_what_a_killed_session_left_open_is_closed_by_the_next(
    local_uri: str, mlruns: Path, study: str
) -> None:
    left = Tracker(local_uri, mlruns, study)
    begin(left, study, 3)
    left.trial_started(mark(study, 4), facts(study, 4))
    assert left.flush(SECONDS)  # And no more than that: it is never closed.
    with tracking(local_uri, mlruns, study) as tracker:
        tracker.took_over(in_hand=[4])
        assert tracker.flush(SECONDS)
    states = {run.data.tags["nightlab.trial"]: run.info.status for run in runs(local_uri, study)}
    assert states == {"3": "KILLED", "4": "SCHEDULED"}
    (child,) = runs(local_uri, study, "replicate")
    assert child.info.status == "KILLED"


def test_a_training_ends_with_its_own_state_before_its_trial(
    local_uri: str, mlruns: Path, study: str
) -> None:
    with tracking(local_uri, mlruns, study) as tracker:
        begin(tracker, study)
        tracker.replicate_ended(mark(study), evidence(scores=(None,)).replicates[0])
        assert tracker.flush(SECONDS)
        (child,) = runs(local_uri, study, "replicate")
        (trial,) = runs(local_uri, study)
        assert (child.info.status, trial.info.status) == ("FAILED", "RUNNING")
        assert child.info.start_time == milliseconds(began(3)) > trial.info.start_time


def test_the_machine_is_watched_while_it_trains(
    local_uri: str, mlruns: Path, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightlab.tracking.machine.SAMPLE_SECONDS", 0.2)
    with tracking(local_uri, mlruns, study) as tracker:
        begin(tracker, study)
        assert tracker.flush(SECONDS)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            time.sleep(0.2)
            (run,) = runs(local_uri, study)
            if "system/cpu_utilization_percentage" in run.data.metrics:
                break
        end(tracker, study)
        assert tracker.flush(SECONDS)
    (run,) = runs(local_uri, study)
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_percentage"} <= set(
        run.data.metrics
    )
    assert run.info.status == "FINISHED"


def test_a_trial_that_mlflow_refuses_is_told_once_and_the_next_one_is_shown(
    local_uri: str,
    mlruns: Path,
    study: str,
    notices: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused_params(number: int, facts: TrialFacts) -> dict[str, str]:
        return {"no / such // key!": "1"} if number == 3 else {"trial": str(number)}

    for module in ("tracker", "content"):
        monkeypatch.setattr(f"nightlab.tracking.{module}.trial_params", refused_params)
    with tracking(local_uri, mlruns, study) as tracker:
        for number in (3, 4):
            begin(tracker, study, number)
            end(tracker, study, number)
        assert tracker.flush(SECONDS)
        assert tracker.away is None
    assert [text[:36] for text in notices] == ["MLflow does not take trial 3, so its"]
    assert {"trial": "4"} in [run.data.params for run in runs(local_uri, study)]
