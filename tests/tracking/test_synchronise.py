from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from nightlab.errors import TrackingError
from nightlab.tracking import Origin, Tracker, synchronise
from nightlab.tracking.content import TrialFacts
from nightlab.tracking.runs import milliseconds
from tests.tracking.samples import (
    DIFF,
    SOURCE,
    FixedRecords,
    began,
    curve,
    evidence,
    facts,
    mark,
    record,
)

SCORES: dict[int, tuple[float | None, ...]] = {
    0: (2.1234567890123, 2.2, 2.15),
    1: (1.9876543210123,),
    2: (None,),
}


@pytest.fixture
def ledger(study: str) -> FixedRecords:
    return FixedRecords(study=study, all_scores=dict(SCORES))


def runs(client: MlflowClient, study: str, kind: str) -> dict[str, Run]:
    experiment = client.get_experiment_by_name(f"nightlab/{study}")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], f"tags.`nightlab.kind` = '{kind}'")
    tag = "nightlab.trial" if kind == "trial" else "nightlab.seed"
    by_tag = {run.data.tags[tag]: run for run in found}
    assert len(by_tag) == len(found), "two runs for one"
    return by_tag


def test_everything_is_rebuilt_from_git_and_a_second_time_changes_nothing(
    local_uri: str, mlruns: Path, ledger: FixedRecords
) -> None:
    progress: list[tuple[int, int]] = []
    first = synchronise(ledger, local_uri, mlruns, lambda done, all_: progress.append((done, all_)))
    assert (first.trials, first.changed) == (3, 3)
    assert progress == [(1, 3), (2, 3), (3, 3)]
    second = synchronise(ledger, local_uri, mlruns)
    assert (second.trials, second.changed) == (3, 0)
    client = MlflowClient(tracking_uri=local_uri)
    trials = runs(client, ledger.study, "trial")
    assert [trials[str(n)].data.metrics.get("val_bpb") for n in SCORES] == [
        trial.val_bpb for trial in ledger.records()
    ]
    children = runs(client, ledger.study, "replicate")
    assert {seed: run.data.metrics.get("val_bpb") for seed, run in children.items()} == {
        "0": 2.1234567890123,
        "1": 2.2,
        "2": 2.15,
        "10": 1.9876543210123,
        "20": None,
    }


