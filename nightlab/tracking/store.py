"""Writes runs into one experiment of MLflow, and only what is not there yet.

A run is found by its tags (study, trial, seed, subject), so that a resumed session, a retried task
and a synchronisation meet the same run. MLflow cannot change a parameter or take back a
point of a curve: where those differ from the record, the run is deleted and made anew.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nightlab.tracking.connection import connect, study_experiment
from nightlab.tracking.content import (
    CANDIDATE,
    KILLED,
    KIND_TAG,
    NAME_TAG,
    RECORD_TAG,
    SEED_TAG,
    STUDY_TAG,
    SUBJECT_TAG,
    TRIAL_TAG,
    ReplicateKey,
    RunContent,
    TrialContent,
    opening_tags,
    replicate_tags,
)
from nightlab.tracking.curves import CURVE_KEY, Measured

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARENT_TAG = "mlflow.parentRunId"
METRICS_A_BATCH = 1_000
OTHERS_A_BATCH = 100
RUNS_A_PAGE = 1_000


@dataclass(slots=True, kw_only=True)
class TrialRuns:
    """The runs that MLflow has of a trial."""

    run: "Run | None" = None
    replicates: "dict[ReplicateKey, Run]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What writing a finished trial came to."""

    run_id: str
    changed: bool
    """Whether anything was missing or wrong before."""


