"""A session that waits for a provider, without using up trials."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nightlab import events
from nightlab.errors import SessionOver
from nightlab.ledger import Remote, ask_remote_to_stop, ask_to_stop, hold_session
from nightlab.proposers import NoModelAnswers
from nightlab.settings import SessionSettings
from nightlab.study import patience, steering, waiting
from nightlab.study.waiting import ModelWait, longest_hours
from tests.conftest import git
from tests.session_samples import sample_session


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(patience, "RESET_MARGIN_SECONDS", 0.0)


@pytest.fixture
def notices() -> Iterator[list[str]]:
    told: list[str] = []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Notice):
            told.append(event.text)

    with events.listening(listen):
        yield told


def session_of(folder: Path, **settings: Any) -> Any:
    session = sample_session(folder)
    session.settings = SessionSettings(study="night", **settings)
    session.proposer = SimpleNamespace(needs_money=False)
    return session


def silent(times: int, **more: Any) -> Callable[[], str]:
    """Models that answer after so many silences."""
    count = itertools.count()

    def ask() -> str:
        if next(count) < times:
            raise NoModelAnswers("Nobody answers.", **more)
        return "an idea"

    return ask


def test_an_outage_is_waited_for_within_the_trial_and_said_once(
    tmp_path: Path, notices: list[str]
) -> None:
    session = session_of(tmp_path / "clone")
    assert ModelWait(session).ask(silent(4)) == "an idea"
    first, last = notices
    assert "No model answers: Nobody answers." in first
    assert "--wait-for-model-hours" in first
    assert last.startswith("A model answers again")
    assert not session.ledger.records()


def test_models_that_answer_are_not_spoken_of(tmp_path: Path, notices: list[str]) -> None:
    assert ModelWait(session_of(tmp_path / "clone")).ask(silent(0)) == "an idea"
    assert notices == []


def test_a_limit_that_says_when_it_ends_is_waited_for(
    tmp_path: Path, notices: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_of(tmp_path / "clone")
    monkeypatch.setattr(waiting, "LONGEST_PAUSE_SECONDS", 0.02)
    assert ModelWait(session).ask(silent(1, retry_after_seconds=0.05)) == "an idea"
    assert "as it asks" in notices[0]


def test_who_never_answers_ends_the_session(tmp_path: Path) -> None:
    session = session_of(tmp_path / "clone", wait_for_model_hours=1e-5)
    with pytest.raises(SessionOver, match=r"--wait-for-model-hours.*Nobody answers"):
        ModelWait(session).ask(silent(10**9))


def test_a_limit_that_ends_after_the_night_ends_it_at_once(tmp_path: Path) -> None:
    session = session_of(tmp_path / "clone", hours=3)
    with pytest.raises(SessionOver, match="asks for 10 h 00 min more"):
        ModelWait(session).ask(silent(1, retry_after_seconds=36_000.0))


def test_who_stops_the_session_need_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_of(tmp_path / "clone")
    monkeypatch.setattr(patience, "FIRST_PAUSE_SECONDS", 60.0)
    with hold_session(session.ledger, None, session.identifier):
        ask_to_stop(session.ledger)
        with pytest.raises(SessionOver, match="waiting for a model"):
            ModelWait(session).ask(silent(10**9))


def test_who_stops_it_from_another_machine_need_not_wait_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_of(tmp_path / "clone")
    git(tmp_path, "init", "-q", "--bare", "hub.git")
    git(tmp_path / "clone", "remote", "add", "origin", str(tmp_path / "hub.git"))
    session.remote = Remote(tmp_path / "clone", "origin", session.ledger.study)
    monkeypatch.setattr(patience, "FIRST_PAUSE_SECONDS", 60.0)
    monkeypatch.setattr(steering, "HEAR_SECONDS", 0.0)
    with hold_session(session.ledger, session.remote, session.identifier):
        ask_remote_to_stop(session.remote)
        with pytest.raises(SessionOver, match="waiting for a model"):
            ModelWait(session).ask(silent(10**9))


@pytest.mark.parametrize(
    ("settings", "hours"),
    [
        ({}, 8),
        ({"hours": 3}, 3),
        ({"hours": 3, "wait_for_model_hours": 1}, 1),
        ({"wait_for_model_hours": 0}, 0),
    ],
)
def test_the_wait_is_as_long_as_the_night(settings: dict[str, float], hours: float) -> None:
    assert longest_hours(SessionSettings(**settings)) == hours
