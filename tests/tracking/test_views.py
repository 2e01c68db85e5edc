"""The views that links open; what a person sees of one is looked at in a real browser."""

import json
import shutil
from pathlib import Path

import pytest

from bench.browser import browser
from nightlab.tracking import synchronise
from nightlab.tracking.views import COLUMNS, VIEW_TAG, View, view_tags, view_url
from tests.tracking.samples import FixedRecords

LONGEST_EXPERIMENT_TAG = 5_000
"""Of MLflow servers before 3.0."""
HEADINGS = """JSON.stringify([...document.querySelectorAll('[role=columnheader][col-id*="`"]')]
    .filter(each => !each.getAttribute('col-id').startsWith('attributes'))
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


@pytest.mark.slow
def test_a_person_sees_the_trials_with_their_columns(server: str, mlruns: Path, study: str) -> None:
    if shutil.which("chromium") is None:
        pytest.skip("needs chromium, found none on the PATH")
    ledger = FixedRecords(study=study, all_scores={0: (2.1,), 1: (1.9,)})
    experiment = synchronise(ledger, server, mlruns).experiment
    named = json.dumps([column.split("`")[1] for column in COLUMNS], separators=(",", ":"))
    title = json.dumps(ledger.records()[1].title)
    with browser(size="2400,1000") as page:  # The table makes only the columns that are in sight.
        page.open(
            view_url(server, experiment),
            f"{HEADINGS} === {named!r} && document.body.innerText.includes({title})",
        )
        assert page.evaluate(HEADINGS) == named
        text = page.evaluate("document.body.innerText")
    assert ledger.records()[1].title in text
    assert "seed" not in text  # Trainings are not among the rows.
