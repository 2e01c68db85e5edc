"""A study's trials in MLflow: one run a trial, one run below it for each training.

A run is found by its tags (study, trial, seed, subject), so that a resumed session, a retried task
and a synchronisation meet the same run.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nightlab.tracking.content import TrialContent, opening_tags
from nightlab.tracking.origin import Dataset
from nightlab.tracking.replicates import ReplicateKey, replicate_tags
from nightlab.tracking.runs import (
    KILLED,
    RUNNING,
    RunContent,
    Runs,
    Written,
    is_good,
    now_ms,
)
from nightlab.tracking.tags import (
    CANDIDATE,
    KIND_TAG,
    NAME_TAG,
    PARENT_TAG,
    RECORD_TAG,
    SEED_TAG,
    STUDY_TAG,
    SUBJECT_TAG,
    TRIAL_TAG,
)

if TYPE_CHECKING:
    from mlflow.entities import Run


@dataclass(slots=True, kw_only=True)
class TrialRuns:
    """The runs that MLflow has of a trial."""

    run: "Run | None" = None
    replicates: "dict[ReplicateKey, Run]" = field(default_factory=dict)
    doubles: "list[Run]" = field(default_factory=list)
    """Further ones with the same tags: a call that failed had made a run all the same."""

    def every(self) -> "list[Run]":
        """All of them."""
        return [*([self.run] if self.run else []), *self.replicates.values(), *self.doubles]


class Store(Runs):
    """The runs of a study's experiment, by trial."""

    def trials(self) -> dict[int, TrialRuns]:
        """The runs of all trials, by number."""
        return self._grouped("")

    def trial(self, number: int) -> TrialRuns:
        """The runs of one trial."""
        found = self._grouped(f"tags.`{TRIAL_TAG}` = '{number}'")
        return found.get(number, TrialRuns())

    def open_trial(
        self,
        number: int,
        started_ms: int,
        title: str = "",
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        dataset: Dataset | None = None,
    ) -> str:
        """Have a RUNNING run for a trial that begins or is resumed; return its identifier."""
        own = {**opening_tags(self.study, number, title), **(tags or {})}
        runs = self.trial(number)
        run = runs.run
        if run is not None and RECORD_TAG in run.data.tags:
            return str(run.info.run_id)  # It ended: its record stands and is written once.
        if run is not None and not is_good(run, params or {}):
            self._delete(runs.every())
            run = None
        if run is None:
            run = self.create(own, started_ms)
        elif not title:
            own.pop(NAME_TAG)
        if run.info.status != RUNNING:
            self.client.update_run(run.info.run_id, status=RUNNING)
        self.log(run, params=params or {}, tags=own)
        self.log_dataset(run, dataset)
        return str(run.info.run_id)

    def open_replicate(
        self, number: int, parent: str, seed: int, started_ms: int, subject: str = CANDIDATE
    ) -> str:
        """Have a RUNNING child run without a curve; return its identifier.

        One that a killed session left is deleted: its curve is not that of this training.
        """
        tags = replicate_tags(self.study, number, seed, subject)
        self._delete(
            self.search(f"tags.`{TRIAL_TAG}` = '{number}'"), ReplicateKey(str(seed), subject)
        )
        run = self.create({**tags, PARENT_TAG: parent}, started_ms)
        self.log(run, params={"seed": str(seed)})
        return str(run.info.run_id)

    def close_open(self, ended: Container[int] = (), in_hand: Container[int] = ()) -> None:
        """Show that nobody is at work on the study.

        What was cut off is KILLED, and a trial whose idea waits to begin SCHEDULED.

        Args:
            ended: trials that were written to their end: what of them is open is a double.
            in_hand: trials of which there is no more than the idea.
        """
        for run in self.search(f"attributes.status = '{RUNNING}'"):
            number = _number(run)
            if number is not None and number in ended:
                self.client.delete_run(run.info.run_id)
            elif number is not None and number in in_hand and _kind(run) == "trial":
                self.client.update_run(run.info.run_id, status="SCHEDULED")
            else:
                self.client.set_terminated(run.info.run_id, KILLED)

    def write_trial(self, content: TrialContent, runs: TrialRuns) -> Written:
        """Bring a finished trial's runs to what they are to show."""
        self._delete(runs.doubles)
        changed = bool(runs.doubles)
        if runs.run is not None and not is_good(runs.run, content.run.params):
            self._delete(runs.every())
            runs = TrialRuns()
        run, missing = self.begin(content.run, runs.run)
        changed |= missing or run is not runs.run
        for key, replicate in content.replicates.items():
            standing = runs.replicates.pop(key, None)
            changed |= self.write(replicate, standing, run.info.run_id).changed
        for stray in runs.replicates.values():
            if stray.info.status == RUNNING:
                self.client.set_terminated(stray.info.run_id, KILLED, content.run.ended_ms)
                changed = True
        # The record's digest comes last: without it the run counts as incomplete.
        changed |= self.finish(content.run, run)
        return Written(run_id=str(run.info.run_id), changed=changed)

    def write_replicate(self, number: int, content: RunContent) -> None:
        """Bring one training of a trial under way to what it is to show."""
        runs = self.trial(number)
        key = _key(content.tags)
        self._delete(runs.doubles)
        parent = str(runs.run.info.run_id) if runs.run is not None else ""
        self.write(content, runs.replicates.get(key), parent)

    def write_alone(self, content: RunContent, key: str = KIND_TAG) -> Written:
        """Bring a run that is no trial's to what it is to show.

        Args:
            content: with the study's tag and its kind's.
            key: the tag that tells it from others of its kind.
        """
        wanted = {tag: content.tags[tag] for tag in (KIND_TAG, key)}
        return self.write(content, self.only(wanted))

    def log_files(self, kind: str, name: str, paths: Iterable[Path]) -> str:
        """Put files on the study's one run of a kind that is no trial; return its identifier."""
        tags = {KIND_TAG: kind, STUDY_TAG: self.study}
        run = self.only({KIND_TAG: kind}) or self.create({**tags, NAME_TAG: name}, now_ms())
        for path in paths:
            self.client.log_artifact(run.info.run_id, str(path))
        self.client.set_terminated(run.info.run_id)
        return str(run.info.run_id)

    def _delete(self, runs: "Iterable[Run]", only: ReplicateKey | None = None) -> None:
        for run in runs:
            if only is None or (_kind(run) == "replicate" and _key(run.data.tags) == only):
                self.client.delete_run(run.info.run_id)

    def _grouped(self, condition: str) -> dict[int, TrialRuns]:
        trials: dict[int, TrialRuns] = {}
        # Of doubles the one that has most to show stands, or else the first.
        for run in sorted(self.search(condition), key=_weight, reverse=True):
            number = _number(run)
            if number is None:
                continue
            runs = trials.setdefault(number, TrialRuns())
            if _kind(run) == "trial" and runs.run is None:
                runs.run = run
            elif _kind(run) == "replicate" and _key(run.data.tags) not in runs.replicates:
                runs.replicates[_key(run.data.tags)] = run
            elif _kind(run) in ("trial", "replicate"):
                runs.doubles.append(run)
        return trials


def _number(run: "Run") -> int | None:
    number = run.data.tags.get(TRIAL_TAG, "")
    return int(number) if number.isdecimal() else None


def _kind(run: "Run") -> str:
    return str(run.data.tags.get(KIND_TAG, ""))


def _key(tags: Mapping[str, str]) -> ReplicateKey:
    return ReplicateKey(tags.get(SEED_TAG, ""), tags.get(SUBJECT_TAG, CANDIDATE))


def _weight(run: "Run") -> tuple[bool, int, int]:
    return RECORD_TAG in run.data.tags, len(run.data.metrics), -run.info.start_time
