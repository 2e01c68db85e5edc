"""What a running session hears of a person, in a real repository."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from nightlab import events
from nightlab.errors import SessionOver
from nightlab.ledger import ask_to_stop, give_word, hold_session
from nightlab.records import Approval, Edit, Proposal, Verdict, utc_now
from nightlab.study.steering import Steering, require_no_stop, stop_asked
from nightlab.study.trial import begin_trial
from tests.session_samples import finish_trial, keep_edit, sample_session


def test_a_wish_ends_what_began_before_it_and_not_what_follows(tmp_path: Path) -> None:
    session = sample_session(tmp_path / "clone")
    with hold_session(session.ledger, None, holder=session.identifier) as hold:
        assert hold.note.pid == os.getpid()
        require_no_stop(session)
        before = utc_now()
        ask_to_stop(session.ledger)
        for session.trials_ended_at in (None, before):
            assert stop_asked(session) is not None
            with pytest.raises(SessionOver, match="`nightlab stop` asked for it on"):
                require_no_stop(session)
        session.trials_ended_at = utc_now() + timedelta(seconds=1)
        require_no_stop(session)
        session.trials_ended_at, session.identifier = None, "another"
        assert stop_asked(session) is None


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """What is said to people while a test runs."""
    said: list[str] = []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Notice):
            said.append(event.text)

    with events.listening(listen):
        yield said


def waiting_session(root: Path, *titles: str) -> Any:
    """A session of a study whose keeps wait for a word, each on the one before."""
    session = sample_session(root)
    session.settings = session.settings.model_copy(update={"approve": "keeps"})
    baseline = Proposal(title="baseline", proposer="baseline")
    finish_trial(session, baseline, Verdict.KEEP)
    for number, title in enumerate(titles, start=1):
        edit = Edit(search=f"DEPTH = {number + 3}", replace=f"DEPTH = {number + 4}")
        idea = Proposal(title=title, proposer="llm", edits=(edit,))
        keep_edit(session, number, idea, Approval.WAITS)
    return session


def test_a_word_that_is_given_in_between_is_said_and_the_study_goes_on_from_it(
    tmp_path: Path, heard: list[str]
) -> None:
    session = waiting_session(tmp_path / "clone", "one", "two", "three")
    steering = Steering(session)
    steering.begin()
    steering.hear()
    assert heard == []
    give_word(session.ledger, None, 1, approve=True)
    give_word(session.ledger, None, 2, approve=False)
    steering.hear()
    assert heard[0] == "Trial 1: approved, and on branch nightlab/night."
    assert heard[1].startswith("Trial 2: discard (refused). Refused on ")
    assert heard[2].startswith("Trial 3: failed (interrupted). Kept on top of a change that")
    assert begin_trial(session, 4).parent == session.ledger.record(1).commit
    steering.hear()
    assert len(heard) == 3


def test_without_approvals_a_session_says_what_still_waits(
    tmp_path: Path, heard: list[str]
) -> None:
    session = waiting_session(tmp_path / "clone", "one", "two")
    session.settings = session.settings.model_copy(update={"approve": "nothing"})
    Steering(session).begin()
    (said,) = heard
    assert (
        "2 keeps wait for your word (trials 1, 2), and count until then: `nightlab approve night`"
        in said
    )
    assert said.endswith("What is kept on top waits, too.")
    give_word(session.ledger, None, 2, approve=True)
    Steering(session).begin()
    assert heard[1:] == [
        "This session asks for no word (--approve keeps does): what it keeps is approved."
    ]
