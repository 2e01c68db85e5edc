"""Whole sessions, started as a person starts them, on real parts."""

import json
from pathlib import Path

import mlflow
import pytest

from nightlab.ledger import Ledger
from nightlab.records import Reason, Verdict
from tests.conftest import Run, expect_success, git

QUICK = ("--budget-seconds", "3", "--study", "night")


@pytest.mark.slow
def test_a_session_runs_to_its_end_and_a_second_one_continues_it(
    clone: Path, nightlab: Run
) -> None:
    before = git(clone, "rev-parse", "HEAD")
    said = expect_success(nightlab("research", *QUICK, "--trials", "1"))
    assert "Baseline:  trial 0" in said
    assert "Incumbent: trial" in said
    assert "Report:" in said
    assert "nightlab ui" in said

    ledger = Ledger(clone, "night")
    records = ledger.records()
    assert [record.number for record in records] == [0, 1]
    assert records[0].reason is Reason.BASELINE
    assert len(records[0].replicates) == 3
    assert len({replicate.seed for record in records for replicate in record.replicates}) == 4
    assert not ledger.marks()

    assert git(clone, "status", "--porcelain") == ""
    assert git(clone, "rev-parse", "HEAD") == before
    assert git(clone, "for-each-ref", "refs/nightlab/night/trials").count("\n") == 2
    git(clone, "fsck", "--strict")

    _mlflow_agrees_with_show(clone, nightlab)
    assert (clone / "mlruns" / "reports").is_dir()

    expect_success(nightlab("research", "--study", "night", "--trials", "1"))
    continued = ledger.records()
    assert [record.number for record in continued] == [0, 1, 2]
    assert continued[:2] == records
    assert continued[2].budget_seconds == 3

    refused = nightlab("research", "--study", "night", "--budget-seconds", "9", "--trials", "1")
    assert refused.returncode == 1
    assert "was begun with budget_seconds 3" in refused.stderr
    assert "Traceback" not in refused.stderr + refused.stdout


def _mlflow_agrees_with_show(clone: Path, nightlab: Run) -> None:
    shown = json.loads(expect_success(nightlab("show", "night", "--json")))
    client = mlflow.MlflowClient(f"sqlite:///{clone}/mlruns/mlflow.db")
    experiments = [e.experiment_id for e in client.search_experiments()]
    for trial in shown["trials"]:
        found = client.search_runs(
            experiments, f"tags.`nightlab.trial` = '{trial['number']}' and tags.verdict != ''"
        )
        assert len(found) == 1
        run = found[0]
        assert run.data.tags["verdict"] == trial["decision"]["verdict"]
        assert run.data.tags["commit"] == trial["commit"]
        assert run.data.metrics["val_bpb"] == trial["val_bpb"]
        children = client.search_runs(
            experiments, f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
        )
        scores = {child.data.metrics["val_bpb"] for child in children}
        assert scores == {r["evaluation"]["val_bpb"] for r in trial["replicates"]}


@pytest.mark.slow
def test_ill_behaved_candidates_get_their_verdicts_and_the_session_goes_on(
    clone: Path, nightlab: Run
) -> None:
    from tests.scripted_endpoint import ScriptedEndpoint
    from tests.scripted_endpoint import answer_with_edit as edit

    main_line = "def main() -> None:\n"
    save = "run.save("
    source = (clone / "trainer" / "train.py").read_text()
    assert source.count(main_line) == 1
    assert source.count(save) == 1
    answers = [
        edit(main_line, main_line + '    raise RuntimeError("a planted fault")\n'),
        edit(main_line, main_line + "    time.sleep(3600)\n"),
        edit(save, "next(model.parameters()).data.fill_(math.nan)\n    run.save("),
        edit(save, "time.sleep(3600)\n    run.save("),
        edit("this text does not stand in the file", "anything"),
        edit("neither does this", "anything"),
    ]
    with ScriptedEndpoint(answers) as endpoint:
        said = nightlab(
            "research",
            *QUICK,
            "--startup-seconds",
            "20",
            "--trials",
            "5",
            "--model",
            "openai/scripted",
            "--api-base",
            endpoint.api_base,
        )
    expect_success(said)
    records = Ledger(clone, "night").records()[1:]
    assert [record.verdict for record in records] == [Verdict.CRASH] * 5
    assert [record.reason for record in records] == [
        Reason.EXCEPTION,
        Reason.STARTUP_TIMEOUT,
        Reason.NONFINITE,
        Reason.TIMEOUT,
        Reason.INVALID_EDIT,
    ]
    assert "a planted fault" in records[0].decision.sentence
    assert "a planted fault" in records[0].log_tail
    shown = expect_success(nightlab("show", "night", "1"))
    assert "a planted fault" in shown
    assert git(clone, "status", "--porcelain") == ""
