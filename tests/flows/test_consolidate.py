"""The flow, the command and the deployment that find what a study could do without."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.utilities.importtools import import_object
from typer.testing import CliRunner, Result

from flows import consolidate as flow_module
from flows import rounds
from flows.command_line import app
from flows.commands import consolidation as command_module
from flows.commands.common import once
from flows.consolidate import consolidation
from flows.side_by_side import Outcomes
from nightlab import events
from nightlab.errors import UsageError
from nightlab.evaluation.evaluation import HOLDOUT
from nightlab.judging.consolidating import FEWEST_PAIRS, MOST_PAIRS, Outcome
from nightlab.ledger import (
    ConsolidationRecord,
    Ledger,
    Remote,
    ask_to_stop,
    consolidations,
    hold_session,
    holdout_uses,
)
from nightlab.records import Decision, Evidence, Proposal, Reason, Verdict, utc_now
from nightlab.study.consolidation import Due, begin_consolidation, finish_consolidation, offer
from nightlab.study.session import as_current
from tasks import consolidate as task_module
from tasks.finished import result_of
from tests.conftest import (
    ROOT,
    expect_success,
    git,
    nightlab_command,
    nightlab_environment,
    run_nightlab,
)
from tests.consolidation_samples import DEEPER, STUDY, WIDER, run, studied, trained

BRANCH = f"nightlab/{STUDY}-consolidated"


class Trainer:
    """Stands for the task: trains at once, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.trained: list[str] = []

    def submit(self, session: Any, record: ConsolidationRecord, due: Due) -> Any:
        self.trained.append(due.code)
        replicate = trained(due)
        return SimpleNamespace(wait=lambda: None, result=lambda: replicate)


