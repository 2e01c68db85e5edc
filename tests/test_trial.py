"""Marks of trials in a real repository: what was paid for stays, whatever ends a session."""

from pathlib import Path
from typing import Any

import pytest

from nightlab.records import Edit, InFlight, Proposal, ProposalCost, TrialRecord
from nightlab.trial import (
    apply_proposal,
    begin_trial,
    current_mark,
    keep_unanswered,
    put_back,
    retry_proposal,
)
from tests.session_samples import finish_trial, lose_an_answer, sample_session

LOST = ProposalCost(calls=1, prompt_tokens=1000, completion_tokens=1500, cost_usd=0.25)


@pytest.fixture
def session(tmp_path: Path) -> Any:
    return sample_session(tmp_path / "clone")


def set_aside_costs(mark: InFlight | None) -> list[ProposalCost]:
    assert mark is not None
    return [each.cost for each in mark.set_aside]


def test_calls_without_an_answer_stand_in_the_next_trials_mark(session: Any) -> None:
    lose_an_answer(session)
    keep_unanswered(session)
    mark = current_mark(session, 0)
    assert set_aside_costs(mark) == [LOST]
    assert mark is not None
    assert mark.attempts == 0

    keep_unanswered(session)  # They are counted once.
    assert set_aside_costs(current_mark(session, 0)) == [LOST]


def test_they_join_an_idea_in_hand(session: Any) -> None:
    begin_trial(session, 3, Proposal(title="In hand", proposer="llm"))
    lose_an_answer(session)
    keep_unanswered(session)
    mark = current_mark(session, 3)
    assert mark is not None
    assert mark.proposal is not None
    assert (mark.proposal.title, set_aside_costs(mark)) == ("In hand", [LOST])
    assert len(session.ledger.marks()) == 1


def test_without_such_calls_no_mark_is_left(session: Any) -> None:
    keep_unanswered(session)
    assert session.ledger.marks() == ()


def test_a_trial_that_is_put_back_begins_anew_with_what_it_cost(session: Any) -> None:
    begin_trial(session, 2)
    lose_an_answer(session)
    put_back(session, 2)
    mark = current_mark(session, 2)
    assert mark is not None
    assert mark.attempts == 0
    assert set_aside_costs(mark) == [LOST]

    again = begin_trial(session, 2)
    assert again.attempts == 1
    applied = apply_proposal(session, again, Proposal(title="Late", proposer="llm"))
    assert applied.proposal is not None
    assert applied.proposal.cost == LOST
    assert applied.set_aside == ()


def test_to_put_back_what_never_began_writes_nothing(session: Any) -> None:
    put_back(session, 2)
    assert session.ledger.marks() == ()


def recorded(session: Any, proposal: Proposal) -> TrialRecord:
    finish_trial(session, proposal)
    record: TrialRecord = session.ledger.records()[-1]
    return record


def test_a_retried_idea_is_not_paid_for_twice(session: Any) -> None:
    proposal = Proposal(
        title="Deeper",
        proposer="llm",
        edits=(Edit(search="DEPTH = 4", replace="DEPTH = 6"),),
        error="It was cut off.",
        cost=LOST,
    )
    again = retry_proposal(session, recorded(session, proposal))
    assert again is not None
    assert (again.edits, again.error, again.cost) == (proposal.edits, None, ProposalCost())


def test_a_trial_that_never_had_an_idea_gets_one(session: Any) -> None:
    assert retry_proposal(session, recorded(session, Proposal(title="", proposer="llm"))) is None
    baseline = Proposal(title="baseline", proposer="baseline")
    assert retry_proposal(session, recorded(session, baseline)) == baseline


def test_an_edit_that_no_file_can_hold_is_a_result(session: Any) -> None:
    mark = begin_trial(session, 1)
    broken = Proposal(
        title="Half", proposer="llm", edits=(Edit(search="DEPTH = 4", replace="D = '\ud800'"),)
    )
    applied = apply_proposal(session, mark, broken)
    assert applied.commit == mark.parent
    assert applied.proposal is not None
    assert applied.proposal.error
    stored = current_mark(session, 1)
    assert stored is not None
    assert stored.proposal is not None
    assert stored.proposal.error == applied.proposal.error
