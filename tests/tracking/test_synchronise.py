from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from nightlab.errors import TrackingError
from nightlab.tracking import Tracker, synchronise
from tests.tracking.samples import DIFF, SOURCE, FixedRecords, evidence, facts, mark, record

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


def test_a_live_trial_needs_no_mending(local_uri: str, mlruns: Path, study: str) -> None:
    tracker = Tracker(local_uri, mlruns, study)
    tracker.trial_started(mark(study), facts(study))
    tracker.replicate_started(3, 30)
    tracker.trial_ended(record(study), evidence(), DIFF, SOURCE)
    assert tracker.flush(60)
    tracker.close()
    ledger = FixedRecords(study=study, all_scores={3: (1.9876543210123,)})
    assert synchronise(ledger, local_uri, mlruns).changed == 0


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
    client.log_metric(children["10"].info.run_id, "elapsed_seconds", 99.0, step=1)
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
    elsewhere = facts(study).model_copy(update={"host": "another machine"})
    tracker.trial_started(mark(study), elsewhere)
    tracker.trial_ended(record(study), evidence(), DIFF, SOURCE)
    assert tracker.flush(60)
    tracker.close()
    (run,) = runs(MlflowClient(tracking_uri=local_uri), study, "trial").values()
    assert run.data.params["host"] == "here"


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
