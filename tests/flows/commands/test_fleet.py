"""Studies of a fleet at the desk: fetched, read, recovered, deleted, each as a person would."""

import json
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.command_line import app
from nightlab.errors import NightlabError, RemoteError, StudyBusy, UsageError
from nightlab.ledger import Ledger, Remote, add_suggestion, hold_session
from nightlab.records import Evidence, Proposal, Reason, Verdict
from nightlab.tracking.connection import ENVIRONMENT
from tests.conftest import git
from tests.samples import sample_record


class Fleet:
    """A hub, a desk and workers' clones, which share one cache folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hub, self.desk, self.cache = folder / "hub.git", folder / "desk", folder / "cache"
        (self.desk / "trainer").mkdir(parents=True)
        (self.desk / "trainer" / "train.py").write_text("DEPTH = 4\n")
        (self.desk / "program.md").write_text("Learn.\n")
        person = ("-c", "user.name=a", "-c", "user.email=b")
        for command in (("init", "-q", "-b", "main"), ("add", "."), ("commit", "-q", "-m", "x")):
            git(self.desk, *person, *command)
        git(folder, "clone", "-q", "--bare", str(self.desk), str(self.hub))
        git(self.desk, "remote", "add", "origin", str(self.hub))

    def night(self, study: str, *numbers: int, fails: bool = False) -> Path | None:
        """A worker's session: trials, a push, the clone thrown away; its bundle if that fails."""
        clone = self.folder / "worker"
        git(self.folder, "clone", "-q", "--depth", "1", f"file://{self.hub}", str(clone))
        ledger, remote = Ledger(clone, study), Remote(clone, "origin", study)
        with hold_session(ledger, remote, "run", cache=self.cache) as session:
            remote.fetch()
            if not ledger.exists():
                ledger.create()
            for number in numbers:
                trial(ledger, number)
            if fails:
                shutil.move(self.hub, self.folder / "away")
                with pytest.raises(RemoteError):
                    session.push()
                shutil.move(self.folder / "away", self.hub)
            else:
                session.push()
        shutil.rmtree(clone)
        return next(self.cache.rglob("*.bundle"), None)


