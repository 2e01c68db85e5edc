"""A model that one machine kept, sampled and exported on another that has MLflow alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nightlab.ledger import Ledger
from nightlab.records import Verdict
from tests.conftest import expect_success, git, make_clone, run_nightlab

TRAINER = "trainer/train.py"
GOOD_RATE, BAD_RATE = "EMBEDDING_LEARNING_RATE = 2.0 ", "EMBEDDING_LEARNING_RATE = 0.002 "
TEXT = "def load(path):\n    "


@pytest.mark.slow
def test_a_kept_model_is_sampled_elsewhere_from_mlflow_alone(
    tmp_path: Path, shared_cache: Path, prefect_api: dict[str, str]
) -> None:
    clone = make_clone(tmp_path / "clone")
    trainer = clone / TRAINER
    trainer.write_text(trainer.read_text().replace(GOOD_RATE, BAD_RATE))
    git(clone, "-c", "user.name=T", "-c", "user.email=t@localhost", "commit", "-qam", "Learn less")
    asked = ("research", "--study", "night", "--trials", "1", "--budget-tokens", "40960")
    edit = f"sed -i 's/^{BAD_RATE}/{GOOD_RATE}/' {TRAINER}; echo 'TITLE: Learn' > IDEA.md"
    script = tmp_path / "agent.sh"
    script.write_text(edit)
    more = ("--confirm-replicates", "0", "--proposer", "command", "--command", f"sh {script}")
    done = run_nightlab(clone, shared_cache, *asked, *more, extra=prefect_api, timeout_seconds=600)
    assert "not kept" not in expect_success(done)
    baseline, kept = Ledger(clone, "night").records()
    assert kept.verdict is Verdict.KEEP

    # A store that is empty gets them from this machine's cache.
    empty = {"NIGHTLAB_TRACKING_URI": f"sqlite:///{tmp_path / 'empty' / 'mlflow.db'}"}
    for missing in ("2 of its models were missing", "of which 0 had to be mended):"):
        done = run_nightlab(clone, shared_cache, "sync", "night", extra=empty)
        assert missing in expect_success(done)

    # Another machine: nothing of the study, in git or in the cache.
    other, cache = make_clone(tmp_path / "other"), tmp_path / "other-cache"
    store = {"NIGHTLAB_TRACKING_URI": f"sqlite:///{clone / 'mlruns' / 'mlflow.db'}"}

    def run(*arguments: str) -> str:
        return expect_success(run_nightlab(other, cache, *arguments, extra=store))

    found = json.loads(run("sample", "night", TEXT, "--length", "30", "--json"))
    assert [model["commit"] for model in found] == [baseline.commit, kept.commit]
    assert [model["study_bpb"] for model in found] == [baseline.val_bpb, kept.val_bpb]
    assert found[0]["continuation"] != found[1]["continuation"] != ""
    shown = run("sample", "night", TEXT, "--length", "30")
    assert "baseline: trial 0" in shown
    assert "champion: trial 1, Learn" in shown

    folder = tmp_path / "model"
    assert "generate.py" in run("export", "night", "--model", str(folder))
    command = [sys.executable, str(folder / "generate.py"), TEXT, "--length", "30"]
    written = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert written == f"{TEXT}{found[1]['continuation']}\n"
