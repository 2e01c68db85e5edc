"""Clones of killed runs, as Prefect's worker makes them, with real git."""

import fcntl
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nightlab import events
from nightlab.ledger import Ledger
from nightlab.records import Proposal
from nightlab.study.left_clones import QUIET_SECONDS, sweep_left_clones
from tests.conftest import git
from tests.session_samples import STUDY, finish_trial, sample_session


class Left:
    """A clone that a worker made and left, and the clone of the session that finds it."""

    def __init__(self, folder: Path) -> None:
        self.session: Any = sample_session(folder / "here")
        finish_trial(self.session, Proposal(title="One", proposer="llm"))
        self.ledger: Ledger = self.session.ledger
        self.folder = folder / "tmpab12cd34prefect"
        self.clone = self.folder / "nightlab-main"
        git(folder, "clone", "-q", "--mirror", str(folder / "here"), str(self.clone / ".git"))
        git(self.clone, "config", "core.bare", "false")
        self.notes = self.clone / ".git" / "nightlab"
        self.notes.mkdir()
        (self.notes / "clone").write_text("x")
        (self.notes / f"{STUDY}.lock").touch()
        self.age(QUIET_SECONDS + 60)

    def age(self, seconds: float) -> None:
        moment = self.notes.stat().st_ctime - seconds
        os.utime(self.notes, (moment, moment))

    def sweep(self) -> list[str]:
        heard: list[events.Event] = []
        with events.listening(heard.append):
            sweep_left_clones(self.ledger)
        return [each.text for each in heard if isinstance(each, events.Notice)]


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Left:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return Left(tmp_path)


def test_one_whose_records_are_all_here_goes(left: Left) -> None:
    assert left.sweep() == []
    assert not left.folder.exists()


def test_one_that_a_session_holds_stays(left: Left) -> None:
    with (left.notes / f"{STUDY}.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert left.sweep() == []
        assert left.clone.exists()
    left.sweep()
    assert not left.clone.exists()


@pytest.mark.parametrize("why", ["new", "not ours", "linked", "own"])
def test_one_that_may_be_in_use_stays(
    left: Left, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    if why == "new":
        left.age(60)
    elif why == "not ours":
        (left.notes / "clone").unlink()
        left.age(QUIET_SECONDS + 60)
    elif why == "linked":
        (left.notes / f"{STUDY}.lock").unlink()
        (left.notes / f"{STUDY}.lock").symlink_to(tmp_path)
        left.age(QUIET_SECONDS + 60)
    else:
        left.ledger = Ledger(left.clone, STUDY)
    assert left.sweep() == []
    assert left.clone.exists()


def test_one_that_has_the_only_copy_of_a_record_stays_and_is_named(left: Left) -> None:
    theirs = SimpleNamespace(**{**vars(left.session), "ledger": Ledger(left.clone, STUDY)})
    finish_trial(theirs, Proposal(title="Two", proposer="llm"))
    left.age(QUIET_SECONDS + 60)
    (said,) = left.sweep()
    assert str(left.clone) in said
    assert f"refs/nightlab/{STUDY}/trials/0001" in said
    assert left.clone.exists()
    for other in ("another", STUDY[:-1], f"{STUDY}-consolidated"):
        left.ledger = Ledger(left.ledger.root, other)
        assert left.sweep() == [], "it is for that study's session to say"
        assert left.clone.exists()
    git(left.session.ledger.root, "fetch", "-q", str(left.clone), "refs/nightlab/*:refs/nightlab/*")
    assert left.sweep() == []
    assert not left.clone.exists()


def test_a_trial_under_way_there_is_lost_with_its_run(left: Left) -> None:
    commit = left.ledger.incumbent()
    tag = Ledger(left.clone, STUDY).plumbing.write_tag("nightlab/x", commit, b"{}")
    git(left.clone, "update-ref", f"refs/nightlab/{STUDY}/inflight/0001", tag)
    left.age(QUIET_SECONDS + 60)
    assert left.sweep() == []
    assert not left.clone.exists()