def trial(ledger: Ledger, number: int) -> None:
    parent = ledger.incumbent()
    commit = ledger.write_candidate(parent, f"DEPTH = {number}\n", "x") if number else parent
    verdict, reason = (
        (Verdict.DISCARD, Reason.WITHIN_NOISE) if number else (Verdict.KEEP, Reason.BASELINE)
    )
    record = sample_record(number, scores=(1.5,), verdict=verdict, reason=reason)
    update = {"study": ledger.study, "parent": parent, "commit": commit}
    proposal = Proposal(title=record.title, proposer="knobs")
    ledger.finish(record.model_copy(update=update), Evidence(proposal=proposal))


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    made = Fleet(tmp_path)
    for name in (*ENVIRONMENT, "MLFLOW_TRACKING_URI", "NIGHTLAB_TRACKING_URI"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # put back at the end
        monkeypatch.delenv(name)
    monkeypatch.setenv("NIGHTLAB_CACHE", str(made.cache))
    monkeypatch.chdir(made.desk)
    return made


def run(*arguments: str, answer: str | None = None) -> str:
    """What a command says; its error is raised."""
    done = CliRunner().invoke(app, arguments, input=answer)
    if isinstance(done.exception, NightlabError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def names(*arguments: str) -> list[str]:
    return [each["study"] for each in json.loads(run(*arguments, "--json"))]


def test_the_desk_reads_what_workers_pushed(fleet: Fleet) -> None:
    fleet.night("one", 0, 1)
    fleet.night("two", 0)
    assert names("studies") == []
    assert names("fetch") == ["one", "two"]
    assert names("studies") == names("show") == ["one", "two"]
    assert "idea 1" in run("show", "one")
    fleet.night("one", 2)
    assert "idea 2" not in run("show", "one")
    assert names("fetch", "one") == ["one"]
    assert "idea 2" in run("show", "one")
    git(fleet.desk, "fsck", "--strict")
    assert git(fleet.desk, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    "command",
    [
        ("show", "one"),
        ("show", "one", "1"),
        ("export", "one"),
        ("program", "one"),
        pytest.param(("report", "one"), marks=pytest.mark.slow),
        pytest.param(("sync", "one"), marks=pytest.mark.slow),
        pytest.param(("compare", "one", "two", "--force"), marks=pytest.mark.slow),
        ("studies",),
        ("show",),
    ],
)
def test_every_reader_fetches_where_it_is_told_from_where(
    fleet: Fleet, command: tuple[str, ...]
) -> None:
    fleet.night("one", 0, 1)
    fleet.night("two", 0, 1)
    run(*command, "--remote", "origin")
    assert Ledger(fleet.desk, "one").record(1).title == "idea 1"


@pytest.mark.slow
def test_a_report_is_made_at_the_desk(fleet: Fleet) -> None:
    fleet.night("one", 0, 1)
    run("report", "one", "--remote", "origin")
    assert "idea 1" in (fleet.desk / "mlruns" / "reports" / "one.html").read_text()


def test_a_remote_may_be_an_address(fleet: Fleet) -> None:
    fleet.night("one", 0)
    git(fleet.desk, "remote", "remove", "origin")
    for address in (str(fleet.hub), f"file://{fleet.hub}", "../hub.git"):
        assert names("fetch", "--remote", address) == ["one"]


def test_what_cannot_be_fetched_is_one_sentence(fleet: Fleet) -> None:
    with pytest.raises(UsageError, match=r"no study 'one' \(studies: none yet\)"):
        run("fetch", "one")
    fleet.night("one", 0)
    with pytest.raises(UsageError, match=r"origin' has no study 'two' \(studies: one\)"):
        run("fetch", "two")
    with pytest.raises(UsageError, match="git remote add backup ADDRESS"):
        run("fetch", "--remote", "backup")
    with pytest.raises(UsageError, match="git remote add --all ADDRESS"):
        run("fetch", "--remote", "--all")
    with pytest.raises(UsageError, match="a study's name needs letters"):
        run("fetch", "a b")
    with pytest.raises(RemoteError, match="git ls-remote"):
        run("fetch", "--remote", str(fleet.folder / "nowhere.git"))
    run("fetch")
    git(fleet.desk, "switch", "-q", "nightlab/one")
    with pytest.raises(UsageError, match="checked out in"):
        run("fetch", "one")


def test_a_password_in_an_address_is_never_shown(fleet: Fleet, free_port: int) -> None:
    address = f"http://me:secret@127.0.0.1:{free_port}/lab.git"
    for command in (("fetch",), ("fetch", "one"), ("show", "one"), ("recover",)):
        fleet.cache.mkdir(exist_ok=True)
        done = CliRunner().invoke(app, [*command, "--remote", address])
        assert "secret" not in f"{done.output} {done.exception}"


def test_a_study_that_a_session_works_on_here_is_left_to_it(fleet: Fleet) -> None:
    fleet.night("one", 0)
    fleet.night("two", 0)
    run("fetch")
    fleet.night("two", 1)
    with hold_session(Ledger(fleet.desk, "one"), None, "a session here"):
        with pytest.raises(StudyBusy, match="a session here is working on it"):
            run("fetch", "one")
        said = CliRunner().invoke(app, ["fetch"]).stderr
    assert "Not fetched: Study 'one'" in said
    assert Ledger(fleet.desk, "two").record(1)


def test_records_without_a_branch_are_refused_by_name(fleet: Fleet) -> None:
    fleet.night("one", 0, 1)
    fleet.night("two", 0)
    run("fetch")
    commit = git(fleet.desk, "rev-parse", "nightlab/one").strip()
    git(fleet.desk, "branch", "-D", "nightlab/one")
    git(fleet.hub, "update-ref", "-d", "refs/heads/nightlab/one")
    remedy = rf"has 2 records here.*`git branch nightlab/one {commit[:12]}`.*nightlab fetch one"
    for command in (("show", "one"), ("export", "one"), ("fetch", "one"), ("confirm", "one")):
        with pytest.raises(UsageError, match=remedy):
            run(*command)
    done = CliRunner().invoke(app, ["studies", "--json", "--remote", "origin"])
    assert [each["study"] for each in json.loads(done.stdout)] == ["two"]
    assert "nightlab delete one" in done.stderr
    with pytest.raises(UsageError, match=remedy):
        Ledger(fleet.desk, "one").create()
    git(fleet.desk, "branch", "nightlab/one", commit)
    assert "idea 1" in run("show", "one")


def test_what_was_not_pushed_is_recovered_by_hand(fleet: Fleet) -> None:
    assert "Nothing was left unpushed" in run("recover")
    bundle = fleet.night("one", 0, 1, fails=True)
    assert bundle is not None
    # The test's process lives on; that of a session that could not push is gone.
    git(fleet.hub, "update-ref", "-d", "refs/nightlab/one/session")
    with pytest.raises(UsageError, match=r"No bundle of a study 'two'.* there are some of: one"):
        run("recover", "two")
    said = run("recover", "one")
    assert "one: 2 trials, written 20" in said
    assert str(bundle) in said
    assert "Study one is on remote 'origin'." in said
    assert len(Ledger(fleet.hub, "one").records()) == 2
    assert not bundle.exists()
    assert "Nothing was left unpushed" in run("recover")


def test_what_cannot_be_taken_in_is_not_said_to_be_on_the_remote(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.night("one", 0, fails=True)
    git(fleet.hub, "update-ref", "-d", "refs/nightlab/one/session")

    def refuse(*_: object) -> None:
        raise RemoteError("it builds on commits that are nowhere.")

    monkeypatch.setattr("nightlab.ledger.bundles.Bundles._fetch", refuse)
    done = CliRunner().invoke(app, ("recover", "one"))
    assert done.exit_code == 1
    assert "could not be taken in, and stays" in done.output
    assert "is on remote" not in done.output


def test_a_bundle_for_another_remote_stays(fleet: Fleet) -> None:
    bundle = fleet.night("one", 0, fails=True)
    assert bundle is not None
    other = fleet.folder / "other.git"
    git(fleet.folder, "clone", "-q", "--bare", str(fleet.desk), str(other))
    assert "was to be pushed to another remote" in run("recover", "--remote", str(other))
    assert bundle.exists()
    assert Ledger(other, "one").exists() is False


@pytest.mark.slow
def test_a_study_is_deleted_whole(fleet: Fleet) -> None:
    fleet.night("one", 0, 1)
    fleet.night("two", 0)
    bundle = fleet.night("one", 2, fails=True)
    git(fleet.hub, "update-ref", "-d", "refs/nightlab/one/session")
    assert bundle is not None
    run("fetch")
    for study in ("one", "two"):
        run("report", study)
        run("sync", study)
    add_suggestion(Ledger(fleet.desk, "one"), "try this")
    git(fleet.desk, "branch", "nightlab/one-consolidated", "main")  # a person's

    with pytest.raises(UsageError, match="nothing was removed: add --yes"):
        run("delete", "one", answer="n\n")
    assert "one" in names("studies")
    said = run("delete", "one", "--remote", "origin", "--yes")
    assert "In this clone: the branch, 2 trials, 1 suggestion." in said
    assert "Branch nightlab/one-consolidated stays: " in said
    assert "At remote origin: the branch, 2 trials." in said
    assert "In MLflow: " in said
    assert f"File: {bundle}" in said
    for folder in (fleet.desk, fleet.hub):
        refs = git(folder, "for-each-ref", "--format=%(refname)").split()
        assert [name for name in refs if "nightlab/one" in name] == [
            *(["refs/heads/nightlab/one-consolidated"] if folder == fleet.desk else []),
        ]
        assert "refs/heads/nightlab/two" in refs
    assert not bundle.exists()
    assert sorted(path.name for path in (fleet.desk / "mlruns/reports").iterdir()) == [
        "two.html",
        "two.svg",
    ]
    with pytest.raises(UsageError, match="There is nothing of a study 'one' here or at remote"):
        run("delete", "one", "--remote", "origin", "--yes")
    # Its name is free again, in MLflow too.
    fleet.night("one", 0)
    run("sync", "one", "--remote", "origin")


def test_a_study_in_use_is_not_deleted(fleet: Fleet) -> None:
    fleet.night("one", 0)
    run("fetch")
    with (
        hold_session(Ledger(fleet.desk, "one"), None, "here"),
        pytest.raises(StudyBusy, match="here is working on it"),
    ):
        run("delete", "one", "--yes")
    clone = fleet.folder / "clone"
    git(fleet.folder, "clone", "-q", str(fleet.hub), str(clone))
    remote = Remote(clone, "origin", "one")
    with (
        hold_session(Ledger(clone, "one"), remote, "there"),
        pytest.raises(StudyBusy, match="there is working on it"),
    ):
        run("delete", "one", "--remote", "origin", "--yes")
    git(fleet.desk, "switch", "-q", "nightlab/one")
    with pytest.raises(UsageError, match="checked out in"):
        run("delete", "one", "--yes")
    git(fleet.desk, "switch", "-q", "main")
    assert names("studies") == ["one"]
    assert "nightlab/one" in git(fleet.hub, "for-each-ref")
