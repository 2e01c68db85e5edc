"""Whole sessions, started as a person starts them, on real parts."""

import json
import shutil
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

import mlflow
import mlflow.entities
import pytest

from nightlab.judging.decision import BASELINE_REPLICATES
from nightlab.ledger import Ledger
from nightlab.records import Reason, Verdict
from nightlab.settings import SessionSettings
from nightlab.study.session import study_seeds
from tests.conftest import SHORT_BUDGET, expect_success, git, make_clone, run_nightlab
from tests.scripted_endpoint import Failure, Hang, ScriptedEndpoint
from tests.scripted_endpoint import answer_with_edit as edit

# One of the processes that share the suite runs them all, since the first session is made once.
pytestmark = pytest.mark.xdist_group("research")

# A trial that happens to be kept is not to be confirmed: that is another test's.
UNCONFIRMED = ("--confirm-replicates", "0")
QUICK = (*SHORT_BUDGET, "--study", "night", *UNCONFIRMED)
# The study's seeds follow from it.
SEED = ("--seed", "7")


@dataclass(frozen=True, slots=True)
class FirstSession:
    """A clone in which one session ran, with a Prefect server of its own."""

    clone: Path
    head_before: str
    done: "subprocess.CompletedProcess[str]"


@pytest.fixture(scope="module")
def first_session(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> FirstSession:
    """A session with a baseline and one trial, run once for this module."""
    clone = make_clone(tmp_path_factory.mktemp("first") / "clone")
    head = git(clone, "rev-parse", "HEAD")
    session = ("research", *QUICK, *SEED, "--trials", "1")
    done = run_nightlab(clone, shared_cache, *session, timeout_seconds=900)
    return FirstSession(clone, head, done)


@pytest.fixture
def begun(first_session: FirstSession, tmp_path: Path) -> Path:
    """A copy of that clone for one test, which goes on with its study."""
    return shutil.copytree(first_session.clone, tmp_path / "begun", symlinks=True)


# Not marked slow though it is: the main path belongs into every run of the tests.
def test_a_session_runs_to_its_end(first_session: FirstSession, shared_cache: Path) -> None:
    clone = first_session.clone
    said = expect_success(first_session.done)
    assert "Baseline:  trial 0" in said
    assert "Incumbent: trial" in said
    assert "Report:" in said
    assert "nightlab ui" in said

    ledger = Ledger(clone, "night")
    records = ledger.records()
    assert [record.number for record in records] == [0, 1]
    assert records[0].reason is Reason.BASELINE
    # Both codes are trained on the study's seeds in the same order, each seed once.
    seeds = study_seeds(SessionSettings(seed=7))
    baseline = {replicate.seed for replicate in records[0].replicates}
    assert baseline == set(seeds[:BASELINE_REPLICATES])
    trained = [replicate.seed for replicate in records[1].replicates]
    assert trained == list(seeds[: len(trained)]) != []
    assert {replicate.place for record in records for replicate in record.replicates} != {""}
    assert not ledger.marks()

    assert git(clone, "status", "--porcelain") == ""
    assert git(clone, "rev-parse", "HEAD") == first_session.head_before
    assert git(clone, "for-each-ref", "refs/nightlab/night/trials").count("\n") == 2
    git(clone, "fsck", "--strict")
    assert list((clone / "mlruns" / "reports").iterdir())
    _mlflow_agrees_with_show(clone, shared_cache)


@pytest.mark.slow
def test_a_study_goes_on_with_what_it_was_begun_with(
    begun: Path, shared_cache: Path, prefect_api: dict[str, str]
) -> None:
    before = Ledger(begun, "night").records()
    again = ("research", "--study", "night", "--trials", "1", *UNCONFIRMED)
    expect_success(run_nightlab(begun, shared_cache, *again, extra=prefect_api))
    records = Ledger(begun, "night").records()
    assert records[:2] == before
    assert [record.number for record in records] == [0, 1, 2]
    assert records[2].budget_seconds == 6

    refused = run_nightlab(begun, shared_cache, *again, "--budget-seconds", "9", extra=prefect_api)
    assert refused.returncode == 2
    assert "was begun with budget_seconds 6" in refused.stderr
    assert "Traceback" not in refused.stderr + refused.stdout


def trial_run(
    client: mlflow.MlflowClient, experiments: list[str], number: int
) -> mlflow.entities.Run:
    """The one run of a trial; its replicates are runs below it."""
    found = client.search_runs(experiments, f"tags.`nightlab.trial` = '{number}'")
    (run,) = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    return run


def _mlflow_agrees_with_show(clone: Path, cache: Path) -> None:
    shown = json.loads(expect_success(run_nightlab(clone, cache, "show", "night", "--json")))
    client = mlflow.MlflowClient(f"sqlite:///{clone}/mlruns/mlflow.db")
    experiments = [e.experiment_id for e in client.search_experiments()]
    for trial in shown["trials"]:
        run = trial_run(client, experiments, trial["number"])
        assert run.data.tags["verdict"] == trial["decision"]["verdict"]
        assert run.data.tags["commit"] == trial["commit"]
        (dataset,) = [each.dataset for each in run.inputs.dataset_inputs]
        assert trial["corpus_fingerprint"].startswith(dataset.digest)
        assert json.loads(dataset.profile)["splits"]["val"]["tokens"] > 0
        # An idea that is too much for a busy machine has no score, and then neither tells of one.
        assert run.data.metrics.get("val_bpb") == trial["val_bpb"]
        children = client.search_runs(
            experiments, f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
        )
        scores = {child.data.metrics.get("val_bpb") for child in children}
        for child in children:
            assert run.info.start_time <= child.info.start_time < child.info.end_time
            assert child.info.end_time <= run.info.end_time
        trained = trial["replicates"] + trial["incumbent_replicates"]
        evaluated = [replicate["evaluation"] or {} for replicate in trained]
        assert scores == {evaluation.get("val_bpb") for evaluation in evaluated}


@pytest.mark.slow
def test_ill_behaved_candidates_get_their_verdicts_and_the_session_goes_on(
    begun: Path, shared_cache: Path, prefect_api: dict[str, str]
) -> None:
    main_line, save_line = "def main() -> None:", "    run.save(model)"
    lines = (begun / "trainer" / "train.py").read_text().splitlines()
    assert lines.count(main_line) == lines.count(save_line) == 1
    answers = [
        edit(main_line, f'{main_line}\n    raise RuntimeError("a planted fault")'),
        edit(main_line, f"{main_line}\n    time.sleep(3600)"),
        edit(save_line, f"    next(model.parameters()).data.fill_(math.nan)\n{save_line}"),
        edit(save_line, f"    time.sleep(3600)\n{save_line}"),
        edit("this text does not stand in the file", "anything"),
        edit("neither does this", "anything"),
        edit("nor this", "anything"),
    ]
    with ScriptedEndpoint(answers) as endpoint:
        said = run_nightlab(
            begun,
            shared_cache,
            "research",
            *QUICK,
            "--startup-seconds",
            "40",
            "--trials",
            "5",
            "--model",
            "openai/scripted",
            "--api-base",
            endpoint.api_base,
            extra=prefect_api,
        )
    expect_success(said)
    records = Ledger(begun, "night").records()[2:]
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
    shown = expect_success(run_nightlab(begun, shared_cache, "show", "night", "2"))
    assert "a planted fault" in shown
    assert git(begun, "status", "--porcelain") == ""


@pytest.mark.slow
def test_what_breaks_in_the_dry_run_goes_back_to_the_model(
    begun: Path, shared_cache: Path, prefect_api: dict[str, str]
) -> None:
    save_line = "    run.save(model)"
    broken = edit(save_line, f'    raise ValueError("lost at the end")\n{save_line}')
    mended = edit(save_line, f"    # Mended.\n{save_line}")
    with ScriptedEndpoint([broken, mended, broken, broken, broken]) as endpoint:
        said = run_nightlab(
            begun,
            shared_cache,
            "research",
            *QUICK,
            "--preflight-seconds",
            "1",
            "--trials",
            "2",
            "--no-prefetch",
            "--model",
            "openai/scripted",
            "--api-base",
            endpoint.api_base,
            extra=prefect_api,
        )
        asked = [request.body["messages"] for request in endpoint.requests]
    expect_success(said)
    good, bad = Ledger(begun, "night").records()[2:]
    assert good.replicates
    assert good.repairs == 1
    assert good.preflight is not None
    assert good.preflight.failure is None
    assert good.cost.calls == 2
    assert [message["role"] for message in asked[1]] == ["system", "user", "assistant", "user"]
    assert "lost at the end" in asked[1][-1]["content"]

    assert (bad.verdict, bad.reason, bad.repairs) == (Verdict.CRASH, Reason.EXCEPTION, 2)
    assert bad.replicates == ()
    assert "lost at the end" in bad.decision.sentence
    assert "lost at the end" in bad.log_tail
    assert bad.cost.calls == 3
    shown = expect_success(run_nightlab(begun, shared_cache, "show", "night", "3"))
    assert "dry run: exception" in shown


@pytest.mark.slow
def test_a_faltering_model_is_tried_again_and_its_calls_are_traced_and_paid_for(
    begun: Path, shared_cache: Path, prefect_api: dict[str, str]
) -> None:
    canary = f"sk-{uuid.uuid4().hex}"
    source = (begun / "trainer" / "train.py").read_text()
    knob = next(line for line in source.splitlines() if line.startswith("LOGIT_CAP = 15.0"))
    good = edit(knob, knob.replace("15.0", "20.0"))
    answers = [Failure(429), Failure(500), good, Hang(60), "no block at all", "none", "none again"]
    with ScriptedEndpoint(answers) as endpoint:
        said = expect_success(
            run_nightlab(
                begun,
                shared_cache,
                "research",
                *QUICK,
                "--trials",
                "2",
                "--model",
                "openai/gpt-4o-mini",
                "--api-base",
                endpoint.api_base,
                *("--api-key-secret", "env:OPENAI_API_KEY"),
                "--model-timeout-seconds",
                "5",
                extra={**prefect_api, "OPENAI_API_KEY": canary},
            )
        )
        assert len(endpoint.requests) == 7
    first, second = Ledger(begun, "night").records()[2:]
    assert first.verdict in (Verdict.KEEP, Verdict.DISCARD)
    assert first.val_bpb is not None
    assert (second.verdict, second.reason) == (Verdict.CRASH, Reason.INVALID_EDIT)
    assert first.cost.cost_usd
    assert second.cost.calls == 3

    client = mlflow.MlflowClient(f"sqlite:///{begun}/mlruns/mlflow.db")
    experiments = [e.experiment_id for e in client.search_experiments()]
    run = trial_run(client, experiments, 2)
    assert run.data.metrics["cost_usd"] == first.cost.cost_usd
    traces = client.search_traces(locations=experiments)
    assert len(traces) == 7

    everything = said + git(begun, "log", "--all", "-p") + str(traces)
    assert canary not in everything
    for file in (begun / "mlruns").rglob("*"):
        if file.is_file():
            assert canary.encode() not in file.read_bytes()


@pytest.mark.slow
def test_a_model_that_refuses_three_times_alike_ends_the_session_with_its_sentence(
    begun: Path, shared_cache: Path, prefect_api: dict[str, str]
) -> None:
    refusals = [Failure(401, f"bad key (request {number})") for number in range(4)]
    with ScriptedEndpoint(refusals) as endpoint:
        said = run_nightlab(
            begun,
            shared_cache,
            "research",
            *QUICK,
            "--model",
            "openai/x",
            "--api-base",
            endpoint.api_base,
            extra=prefect_api,
        )
        assert len(endpoint.requests) == 3
    assert said.returncode == 2
    assert "nightlab: " in said.stderr
    assert "401" in said.stderr
    assert "Traceback" not in said.stdout + said.stderr
    record = Ledger(begun, "night").records()[-1]
    assert (record.verdict, record.reason) == (Verdict.FAILED, Reason.MODEL_REFUSED)
