"""The views that links open; what a person sees of one is looked at in a real browser."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from nightlab.tracking import synchronise
from nightlab.tracking.views import COLUMNS, VIEW_TAG, View, view_tags, view_url
from tests.conftest import find_free_port
from tests.tracking.samples import FixedRecords

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
LONGEST_EXPERIMENT_TAG = 5_000
"""Of MLflow servers before 3.0."""
HEADINGS = """JSON.stringify([...document.querySelectorAll('[role=columnheader][col-id*="`"]')]
    .sort((one, other) => one.ariaColIndex - other.ariaColIndex).map(each => each.innerText))"""


def test_a_link_carries_no_password_and_opens_a_view() -> None:
    assert view_url("https://me:secret@host:5000/x/", "7") == (
        "https://host:5000/x/#/experiments/7/runs"
        "?workflowType=machine_learning&viewStateShareKey=trials"
    )
    local = view_url("sqlite:////a/mlflow.db", "7", View.CURVES)
    assert local.startswith("http://127.0.0.1:5000/#/experiments/7/runs?")
    assert local.endswith("&viewStateShareKey=curves&compareRunsMode=CHART")
    assert view_url("", "7").startswith("/#/experiments/7/")


def test_every_view_has_a_tag_that_a_server_takes() -> None:
    tags = view_tags()
    for view in View:
        state = json.loads(tags[VIEW_TAG + view.value])
        assert state["selectedColumns"] == list(COLUMNS)
        assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == {"nightlab"}
        assert len(tags[VIEW_TAG + view.value]) < LONGEST_EXPERIMENT_TAG


class Page:
    """A page of a browser, by the DevTools protocol."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._calls = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._calls += 1
        call = {"id": self._calls, "method": method, "params": parameters}
        self._socket.send(json.dumps(call))
        while True:
            answer: dict[str, Any] = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == self._calls:
                return answer

    def value(self, script: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return answer["result"]["result"].get("value")


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    if not CHROMIUM:
        pytest.skip("needs chromium, found none on the PATH")
    port = find_free_port()
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "about:blank"]
    command += [f"--remote-debugging-port={port}", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--window-size=2400,1000"]  # The table makes only the columns that are in sight.
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as browser:
        try:
            with connect(_address(port), max_size=None) as socket:
                yield Page(socket)
        finally:
            browser.terminate()


def _address(port: int) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            pages = httpx.get(f"http://127.0.0.1:{port}/json").json()
            return next(str(e["webSocketDebuggerUrl"]) for e in pages if e["type"] == "page")
        except (httpx.TransportError, StopIteration):
            time.sleep(0.3)
    raise AssertionError("the browser did not start")


@pytest.mark.slow
def test_a_person_sees_the_trials_with_their_columns(
    server: str, mlruns: Path, study: str, page: Page
) -> None:
    ledger = FixedRecords(study=study, all_scores={0: (2.1,), 1: (1.9,)})
    experiment = synchronise(ledger, server, mlruns).experiment
    page.call("Page.navigate", url=view_url(server, experiment))
    named = [column.split("`")[1] for column in COLUMNS]
    title = ledger.records()[1].title
    deadline, seen, text = time.monotonic() + 120, [], ""
    while time.monotonic() < deadline and (seen != named or title not in text):
        time.sleep(1)
        headings = json.loads(page.value(HEADINGS) or "[]")
        seen = [heading for heading in headings if heading in named]
        text = page.value("document.body.innerText") or ""
    assert seen == named
    assert title in text
    assert "seed" not in text  # Trainings are not among the rows.
