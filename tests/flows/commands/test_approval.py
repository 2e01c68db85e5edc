"""``nightlab approve`` as a person runs it: at the desk, of a study that a worker pushes."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.command_line import app
from nightlab.errors import NightlabError, UsageError
from nightlab.ledger import Ledger, Remote, hold_session
from nightlab.records import Approval, Evidence, Proposal, Reason, Verdict
from nightlab.settings import Places
from nightlab.tracking import synchronise
from nightlab.tracking.connection import ENVIRONMENT
from tests.conftest import git
from tests.samples import sample_record

STUDY = "night"


def keep(ledger: Ledger, number: int) -> None:
    """Record a keep that waits for a word; the baseline waits for none."""
    parent = commit = ledger.incumbent()
    if number:
        commit = ledger.write_candidate(parent, f"DEPTH = {number}\n", f"idea {number}")
    reason = Reason.IMPROVED if number else Reason.BASELINE
    record = sample_record(number, scores=(2.0 - number / 10,), verdict=Verdict.KEEP, reason=reason)
    place = {"study": STUDY, "parent": parent, "commit": commit}
    waits = {"approval": Approval.WAITS if number else None}
    proposal = Proposal(title=record.title, proposer="knobs")
    ledger.finish(record.model_copy(update={**place, **waits}), Evidence(proposal=proposal))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone where a person sits; its remote has a study whose three keeps wait."""
    folder = tmp_path / "desk"
    (folder / "trainer").mkdir(parents=True)
    (folder / "trainer" / "train.py").write_text("DEPTH = 4\n")
    (folder / "program.md").write_text("Learn.\n")
    person = ("-c", "user.name=a", "-c", "user.email=b")
    for command in (("init", "-q", "-b", "main"), ("add", "."), ("commit", "-q", "-m", "x")):
        git(folder, *person, *command)
    git(tmp_path, "clone", "-q", "--bare", str(folder), "hub.git")
    git(folder, "remote", "add", "origin", str(tmp_path / "hub.git"))
    git(tmp_path, "clone", "-q", str(tmp_path / "hub.git"), "worker")
    worker = Ledger(tmp_path / "worker", STUDY)
    worker.create()
    for number in range(4):
        keep(worker, number)
    Remote(worker.root, "origin", STUDY).push()
    for name in (*ENVIRONMENT, "MLFLOW_TRACKING_URI", "NIGHTLAB_TRACKING_URI"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # put back at the end
        monkeypatch.delenv(name)
    monkeypatch.setenv("NIGHTLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(folder)
    return folder


def run(*arguments: str) -> str:
    """What a command says; its error is raised."""
    done = CliRunner().invoke(app, arguments)
    if isinstance(done.exception, NightlabError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_what_waits_is_listed_and_the_command_beside_it_shows_what_approval_brings(
    desk: Path,
) -> None:
    said = run("approve", STUDY, "--remote", "origin")
    assert "Trial 2: idea 2" in said
    assert "`nightlab approve night 3` approves all of them." in said
    shows = [line.split() for line in said.splitlines() if "git diff" in line]
    diff = git(desk, *shows[1][1:])
    assert "-DEPTH = 4" in diff
    assert "+DEPTH = 2" in diff
    waiting = json.loads(run("approve", STUDY, "--json"))
    assert [(each["number"], each["approval"]) for each in waiting] == [
        (1, "waits"),
        (2, "waits"),
        (3, "waits"),
    ]
    shown = run("show", STUDY)
    assert shown.count("waits for approval") == 3
    assert "3 keeps wait for your word (trials 1, 2, 3)" in shown
    git(desk, "diff", "--quiet", "main", f"nightlab/{STUDY}")


def test_an_approval_is_on_the_remotes_branch_and_a_refusal_names_what_falls(desk: Path) -> None:
    hub = desk.parent / "hub.git"
    said = run("approve", STUDY, "1", "--remote", "origin")
    assert said == "Trial 1 is approved: branch nightlab/night stands at it.\n"
    assert git(hub, "show", "nightlab/night:trainer/train.py") == "DEPTH = 1\n"
    said = run("approve", STUDY, "2", "--refuse", "--remote", "origin")
    assert said.startswith("Trial 2 is refused: the study goes on from ")
    assert "falls with it (trial 3): `nightlab retry night 3`" in said
    worker = Ledger(desk.parent / "worker", STUDY)
    Remote(worker.root, "origin", STUDY).fetch()
    assert worker.incumbent() == git(hub, "rev-parse", "nightlab/night").strip()
    assert run("approve", STUDY) == "No keep of study night waits for a word.\n"
    assert "was refused before: nothing" in run("approve", STUDY, "2", "--refuse")
    with pytest.raises(UsageError, match="--refuse needs the trial that is meant"):
        run("approve", STUDY, "--refuse")


def test_a_word_is_given_beside_a_session_at_work(desk: Path) -> None:
    run("fetch", STUDY)
    ledger = Ledger(desk, STUDY)
    with hold_session(ledger, None, "a session"):
        assert "Trial 1:" in run("approve", STUDY, "--remote", "origin")
        said = run("approve", STUDY, "2", "--remote", "origin")
    assert "Trial 2 is approved, with what it stands on (trial 1)" in said
    assert json.loads(run("approve", STUDY, "3", "--json"))["approval"] == "approved"


@pytest.mark.slow
def test_mlflow_is_told_where_it_has_the_study(desk: Path) -> None:
    from mlflow import MlflowClient

    run("fetch", STUDY)
    places, ledger = Places.find(), Ledger(desk, STUDY)
    synchronise(ledger, places.tracking_uri, places.mlruns)

    def tags(number: int) -> dict[str, str]:
        client = MlflowClient(tracking_uri=places.tracking_uri)
        experiment = client.get_experiment_by_name(f"nightlab/{STUDY}")
        assert experiment is not None
        query = f"tags.`nightlab.kind` = 'trial' and tags.`nightlab.trial` = '{number}'"
        (found,) = client.search_runs([experiment.experiment_id], query)
        return dict(found.data.tags)

    assert tags(1)["approval"] == "waits"
    run("approve", STUDY, "1")
    run("approve", STUDY, "2", "--refuse")
    assert tags(1)["approval"] == "approved"
    assert (tags(2)["approval"], tags(2)["reason"]) == ("refused", "refused")
    assert (tags(3)["approval"], tags(3)["verdict"]) == ("stranded", "failed")
    assert synchronise(ledger, places.tracking_uri, places.mlruns).changed == 0
