"""The runs of one experiment of MLflow: found by their tags, and made what they are to show.

Only what is not there yet is written. MLflow cannot change a parameter, or take back a name or a
point of a curve: where those differ from what is to be shown, the run is made anew.

A call that made a run can fail, and MLflow's client then tries it again, so that there are two. So
runs are told apart by their tags alone, and whoever writes one removes its doubles.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from nightlab.redaction import redact
from nightlab.tracking.connection import connect, failures, study_experiment
from nightlab.tracking.curves import Measured
from nightlab.tracking.origin import Dataset, Origin
from nightlab.tracking.tags import (
    LAYOUT,
    LAYOUT_TAG,
    NAME_TAG,
    OURS,
    PARENT_TAG,
    RECORD_TAG,
    STUDY_TAG,
    SUBJECT_TAG,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

FINISHED, FAILED, KILLED, RUNNING = "FINISHED", "FAILED", "KILLED", "RUNNING"

METRICS_A_BATCH = 1_000
OTHERS_A_BATCH = 100
RUNS_A_PAGE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContent:
    """One run as MLflow is to show it."""

    status: str
    started_ms: int
    ended_ms: int
    final_step: int = 0
    """The step that ``metrics`` belong to: after the curve, so that MLflow shows them last."""
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    curve: tuple[Measured, ...] = ()
    clock: str = ""
    """The metric that every point of the curve has: it tells which points MLflow has."""
    texts: Mapping[str, str] = field(default_factory=dict)
    """Artifacts by file name."""
    dataset: Dataset | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What writing a run came to."""

    run_id: str
    changed: bool
    """Whether anything was missing or wrong before."""


