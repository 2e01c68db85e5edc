"""A study as MLflow shows it: a run of its own, with the scores by trial and by time."""

import hashlib
import math
from collections.abc import Sequence

from nightlab.judging.scores import running_best
from nightlab.records import TrialRecord
from nightlab.shown import for_markdown
from nightlab.tracking.curves import Measured
from nightlab.tracking.metrics import BEST
from nightlab.tracking.origin import Dataset
from nightlab.tracking.runs import FINISHED, RunContent, milliseconds, storable
from nightlab.tracking.tags import (
    KIND_TAG,
    LONGEST_TAG,
    NAME_TAG,
    RECORD_TAG,
    STUDY_TAG,
    note_tag,
)

STUDY_KIND = "study"


def describe_study(
    records: Sequence[TrialRecord], gain: str, dataset: Dataset | None = None
) -> RunContent:
    """Say what MLflow is to show of a study; a step is a trial, and its time the trial's end.

    Args:
        records: the study's, in order; at least one.
        gain: what was gained, in a sentence.
        dataset: the study's text.
    """
    first, last = records[0], records[-1]
    ends = {record.number: milliseconds(record.finished_at) for record in records}
    rows = [
        Measured(key=key, value=value, step=number, timestamp_ms=ends[number])
        for key, points in (
            (BEST, running_best(records)),
            ("val_bpb", [(each.number, each.val_bpb) for each in records]),
        )
        for number, value in points
        if value is not None and math.isfinite(value)
    ]
    shown = f"{rows}\n{gain}"
    return RunContent(
        status=FINISHED,
        started_ms=milliseconds(first.started_at),
        ended_ms=max(ends.values()),
        tags={
            KIND_TAG: STUDY_KIND,
            STUDY_TAG: last.study,
            NAME_TAG: f"study {last.study}",
            **note_tag(for_markdown(gain)),
            "title": storable(gain)[:LONGEST_TAG],
            RECORD_TAG: hashlib.sha256(shown.encode(errors="replace")).hexdigest(),
        },
        curve=tuple(rows),
        clock=BEST,
        dataset=dataset,
    )
