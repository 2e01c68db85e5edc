import math

from nightlab.records import Reason, Verdict
from nightlab.tracking.runs import milliseconds
from nightlab.tracking.study_run import describe_study
from tests.tracking.samples import record


def test_the_best_so_far_stands_at_every_trial_and_at_its_end() -> None:
    baseline = record("s", 0, (2.0,), verdict=Verdict.KEEP, reason=Reason.BASELINE)
    worse, crashed = record("s", 1, (2.2,)), record("s", 2, (None,), verdict=Verdict.CRASH)
    better = record("s", 3, (1.8,), verdict=Verdict.KEEP, reason=Reason.IMPROVED)
    broken = record("s", 4).model_copy(update={"val_bpb": math.nan})
    content = describe_study([baseline, worse, crashed, better, broken], "0.2 fewer.")
    best = [(row.step, row.value) for row in content.curve if row.key == "best_bpb"]
    assert best == [(0, 2.0), (1, 2.0), (2, 2.0), (3, 1.8), (4, 1.8)]
    scores = [(row.step, row.value) for row in content.curve if row.key == "val_bpb"]
    assert scores == [(0, 2.0), (1, 2.2), (3, 1.8)]
    ends = {row.step: row.timestamp_ms for row in content.curve}
    assert ends[2] == milliseconds(crashed.finished_at)
    assert content.started_ms == milliseconds(baseline.started_at)
    assert content.tags["mlflow.note.content"] == "0.2 fewer."


def test_another_gain_or_another_trial_is_something_new() -> None:
    first, second = record("s", 0), record("s", 1)
    digests = {
        describe_study(records, gain).tags["nightlab.record"]
        for records in ([first], [first, second])
        for gain in ("less", "more")
    }
    assert len(digests) == 4