def shown(uri: str, study: str) -> dict[tuple[str, ...], tuple[object, ...]]:
    """All that MLflow shows of a study, but for what tells it from another."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(f"nightlab/{study}")
    assert experiment is not None
    seen = {}
    for run in client.search_runs([experiment.experiment_id]):
        tags = {k: v for k, v in run.data.tags.items() if k not in OWN_TAGS}
        metrics = {k: v for k, v in run.data.metrics.items() if not k.startswith("system/")}
        curves = {
            key: sorted((m.step, m.timestamp, m.value) for m in history)
            for key in metrics
            if len(history := client.get_metric_history(run.info.run_id, key)) > 1
        }
        names = ("nightlab.kind", "nightlab.trial", "nightlab.seed", "subject")
        key = tuple(run.data.tags.get(name, "") for name in names)
        texts = {item.path for item in client.list_artifacts(run.info.run_id)}
        info, inputs = run.info, [i.dataset.to_dictionary() for i in run.inputs.dataset_inputs]
        assert key not in seen, "two runs for one"
        about = (info.status, info.start_time, info.end_time, run.data.params)
        seen[key] = (*about, metrics, tags, curves, texts, inputs)
    return seen


OWN_TAGS = (
    *("nightlab.study", "nightlab.record", "mlflow.parentRunId", "mlflow.source.git.branch"),
    *("mlflow.runName", "mlflow.runColor"),
)


def test_a_live_trial_and_a_synchronised_one_look_the_same(
    local_uri: str, mlruns: Path, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightlab.tracking.live_curve.POINTS_EVERY_SECONDS", 0.0)
    origin = Origin(repository="https://host/nightlab.git")
    tracker = Tracker(local_uri, mlruns, study, origin)
    tracker.trial_started(mark(study), facts(study))
    tracker.replicate_started(3, 30, began(3))
    for point in curve():
        tracker.point(3, 30, point)
    tracker.replicate_ended(mark(study), evidence().replicates[0])
    tracker.trial_ended(record(study), evidence(), DIFF, SOURCE)
    tracker.study_changed([record(study)], "Nothing yet.")
    assert tracker.flush(60)
    tracker.close()
    ledger = FixedRecords(study=f"{study}-again", all_scores={3: (1.9876543210123,)})
    synchronise(ledger, local_uri, mlruns, gain="Nothing yet.", origin=origin)
    live = shown(local_uri, study)
    assert live == shown(local_uri, ledger.study)
    assert [key[0] for key in sorted(live)] == ["replicate", "study", "trial"]
    ledger.study = study
    assert synchronise(ledger, local_uri, mlruns, gain="Nothing yet.").changed == 0


def test_a_study_has_a_run_of_its_own_with_the_scores_by_trial_and_by_time(
    local_uri: str, mlruns: Path, ledger: FixedRecords
) -> None:
    synchronise(ledger, local_uri, mlruns, gain="Less than before.")
    ledger.all_scores[3] = (1.9,)
    synchronise(ledger, local_uri, mlruns, gain="Much less than before.")
    client = MlflowClient(tracking_uri=local_uri)
    experiment = client.get_experiment_by_name(f"nightlab/{ledger.study}")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], "tags.`nightlab.kind` = 'study'")
    scores = client.get_metric_history(run.info.run_id, "val_bpb")
    assert [(each.step, each.value, each.timestamp) for each in scores] == [
        (record.number, record.val_bpb, milliseconds(record.finished_at))
        for record in ledger.records()
        if record.val_bpb is not None
    ]
    assert run.data.tags["mlflow.note.content"] == "Much less than before."


def test_runs_of_an_older_layout_are_made_anew(
    local_uri: str, mlruns: Path, ledger: FixedRecords
) -> None:
    experiment = synchronise(ledger, local_uri, mlruns).experiment
    client = MlflowClient(tracking_uri=local_uri)
    for run in client.search_runs([experiment]):
        client.delete_tag(run.info.run_id, "nightlab.layout")
        client.log_metric(run.info.run_id, "an_old_name", 1.0)
    client.set_experiment_tag(experiment, "nightlab.layout", "1")
    client.set_experiment_tag(experiment, "mlflow.sharedViewState.trials", "an old view")
    assert synchronise(ledger, local_uri, mlruns).changed == 3
    for run in client.search_runs([experiment]):
        assert "an_old_name" not in run.data.metrics
    assert client.get_experiment(experiment).tags["mlflow.sharedViewState.trials"] != "an old view"
    assert synchronise(ledger, local_uri, mlruns).changed == 0


@pytest.mark.parametrize("at_work", [True, False])
def test_what_is_open_is_closed_unless_a_session_is_at_work(
    local_uri: str, mlruns: Path, ledger: FixedRecords, at_work: bool
) -> None:
    tracker = Tracker(local_uri, mlruns, ledger.study)
    tracker.trial_started(mark(ledger.study, 9), facts(ledger.study, 9))
    assert tracker.flush(60)
    synchronise(ledger, local_uri, mlruns, at_work=at_work)
    trials = runs(MlflowClient(tracking_uri=local_uri), ledger.study, "trial")
    assert trials["9"].info.status == ("RUNNING" if at_work else "KILLED")


def test_what_was_lost_or_falsified_in_mlflow_is_mended(
    local_uri: str, mlruns: Path, ledger: FixedRecords
) -> None:
    synchronise(ledger, local_uri, mlruns)
    client = MlflowClient(tracking_uri=local_uri)
    trials = runs(client, ledger.study, "trial")
    client.log_metric(trials["0"].info.run_id, "val_bpb", 0.0)
    client.set_tag(trials["0"].info.run_id, "verdict", "crash")
    client.delete_run(trials["1"].info.run_id)
    client.set_terminated(trials["2"].info.run_id, "KILLED")
    children = runs(client, ledger.study, "replicate")
    client.delete_run(children["1"].info.run_id)
    client.log_metric(children["10"].info.run_id, "training/elapsed_seconds", 99.0, step=1)
    assert synchronise(ledger, local_uri, mlruns).changed == 3
    trials = runs(client, ledger.study, "trial")
    assert trials["0"].data.metrics["val_bpb"] == ledger.records()[0].val_bpb
    assert trials["0"].data.tags["verdict"] == "discard"
    assert trials["2"].info.status == "FINISHED"
    children = runs(client, ledger.study, "replicate")
    assert set(children) == {"0", "1", "2", "10", "20"}
    assert children["10"].data.tags["mlflow.parentRunId"] == trials["1"].info.run_id
    assert synchronise(ledger, local_uri, mlruns).changed == 0


def test_a_run_with_another_parameter_is_made_anew(
    local_uri: str, mlruns: Path, study: str
) -> None:
    tracker = Tracker(local_uri, mlruns, study)
    elsewhere = facts(study).model_copy(update={"device": "another processor"})
    tracker.trial_started(mark(study), elsewhere)
    tracker.trial_ended(record(study), evidence(), DIFF, SOURCE)
    assert tracker.flush(60)
    tracker.close()
    (run,) = runs(MlflowClient(tracking_uri=local_uri), study, "trial").values()
    assert run.data.params["device"] == "a processor"


def test_a_server_gets_the_same_and_serves_the_files(
    server: str, mlruns: Path, ledger: FixedRecords, tmp_path: Path
) -> None:
    assert synchronise(ledger, server, mlruns).changed == 3
    assert synchronise(ledger, server, mlruns).changed == 0
    client = MlflowClient(tracking_uri=server)
    run = runs(client, ledger.study, "trial")["1"]
    assert run.data.metrics["val_bpb"] == ledger.records()[1].val_bpb
    file = client.download_artifacts(run.info.run_id, "diff.patch", str(tmp_path))
    assert Path(file).read_text() == DIFF


def test_a_server_that_is_down_is_an_error_that_says_what_to_do(
    mlruns: Path, ledger: FixedRecords
) -> None:
    with pytest.raises(TrackingError, match=f"nightlab sync {ledger.study}"):
        synchronise(ledger, "http://127.0.0.1:9", mlruns)


def test_an_experiment_that_was_deleted_is_an_error_that_says_how_to_restore_it(
    local_uri: str, mlruns: Path, ledger: FixedRecords
) -> None:
    synchronise(ledger, local_uri, mlruns)
    client = MlflowClient(tracking_uri=local_uri)
    experiment = client.get_experiment_by_name(f"nightlab/{ledger.study}")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    with pytest.raises(TrackingError, match="experiments restore"):
        synchronise(ledger, local_uri, mlruns)


KNOBS = {
    "A" * 251: 1,
    "A" * 251 + "B": 2,
    "ΣΊΓΜΑ": "é" * 7_000,
    "A·B": 3,
    "\u2118": 4,
    "TEXT": "a\0b\ud800\n",
    **{f"K{index}": index for index in range(300)},
}


def test_any_constants_of_a_candidate_are_taken_and_stay_as_they_are(
    local_uri: str, mlruns: Path, ledger: FixedRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = tuple(each.model_copy(update={"knobs": KNOBS}) for each in ledger.records())
    monkeypatch.setattr(FixedRecords, "records", lambda self: given)
    first = synchronise(ledger, local_uri, mlruns)
    assert (first.changed, first.refused) == (3, ())
    second = synchronise(ledger, local_uri, mlruns)
    assert (second.changed, second.refused) == (0, ())
    shown = runs(MlflowClient(tracking_uri=local_uri), ledger.study, "trial")["1"].data.params
    assert {"1", "2", "3", "4"} <= set(shown.values())
    assert shown["ΣΊΓΜΑ"] == "é" * 500


def test_a_trial_that_mlflow_refuses_stops_no_other(
    local_uri: str, mlruns: Path, ledger: FixedRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused_params(number: int, facts: TrialFacts) -> dict[str, str]:
        return {"no / such // key!": "1"} if number == 1 else {"trial": str(number)}

    monkeypatch.setattr("nightlab.tracking.content.trial_params", refused_params)
    result = synchronise(ledger, local_uri, mlruns)
    assert [sentence[:36] for sentence in result.refused] == [
        "MLflow does not take trial 1, so its"
    ]
    found = runs(MlflowClient(tracking_uri=local_uri), ledger.study, "trial")
    assert [found[number].data.params for number in ("0", "2")] == [{"trial": "0"}, {"trial": "2"}]
