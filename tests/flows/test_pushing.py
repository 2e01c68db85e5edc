"""The last push of a session, on a real remote that is away for a while."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flows import pushing
from flows.pushing import push_at_last, push_or_say, pushed_at_the_end
from nightlab.errors import NotPushed, StudyBusy, UsageError
from nightlab.events import Event, listening
from nightlab.ledger import Ledger, Remote, ask_to_stop, hold_session
from nightlab.records import utc_now
from nightlab.sandbox.endable import EndableSandbox
from nightlab.settings import SessionSettings
from nightlab.study import steering
from tests.conftest import git


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A bare remote with one commit."""
    work = tmp_path / "work"
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    person = ("-c", "user.name=a", "-c", "user.email=b")
    git(work, *person, "commit", "-q", "--allow-empty", "-m", "x")
    git(tmp_path, "clone", "-q", "--bare", str(work), "hub.git")
    return tmp_path / "hub.git"


@pytest.fixture
def session(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A session with a study that its remote lacks; it pauses for no time that counts."""
    monkeypatch.setattr(pushing, "FIRST_PAUSE_SECONDS", 0.02)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(hub), str(clone))
    ledger, remote = Ledger(clone, "night"), Remote(clone, "origin", "night")
    with hold_session(ledger, remote, "x", cache=tmp_path / "cache") as hold:
        ledger.create()
        settings = SessionSettings(study="night")
        yield SimpleNamespace(
            identifier="x",
            hold=hold,
            ledger=ledger,
            remote=remote,
            settings=settings,
            sandbox=EndableSandbox(cast("Any", None)),
            began=utc_now(),
            trials_ended_at=None,
            troubles={},
        )


def branch_of(hub: Path) -> str:
    return git(hub, "for-each-ref", "refs/heads/nightlab", "--format=%(refname)").strip()


def test_a_remote_that_comes_back_gets_the_study(session: Any, hub: Path, tmp_path: Path) -> None:
    away = hub.rename(tmp_path / "away")
    said: list[Event] = []

    def come_back(event: Event) -> None:
        said.append(event)
        threading.Timer(0.3, away.rename, (hub,)).start()

    with listening(come_back):
        push_at_last(session)
    assert len(said) == 1, "a long outage is said once"
    assert "Trying for 1 hour (--push-hours) to push" in said[0].text  # type: ignore[union-attr]
    assert branch_of(hub) == "refs/heads/nightlab/night"
    assert list((tmp_path / "cache").rglob("*.bundle")) == []


def test_a_remote_that_stays_away_fails_the_run_and_a_bundle_stands(
    session: Any, hub: Path, tmp_path: Path
) -> None:
    hub.rename(tmp_path / "away")
    session.settings = SessionSettings(study="night", push_hours=0.2 / 3600)
    with pytest.raises(NotPushed, match=r"not on its remote.*--push-hours.*recover night") as error:
        push_at_last(session)
    (bundle,) = (tmp_path / "cache").rglob("*.bundle")
    assert str(bundle) in str(error.value)
    heads = subprocess.run(
        ["git", "bundle", "list-heads", str(bundle)],
        cwd=session.ledger.root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert heads.stdout.split()[1] == "refs/heads/nightlab/night"


def test_who_stops_the_session_then_ends_that_too(
    session: Any, hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.rename(tmp_path / "away")
    monkeypatch.setattr(steering, "LOOK_SECONDS", 0.0)
    said: list[Event] = []

    def stop(event: Event) -> None:
        said.append(event)
        ask_to_stop(session.ledger)

    with listening(stop), pytest.raises(NotPushed, match=r"nightlab stop` asked.*recover night"):
        push_at_last(session)
    assert len(said) == 1
    assert len(list((tmp_path / "cache").rglob("*.bundle"))) == 1


def test_no_hours_are_one_try(session: Any, hub: Path, tmp_path: Path) -> None:
    shutil.move(hub, tmp_path / "away")
    session.settings = SessionSettings(study="night", push_hours=0)
    said: list[Event] = []
    with listening(said.append), pytest.raises(NotPushed):
        push_at_last(session)
    assert said == []


def test_a_study_that_another_session_took_over_is_not_tried_for(session: Any, hub: Path) -> None:
    git(hub, "update-ref", "-d", "refs/nightlab/night/session")
    with pytest.raises(StudyBusy, match="kept in"):
        push_at_last(session)


def test_a_block_that_ends_well_is_pushed(session: Any, hub: Path) -> None:
    with pushed_at_the_end(session):
        assert branch_of(hub) == ""
    assert branch_of(hub) == "refs/heads/nightlab/night"


def test_what_ends_a_block_is_the_news(session: Any) -> None:
    session.remote = None  # and no push hides it
    with pytest.raises(UsageError, match="the news"), pushed_at_the_end(session):
        raise UsageError("the news")


def test_a_push_that_fails_is_said_once_until_one_succeeds(session: Any, hub: Path) -> None:
    said: list[Event] = []
    away = hub.with_name("away")
    with listening(said.append):
        for _ in range(2):
            hub.rename(away)
            push_or_say(session)
            push_or_say(session)
            assert len(said) == 1
            assert "Not pushed yet; all is kept here" in said.pop().text  # type: ignore[union-attr]
            away.rename(hub)
            push_or_say(session)
    assert said == []
    assert branch_of(hub) == "refs/heads/nightlab/night"
