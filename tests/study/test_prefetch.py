"""Ideas asked for ahead, in a real repository and a thread of their own."""

from pathlib import Path

import pytest

from nightlab import events
from nightlab.errors import ModelError
from nightlab.proposers import Brief
from nightlab.records import Proposal
from nightlab.study.prefetch import ask_ahead, await_idea, begin_asking, is_prefetched
from nightlab.study.trial import begin_trial, current_mark
from tests.session_samples import hold_answers, sample_session


def test_an_idea_waits_in_the_next_trials_mark(tmp_path: Path) -> None:
    session = sample_session(tmp_path / "clone")
    under_way = begin_trial(session, 1, Proposal(title="Under way", proposer="llm"))
    begin_asking(session, 2, under_way, ask_ahead)
    await_idea(session)
    mark = current_mark(session, 2)
    assert mark is not None
    assert mark.proposal is not None
    assert mark.proposal.title == "Idea for 2"
    assert is_prefetched(mark)
    told = session.proposer.told[0].under_way
    assert told is not None
    assert (told.number, told.title, told.diff) == (1, "Under way", "")


def test_an_idea_that_comes_late_leaves_a_begun_trial_as_it_is(tmp_path: Path) -> None:
    answer, asked, released = hold_answers()
    session = sample_session(tmp_path / "clone", answer)
    under_way = begin_trial(session, 1)
    heard: list[events.Event] = []
    with events.listening(heard.append):
        begin_asking(session, 2, under_way, ask_ahead)
        assert asked.wait(timeout=30)
        begun = begin_trial(session, 2, Proposal(title="Begun", proposer="llm"))
        released.set()
        await_idea(session)
    assert current_mark(session, 2) == begun
    assert "No idea for trial 2 ahead of time" in str(heard)


def test_what_no_model_answers_is_said_and_asked_for_later(tmp_path: Path) -> None:
    def refuse(brief: Brief) -> Proposal:
        raise ModelError("It is overloaded.")

    session = sample_session(tmp_path / "clone", refuse)
    heard: list[events.Event] = []
    with events.listening(heard.append):
        begin_asking(session, 2, begin_trial(session, 1), ask_ahead)
        await_idea(session)
    assert current_mark(session, 2) is None
    assert "It is overloaded." in str(heard)


@pytest.mark.parametrize("reads", [True, False])
def test_only_one_idea_is_asked_for_and_only_where_it_takes_time(
    tmp_path: Path, reads: bool
) -> None:
    session = sample_session(tmp_path / "clone")
    session.proposer.reads = reads
    under_way = begin_trial(session, 1)
    begin_asking(session, 2, under_way, ask_ahead)
    begin_asking(session, 3, under_way, ask_ahead)
    await_idea(session)
    assert [mark.number for mark in session.ledger.marks()] == ([1, 2] if reads else [1])