class Store:
    """The study's experiment.

    Raises:
        TrackingError: the experiment was deleted.
        Exception: whatever ``connection.failures`` lists, from every method.
    """

    def __init__(self, tracking_uri: str, mlruns: Path, study: str) -> None:
        self.study = study
        self.client: MlflowClient = connect(tracking_uri, mlruns)
        self.experiment_id = study_experiment(self.client, tracking_uri, mlruns, study)

    def trials(self) -> dict[int, TrialRuns]:
        """The runs of all trials, by number."""
        return self._grouped(f"tags.`{STUDY_TAG}` = '{self.study}'")

    def trial(self, number: int) -> TrialRuns:
        """The runs of one trial."""
        found = self._grouped(
            f"tags.`{STUDY_TAG}` = '{self.study}' AND tags.`{TRIAL_TAG}` = '{number}'"
        )
        return found.get(number, TrialRuns(replicates={}))

    def open_trial(
        self,
        number: int,
        started_ms: int,
        title: str = "",
        params: Mapping[str, str] | None = None,
    ) -> str:
        """Have a RUNNING run for a trial that begins or is resumed; return its identifier."""
        tags = opening_tags(self.study, number, title)
        runs = self.trial(number)
        run = runs.run
        if run is not None and RECORD_TAG in run.data.tags:
            return str(run.info.run_id)  # It ended: its record stands and is written once.
        if run is not None and _contradicts(run.data.params, params or {}):
            self._delete_trial(runs)
            run = None
        if run is None:
            run = self._create(tags, started_ms)
        elif not title:
            tags.pop(NAME_TAG)
        if run.info.status != "RUNNING":
            self.client.update_run(run.info.run_id, status="RUNNING")
        self._log(run, params=params or {}, tags=tags)
        return str(run.info.run_id)

    def open_replicate(
        self, number: int, parent: str, seed: int, started_ms: int, subject: str = CANDIDATE
    ) -> str:
        """Have a RUNNING child run without a curve; return its identifier.

        One that a killed session left is deleted: its curve is not that of this training.
        """
        left = self.trial(number).replicates.get(ReplicateKey(str(seed), subject))
        if left is not None:
            self.client.delete_run(left.info.run_id)
        tags = {**replicate_tags(self.study, number, seed, subject), PARENT_TAG: parent}
        run = self._create(tags, started_ms)
        self._log(run, params={"seed": str(seed)})
        return str(run.info.run_id)

    def set_aside(self, number: int, *, begun: bool) -> None:
        """Show that nobody is at work on a trial that has not ended.

        Args:
            number: the trial's.
            begun: whether it was cut off, and not merely waits to begin.
        """
        runs = self.trial(number)
        for run in runs.replicates.values():
            if run.info.status == "RUNNING":
                self.client.set_terminated(run.info.run_id, KILLED)
        if runs.run is not None and runs.run.info.status == "RUNNING":
            if begun:
                self.client.set_terminated(runs.run.info.run_id, KILLED)
            else:
                self.client.update_run(runs.run.info.run_id, status="SCHEDULED")

    def log_rows(self, run_id: str, rows: Sequence[Measured]) -> None:
        """Add metrics to a run; a row that is there already stays there once."""
        from mlflow.entities import Metric

        for begin in range(0, len(rows), METRICS_A_BATCH):
            batch = rows[begin : begin + METRICS_A_BATCH]
            self.client.log_batch(
                run_id, metrics=[Metric(m.key, m.value, m.timestamp_ms, m.step) for m in batch]
            )

    def write_trial(self, content: TrialContent, runs: TrialRuns) -> Written:
        """Bring a finished trial's runs to what they are to show."""
        if runs.run is not None and _contradicts(runs.run.data.params, content.run.params):
            self._delete_trial(runs)
            runs = TrialRuns(replicates={})
        # The record's digest comes last: without it the run counts as incomplete.
        digest = content.run.tags[RECORD_TAG]
        complete = runs.run is not None and runs.run.data.tags.get(RECORD_TAG) == digest
        run = runs.run or self._create(content.run.tags, content.run.started_ms, RECORD_TAG)
        changed = self._write_texts(run, content.run.texts, rewrite=not complete)
        for key, replicate in content.replicates.items():
            changed |= self._write_replicate(
                run.info.run_id, replicate, runs.replicates.pop(key, None)
            )
        for stray in runs.replicates.values():
            if stray.info.status == "RUNNING":
                self.client.set_terminated(stray.info.run_id, KILLED, content.run.ended_ms)
                changed = True
        changed |= self._write_run(run, content.run)
        return Written(run_id=run.info.run_id, changed=changed or not complete)

    def write_alone(self, content: RunContent, key: str) -> Written:
        """Bring a run that is no trial's to what it is to show.

        Args:
            content: with the study's tag and its kind's.
            key: the tag that tells it from others of its kind.
        """
        wanted = {tag: content.tags[tag] for tag in (STUDY_TAG, KIND_TAG, key)}
        found = self._search(" AND ".join(f"tags.`{k}` = '{v}'" for k, v in wanted.items()))
        run = found[0] if found else self._create(content.tags, content.started_ms)
        changed = self._write_texts(run, content.texts, rewrite=not found)
        changed |= self._write_run(run, content)
        return Written(run_id=str(run.info.run_id), changed=changed or not found)

    def log_files(self, kind: str, name: str, paths: Iterable[Path]) -> str:
        """Put files on the study's one run of a kind that is no trial; return its identifier."""
        found = self._search(
            f"tags.`{STUDY_TAG}` = '{self.study}' AND tags.`{KIND_TAG}` = '{kind}'"
        )
        tags = {KIND_TAG: kind, STUDY_TAG: self.study, NAME_TAG: name, "mlflow.user": "nightlab"}
        run = found[0] if found else self._create(tags, _now_ms())
        for path in paths:
            self.client.log_artifact(run.info.run_id, str(path))
        self.client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

    def _write_replicate(self, parent: str, content: RunContent, run: "Run | None") -> bool:
        known: dict[int, float] = {}
        if run is not None:
            history = self.client.get_metric_history(run.info.run_id, CURVE_KEY)
            known = {metric.step: metric.value for metric in history}
            if _contradicts(run.data.params, content.params) or any(
                known.get(row.step, row.value) != row.value
                for row in content.curve
                if row.key == CURVE_KEY
            ):
                self.client.delete_run(run.info.run_id)
                run, known = None, {}
        fresh = run is None
        if run is None:
            run = self._create({**content.tags, PARENT_TAG: parent}, content.started_ms)
        missing = [row for row in content.curve if row.step not in known]
        self.log_rows(run.info.run_id, missing)
        return self._write_run(run, content) or fresh or bool(missing)

    def _write_run(self, run: "Run", content: RunContent) -> bool:
        changed = self._log(
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

    def _write_texts(self, run: "Run", texts: Mapping[str, str], *, rewrite: bool) -> bool:
        there: set[str] = set()
        if not rewrite:
            there = {item.path for item in self.client.list_artifacts(run.info.run_id)}
        missing = {name: text for name, text in texts.items() if name not in there}
        for name, text in missing.items():
            self.client.log_text(run.info.run_id, text, name)
        return bool(missing)

    def _log(
        self,
        run: "Run",
        *,
        params: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        step: int = 0,
        timestamp_ms: int = 0,
    ) -> bool:
        from mlflow.entities import Metric, Param, RunTag

        has = run.data
        new_params = [Param(k, v) for k, v in (params or {}).items() if k not in has.params]
        new_tags = [RunTag(k, v) for k, v in (tags or {}).items() if has.tags.get(k) != v]
        new_metrics = [
            # A correction has to be newer than what it corrects.
            Metric(k, v, _now_ms() if k in has.metrics else timestamp_ms, step)
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

    def _create(self, tags: Mapping[str, str], started_ms: int, without: str = "") -> "Run":
        first = {key: value for key, value in tags.items() if key != without}
        name = first.pop(NAME_TAG)
        return self.client.create_run(self.experiment_id, started_ms, first, name)

    def _delete_trial(self, runs: TrialRuns) -> None:
        for run in (runs.run, *runs.replicates.values()):
            if run is not None:
                self.client.delete_run(run.info.run_id)

    def _grouped(self, condition: str) -> dict[int, TrialRuns]:
        trials: dict[int, TrialRuns] = {}
        for run in self._search(condition):
            tags = run.data.tags
            if not tags.get(TRIAL_TAG, "").isdecimal():
                continue
            runs = trials.setdefault(int(tags[TRIAL_TAG]), TrialRuns(replicates={}))
            if tags.get(KIND_TAG) == "trial":
                runs.run = run
            elif tags.get(KIND_TAG) == "replicate":
                key = ReplicateKey(tags.get(SEED_TAG, ""), tags.get(SUBJECT_TAG, CANDIDATE))
                runs.replicates[key] = run
        return trials

    def _search(self, condition: str) -> "list[Run]":
        found: list[Run] = []
        token: str | None = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id],
                condition,
                max_results=RUNS_A_PAGE,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            found += page
            token = page.token
            if not token:
                return found


def _contradicts(has: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return any(has.get(key, value) != value for key, value in wanted.items())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
