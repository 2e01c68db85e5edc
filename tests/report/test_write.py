from pathlib import Path

import pytest
from mlflow import MlflowClient

from nightlab.report import log_report, write_report
from nightlab.tracking import Tracker
from tests.report.samples import long_study


def test_the_report_stands_as_two_files_and_is_replaced_by_the_next(tmp_path: Path) -> None:
    ledger = long_study(10, chance=0.3)
    files = write_report(ledger, tmp_path / "new" / "reports")
    assert files.html.read_text().startswith("<!doctype html>")
    assert files.picture.read_text().startswith("<svg ")
    ledger.all_records.pop()
    again = write_report(ledger, tmp_path / "new" / "reports")
    assert again == files
    assert files.html.read_text().count('<tr class="') == 9
    assert sorted(path.name for path in files.html.parent.iterdir()) == [
        "first-light.html",
        "first-light.svg",
    ]


def test_a_half_letter_that_a_model_sent_does_not_stop_the_report(tmp_path: Path) -> None:
    ledger = long_study(3)
    ledger.all_records[1] = ledger.all_records[1].model_copy(update={"title": "half \ud83d"})
    assert "half \\ud83d" in write_report(ledger, tmp_path).html.read_text()


def test_both_files_are_put_into_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "unused")  # Put back after the test.
    mlruns = tmp_path / "mlruns"
    uri = f"sqlite:///{mlruns / 'mlflow.db'}"
    files = write_report(long_study(3), mlruns / "reports")
    tracker = Tracker(uri, mlruns, "first-light")
    log_report(tracker, files)
    assert tracker.flush(60)
    tracker.close()
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("nightlab/first-light")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "report"
    assert {item.path for item in client.list_artifacts(run.info.run_id)} == {
        "first-light.html",
        "first-light.svg",
    }
