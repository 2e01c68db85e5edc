"""A study's pages in MLflow that Nightlab links to: which runs, which columns, which charts.

MLflow's page opens a view that stands in a tag of the experiment as plain JSON. No documentation
has its words: they are those of the page's own script (MLflow 3.17.2), so a test looks at it in
a browser. A page that does not know a view shows the experiment as it does without one.
"""

import json
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from nightlab.redaction import redact
from nightlab.tracking.metrics import BEST, CANDIDATE_LOSS, INCUMBENT_LOSS, SECTIONS
from nightlab.tracking.tags import KIND_TAG

VIEW_TAG = "mlflow.sharedViewState."
PRIMARY_METRIC_TAG = "mlflow.experiment.primaryMetric.name"
LOCAL_ADDRESS = "http://127.0.0.1:5000"
"""Where `nightlab ui` shows a local store, if it is not told another port."""
OURS = "nightlab"
"""The section of charts that stands open; MLflow's own, one chart a metric, are folded up."""
FLAT, SYSTEM = "Model metrics", "System metrics"
"""What MLflow calls the sections of metrics without one, and of its own."""

COLUMNS = {
    "params.`trial`": 60,
    "tags.`verdict`": 80,
    "metrics.`val_bpb`": 80,
    "metrics.`difference_bpb`": 120,
    "metrics.`probability_better`": 140,
    "tags.`title`": 260,
    "params.`proposer`": 100,
}
"""With their widths in pixels: headings are to be read whole."""


class View(StrEnum):
    """A page of a study, by its name in the address."""

    TRIALS = "trials"
    """A table of the trials, the newest first; their trainings are not among them."""
    STAIRCASE = "staircase"
    """The best score against trials and against time."""
    CURVES = "curves"
    """The losses of candidates and of the incumbent's trainings beside them."""


def view_url(address: str, experiment_id: str, view: View = View.TRIALS) -> str:
    """The address of a study's page, without a name and password.

    Args:
        address: of MLflow's server; a local store's is where `nightlab ui` shows it. Empty for a
            link within MLflow's own pages.
        experiment_id: the study's.
        view: what is to be seen.
    """
    is_server = not address or urlsplit(address).scheme in ("http", "https")
    server = redact(address).rstrip("/") if is_server else LOCAL_ADDRESS
    # Else MLflow takes an experiment with traces for one of language models.
    page = f"{server}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    mode = "" if view is View.TRIALS else "&compareRunsMode=CHART"
    return f"{page}&viewStateShareKey={view.value}{mode}"


def view_tags() -> dict[str, str]:
    """The experiment's tags that hold the views."""
    by_trial = _line("best score by trial", (BEST, "val_bpb"), "step")
    # The hours of this version of MLflow are steps under another name.
    by_time = _line("best score by time", (BEST, "val_bpb"), "time-relative")
    losses = _line("loss by percent of the budget", (CANDIDATE_LOSS, INCUMBENT_LOSS), "step")
    scores = {
        "type": "SCATTER",
        "uuid": "score by trial",
        "xaxis": {"key": "trial", "type": "PARAM"},
        "yaxis": {"key": "val_bpb", "type": "METRIC"},
        "runsCountToCompare": 100,
    }
    views = {
        View.TRIALS: _view("trial", (scores, losses), (FLAT, *SECTIONS, SYSTEM)),
        View.STAIRCASE: _view("study", (by_trial, by_time), (FLAT,)),
        View.CURVES: _view("trial", (losses,), (FLAT, *SECTIONS, SYSTEM)),
    }
    tags = {VIEW_TAG + view.value: json.dumps(state) for view, state in views.items()}
    return {**tags, PRIMARY_METRIC_TAG: "val_bpb"}


def _view(kind: str, charts: tuple[dict[str, Any], ...], folded: tuple[str, ...]) -> dict[str, Any]:
    """The state of the page with the runs of one kind."""
    ours = {"uuid": OURS, "name": OURS, "display": True, "columns": len(charts), "cardHeight": 440}
    rest = [{"uuid": name, "name": name, "display": False} for name in folded]
    return {
        "searchFilter": f"tags.`{KIND_TAG}` = '{kind}'",
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": list(COLUMNS),
        "columnOrder": list(COLUMNS),
        "columnWidths": COLUMNS,
        "compareRunCharts": [{**chart, "metricSectionId": OURS} for chart in charts],
        "compareRunSections": [ours, *rest],
        "isAccordionReordered": True,
    }


def _line(name: str, metrics: tuple[str, ...], axis: str) -> dict[str, Any]:
    """Lines of several metrics in one chart, the first one solid."""
    return {
        "type": "LINE",
        "uuid": name,
        "metricKey": metrics[0],
        "selectedMetricKeys": list(metrics),
        "xAxisKey": axis,
        "useGlobalXaxisKey": False,
        "range": {},
        "lineSmoothness": 0,  # else it is smoothed
    }