class Runs:
    """The runs of a study's experiment.

    Raises:
        TrackingError: the experiment was deleted.
        Exception: whatever ``connection.failures`` lists, from every method.
    """

    def __init__(
        self, tracking_uri: str, mlruns: Path, study: str, origin: Origin | None = None
    ) -> None:
        self.study = study
        self.origin = origin or Origin()
        self.client: MlflowClient = connect(tracking_uri, mlruns)
        self.experiment_id = study_experiment(self.client, tracking_uri, mlruns, study)

    def search(self, condition: str = "") -> "list[Run]":
        """The study's runs that meet a condition, the one begun last first."""
        found: list[Run] = []
        token: str | None = None
        of_study = f"tags.`{STUDY_TAG}` = '{self.study}'"
        while True:
            page = self.client.search_runs(
                [self.experiment_id],
                " AND ".join(filter(None, (of_study, condition))),
                max_results=RUNS_A_PAGE,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            found += page
            token = page.token
            if not token:
                return found

    def only(self, tags: Mapping[str, str]) -> "Run | None":
        """The one run with these tags; its doubles are removed."""
        run, *doubles = self.search(_condition(tags)) or [None]
        for double in filter(None, doubles):
            self.client.delete_run(double.info.run_id)
        return run

    def create(self, tags: Mapping[str, str], started_ms: int) -> "Run":
        """Make a run, RUNNING; where the call fails and made it all the same, take that one."""
        first = {k: v for k, v in tags.items() if k not in (RECORD_TAG, NAME_TAG)}
        first |= {LAYOUT_TAG: LAYOUT, **self.origin.tags(self.study)}
        try:
            return self.client.create_run(
                self.experiment_id, started_ms, first, tags.get(NAME_TAG, "")
            )
        except failures():
            own = {k: v for k, v in first.items() if k.startswith(OURS) or k == SUBJECT_TAG}
            made = self.only(own)
            if made is None:
                raise
            return made

    def write(self, content: RunContent, run: "Run | None", parent: str = "") -> Written:
        """Bring a run to what it is to show.

        Args:
            content: what that is.
            run: the one that stands, if any.
            parent: identifier of the run that it stands below.
        """
        standing = run
        run, changed = self.begin(content, run, parent)
        changed |= self.finish(content, run)
        return Written(run_id=str(run.info.run_id), changed=changed or run is not standing)

    def begin(self, content: RunContent, run: "Run | None", parent: str = "") -> "tuple[Run, bool]":
        """Have a run with its curve, files and dataset; say whether any of that was missing."""
        if run is not None and not is_good(run, content.params):
            self.client.delete_run(run.info.run_id)
            run = None
        complete = run is not None and is_complete(run, content)
        missing = () if complete else content.curve
        if run is not None and missing:
            history = self.client.get_metric_history(run.info.run_id, content.clock)
            known = {metric.step: metric.value for metric in history}
            clock = {row.step: row.value for row in content.curve if row.key == content.clock}
            if any(known.get(step, value) != value for step, value in clock.items()):
                self.client.delete_run(run.info.run_id)
                run = None
            else:
                missing = tuple(row for row in missing if row.step not in known)
        below = {PARENT_TAG: parent} if parent else {}
        if run is None:
            missing = content.curve
            run = self.create({**content.tags, **below}, content.started_ms)
        self.log_rows(run.info.run_id, missing)
        changed = bool(missing)
        changed |= self._write_texts(run, content.texts, rewrite=not complete)
        changed |= self.log_dataset(run, content.dataset)
        if below and run.data.tags.get(PARENT_TAG) != parent:
            changed |= self.log(run, tags=below)
        return run, changed

    def finish(self, content: RunContent, run: "Run") -> bool:
        """Write the rest, the digest among it, and end the run; say whether anything changed."""
        changed = self.log(
            run,
            params=content.params,
            metrics=content.metrics,
            tags=content.tags,
            step=content.final_step,
            timestamp_ms=content.ended_ms,
        )
        if run.info.status != content.status or run.info.end_time != content.ended_ms:
            self.client.set_terminated(run.info.run_id, content.status, content.ended_ms)
            changed = True
        return changed

    def log_rows(self, run_id: str, rows: Sequence[Measured]) -> None:
        """Add metrics to a run; a row that is there already stays there once."""
        from mlflow.entities import Metric

        for begin in range(0, len(rows), METRICS_A_BATCH):
            batch = rows[begin : begin + METRICS_A_BATCH]
            self.client.log_batch(
                run_id, metrics=[Metric(m.key, m.value, m.timestamp_ms, m.step) for m in batch]
            )

    def log_dataset(self, run: "Run", dataset: Dataset | None) -> bool:
        """Name the text that a run was trained on, where it does not yet."""
        if dataset is None or (run.inputs is not None and run.inputs.dataset_inputs):
            return False
        self.client.log_inputs(run.info.run_id, [dataset.as_input()])
        return True

    def log(
        self,
        run: "Run",
        *,
        params: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        step: int = 0,
        timestamp_ms: int = 0,
    ) -> bool:
        """Write what a run does not have yet; say whether that was anything."""
        from mlflow.entities import Metric, Param, RunTag

        has = run.data
        new_params = [Param(k, v) for k, v in (params or {}).items() if k not in has.params]
        new_tags = [RunTag(k, v) for k, v in (tags or {}).items() if has.tags.get(k) != v]
        new_metrics = [
            # A correction has to be newer than what it corrects.
            Metric(k, v, now_ms() if k in has.metrics else timestamp_ms, step)
            for k, v in (metrics or {}).items()
            if has.metrics.get(k) != v
        ]
        if not (new_params or new_tags or new_metrics):
            return False
        for begin in range(0, max(len(new_params), len(new_tags), 1), OTHERS_A_BATCH):
            part = slice(begin, begin + OTHERS_A_BATCH)
            self.client.log_batch(
                run.info.run_id,
                metrics=new_metrics if begin == 0 else (),
                params=new_params[part],
                tags=new_tags[part],
            )
        return True

    def _write_texts(self, run: "Run", texts: Mapping[str, str], *, rewrite: bool) -> bool:
        there: set[str] = set()
        if texts and not rewrite:
            there = {item.path for item in self.client.list_artifacts(run.info.run_id)}
        missing = {name: text for name, text in texts.items() if name not in there}
        for name, text in missing.items():
            self.client.log_text(run.info.run_id, text, name)
        return bool(missing)


def is_good(run: "Run", params: Mapping[str, str]) -> bool:
    """Whether a run can be made what it is to show: in its names, and in these parameters."""
    has = run.data
    if has.tags.get(LAYOUT_TAG) != LAYOUT:
        return False
    return all(has.params.get(key, value) == value for key, value in params.items())


def is_complete(run: "Run", content: RunContent) -> bool:
    """Whether the run shows this content in full, by its digest."""
    digest = content.tags.get(RECORD_TAG)
    return digest is not None and run.data.tags.get(RECORD_TAG) == digest


def now_ms() -> int:
    """The present moment, in milliseconds since 1970, as MLflow counts."""
    return time.time_ns() // 1_000_000


def milliseconds(moment: datetime) -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return int(moment.timestamp() * 1000)


def storable(text: str) -> str:
    """The text as a database takes it, and without keys.

    Models and candidates do send halves of surrogate pairs and NULs.
    """
    whole = redact(text).encode("utf-8", "replace").decode("utf-8")
    return whole.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _condition(tags: Mapping[str, str]) -> str:
    return " AND ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