@pytest.fixture
def without_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take what a stand-in for the task gives back, where no server runs tasks."""

    def outcomes_of(session: Any, submits: Any) -> Outcomes[Any]:
        return Outcomes([submit().result() for submit in submits], None)

    monkeypatch.setattr(rounds, "outcomes_of", outcomes_of)


def invoke(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.chdir(folder)
    return CliRunner(env={"COLUMNS": "120"}).invoke(app, ["consolidate", *arguments])


def finished(session: Any) -> ConsolidationRecord:
    record = run(session, begin_consolidation(session, MOST_PAIRS))
    return finish_consolidation(session, record)


@pytest.mark.usefixtures("without_prefect")
def test_it_trains_side_by_side_tells_each_round_and_says_what_came_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = studied(tmp_path / "clone", DEEPER, WIDER, lanes=2)
    trainer = Trainer()
    monkeypatch.setattr(flow_module, "train_code", trainer)
    heard: list[events.Event] = []
    with events.listening(heard.append), as_current(session):
        record = result_of(consolidation.fn(STUDY, MOST_PAIRS))
    begun = [each for each in heard if isinstance(each, events.StepBegun)]
    assert begun[0].title == "incumbent, without trial 1"
    assert {(each.step, each.number) for each in begun} == {("consolidate", 2)}
    assert begun[-1].title.endswith("without all passengers")
    said = [each.text for each in heard if isinstance(each, events.Notice)]
    assert said == [*(change.sentence for change in record.changes), record.sentence]
    counted = len(record.incumbent_replicates) + len(record.together.replicates)
    assert counted + sum(len(each.replicates) for each in record.changes) == len(trainer.trained)


@pytest.mark.usefixtures("without_prefect")
def test_a_person_who_asks_it_to_stop_can_go_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = studied(tmp_path / "clone", DEEPER, WIDER)
    trainer = Trainer()

    def submit(session: Any, record: ConsolidationRecord, due: Due) -> Any:
        if len(trainer.trained) == 2:
            ask_to_stop(session.ledger)
        return Trainer.submit(trainer, session, record, due)

    stopping = SimpleNamespace(submit=submit)
    monkeypatch.setattr(flow_module, "train_code", stopping)
    with hold_session(session.ledger, None, holder=session.identifier), as_current(session):
        record = result_of(consolidation.fn(STUDY, MOST_PAIRS))
    assert record.finished_at is None
    assert len(trainer.trained) == 3
    monkeypatch.setattr(flow_module, "train_code", trainer)
    session.trials_ended_at = utc_now()
    with as_current(session):
        record = result_of(consolidation.fn(STUDY, MOST_PAIRS))
    assert record.finished_at is not None
    assert len(set(trainer.trained[:3]) & {"incumbent", "without trial 1"}) == 2


@pytest.mark.slow
def test_the_flow_runs_on_prefect_pushes_what_it_offers_and_knows_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_api: dict[str, str]
) -> None:
    root = tmp_path / "clone"
    session = studied(root, DEEPER, WIDER, lanes=2)
    git(tmp_path, "init", "-q", "--bare", "hub.git")
    git(root, "remote", "add", "origin", str(tmp_path / "hub.git"))
    session.remote = Remote(root, "origin", STUDY)
    trainings: list[str] = []

    def train(session: Any, record: ConsolidationRecord, due: Due) -> Any:
        trainings.append(due.code)
        return trained(due)

    @contextmanager
    def opened(settings: Any) -> Iterator[Any]:
        assert settings.proposer == "knobs"
        assert settings.remote == "origin"
        with as_current(session):
            yield session

    steering = SimpleNamespace(end=lambda: None)
    for name, stand_in in {
        "working_session": opened,
        "push_or_say": lambda session: session.remote.push(),
        "Steering": lambda session: steering,
    }.items():
        monkeypatch.setattr(flow_module, name, stand_in)
    monkeypatch.setattr(rounds, "push_or_say", lambda session: session.remote.push())
    monkeypatch.setattr(task_module, "consolidate_once", train)
    monkeypatch.chdir(root)
    with temporary_settings({PREFECT_API_URL: prefect_api["PREFECT_API_URL"]}):
        consolidate = once(flow_module.consolidate)
        record = consolidate(study=STUDY, remote="origin")
        assert [each.outcome for each in record.changes] == [Outcome.STAYS, Outcome.PASSENGER]
        made = len(trainings)
        # On another machine it is known, and the branch is there for who has only the records.
        git(root, "branch", "-D", BRANCH)
        assert consolidate(study=STUDY, remote="origin") == consolidations(session.ledger)[0]
        assert len(trainings) == made
        assert git(root, "rev-parse", BRANCH).strip() == record.consolidated_commit
        # A run that is tried again, or again after an outage of Prefect, has its own already.
        assert consolidate(study=STUDY, remote="origin", again=True).number == 0
        assert len(trainings) == made
        session.identifier, session.began = "another run", utc_now()
        again = consolidate(study=STUDY, remote="origin", again=True)
        assert again.number == 1
        assert len(trainings) > made
    there = git(tmp_path / "hub.git", "rev-parse", f"refs/heads/{BRANCH}").strip()
    assert there == again.consolidated_commit


def test_the_command_shows_a_finished_one_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "clone"
    session = studied(root, DEEPER, WIDER)
    record = finished(session)

    def started(places: Any, ledger: Any) -> Any:
        raise AssertionError("nothing is to be started")

    monkeypatch.setattr(command_module, "with_prefect", started)
    shown = invoke(root, monkeypatch, STUDY)
    assert shown.exit_code == 0, shown.output
    for text in ("brings bpb", "passenger", "stays", record.sentence, record.changes[1].sentence):
        assert text in shown.output
    assert git(root, "rev-parse", BRANCH).strip() == record.consolidated_commit

    git(root, "branch", "-f", BRANCH, "main")
    assert "so it stays as it is" in invoke(root, monkeypatch, STUDY).output


@pytest.mark.parametrize("options", [(), ("--again",), ("--pairs", "6")])
def test_the_command_hands_its_options_to_the_flow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    from flows.terminal import Terminal

    root = tmp_path / "clone"
    session = studied(root, DEEPER, WIDER)
    if "--again" in options:
        offer(session.ledger, finished(session))
    given: list[dict[str, Any]] = []

    def stand_in(**values: Any) -> ConsolidationRecord:
        given.append(values)
        return finished(session)

    console = Terminal(sys.stdout, width=120)
    monkeypatch.setattr(command_module, "with_prefect", lambda *_: nullcontext(console))
    monkeypatch.setattr(command_module, "once", lambda flow: flow)
    monkeypatch.setattr(flow_module, "consolidate", stand_in)
    shown = invoke(root, monkeypatch, STUDY, *options)
    assert shown.exit_code == 0, shown.output
    expected = {"study": STUDY, "remote": None, "again": "--again" in options}
    assert given == [{**expected, "pairs": 6 if "--pairs" in options else MOST_PAIRS}]


def test_the_command_says_what_it_cannot_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "clone"
    session = studied(root)
    refused = invoke(root, monkeypatch, STUDY)
    assert isinstance(refused.exception, UsageError)
    assert "kept no change since its baseline" in str(refused.exception)
    assert isinstance(invoke(root, monkeypatch, "other").exception, UsageError)
    too_few = invoke(root, monkeypatch, STUDY, "--pairs", str(FEWEST_PAIRS - 1))
    assert too_few.exit_code == 2
    assert session.ledger.plumbing.resolve(f"refs/heads/{BRANCH}") is None


def test_it_is_deployed() -> None:
    document = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    (deployed,) = [
        each for each in document["deployments"] if each["entrypoint"].endswith(":consolidate")
    ]
    entry = import_object(str(ROOT / deployed["entrypoint"]))
    assert isinstance(entry, Flow)
    assert f"{entry.name}/{deployed['name']}" == "consolidate/on-demand"
    entry.validate_parameters(deployed["parameters"])


@pytest.mark.slow
def test_a_real_one_is_killed_and_goes_on(
    clone: Path, shared_cache: Path, prefect_api: dict[str, str]
) -> None:
    begin = ("research", "--study", STUDY, "--trials", "0", "--budget-tokens", "8192")
    expect_success(run_nightlab(clone, shared_cache, *begin, extra=prefect_api))
    ledger = Ledger(clone, STUDY)
    baseline = ledger.record(0)
    _keep(ledger, "import math\n", "import math\n\nNOTHING = 0\n")

    told = clone.parent / "told.log"
    with told.open("wb") as output:
        session = subprocess.Popen(
            nightlab_command("consolidate", STUDY, "--pairs", "2"),
            cwd=clone,
            env={**nightlab_environment(shared_cache, prefect_api), "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + 300
    try:
        while not any(each.incumbent_replicates for each in consolidations(ledger)):
            if session.poll() is not None or time.monotonic() > deadline:
                pytest.fail(told.read_text(encoding="utf-8"))
            time.sleep(0.1)
    finally:
        os.kill(session.pid, signal.SIGKILL)
        session.wait()
    (left,) = consolidations(ledger)
    assert left.finished_at is None

    command = ("consolidate", STUDY, "--pairs", "2")
    said = expect_success(
        run_nightlab(clone, shared_cache, *command, extra=prefect_api, timeout_seconds=900)
    )
    (record,) = consolidations(ledger)
    assert record.finished_at is not None
    done = len(left.incumbent_replicates)
    assert record.incumbent_replicates[:done] == left.incumbent_replicates
    assert record.sentence in said
    assert ledger.incumbent() == ledger.record(1).commit != baseline.commit
    splits = {each.evaluation.split for each in record.incumbent_replicates}
    assert HOLDOUT not in splits
    assert holdout_uses(ledger) == ()
    again = expect_success(run_nightlab(clone, shared_cache, *command, extra=prefect_api))
    assert record.sentence in again
    assert len(consolidations(ledger)) == 1
    git(clone, "fsck", "--strict")
    assert git(clone, "status", "--porcelain") == ""


def _keep(ledger: Ledger, search: str, replace: str) -> None:
    """Record a trial that was kept, as if it had been measured."""
    baseline, parent = ledger.record(0), ledger.incumbent()
    source = ledger.source(parent)
    assert search in source
    commit = ledger.write_candidate(parent, source.replace(search, replace, 1), "Change nothing")
    kept = Decision(verdict=Verdict.KEEP, reason=Reason.IMPROVED, sentence="Kept by luck.")
    record = baseline.model_copy(
        update={
            "number": 1,
            "parent": parent,
            "commit": commit,
            "title": "Change nothing",
            "proposer": "knobs",
            "decision": kept,
            "replicates": (),
            "incumbent_replicates": (),
        }
    )
    proposal = Proposal(title="Change nothing", proposer="knobs")
    ledger.finish(record, Evidence(proposal=proposal))
