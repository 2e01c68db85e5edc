"""Marks of trials in a real repository: what was paid for stays, whatever ends a session."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from nightlab import events
from nightlab.errors import SandboxError
from nightlab.records import (
    Edit,
    Evaluation,
    InFlight,
    Proposal,
    ProposalCost,
    Replicate,
    TrainingResult,
    TrialRecord,
    utc_now,
)
from nightlab.study.limits import Limits
from nightlab.study.recording import failed, record_trial
from nightlab.study.trial import (
    MAX_ATTEMPTS,
    apply_proposal,
    begin_trial,
    current_mark,
    is_given_up,
    keep_unanswered,
    new_mark,
    number_of_retry,
    put_back,
    retried_by,
    retry_proposal,
)
from tests.session_samples import finish_trial, keep_edit, lose_an_answer, sample_session

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


def test_a_trial_that_is_put_back_while_it_waits_for_a_lane_keeps_what_it_measured(
    session: Any,
) -> None:
    mark = apply_proposal(session, begin_trial(session, 2), Proposal(title="a", proposer="llm"))
    replicate = Replicate(seed=1, training=TrainingResult())
    session.ledger.mark(mark.model_copy(update={"replicates": (replicate,)}))
    for _ in range(2 * MAX_ATTEMPTS):
        put_back(session, 2)
        begun = begin_trial(session, 2)
        assert begun.replicates == (replicate,)
        assert not is_given_up(begun)


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


def test_an_edit_that_makes_no_python_is_a_result(session: Any) -> None:
    edits = (Edit(search="DEPTH = 4", replace="DEPTH = (4"),)
    applied = apply_proposal(
        session, begin_trial(session, 1), Proposal(title="Open", proposer="llm", edits=edits)
    )
    assert applied.commit == applied.parent
    assert applied.proposal is not None
    assert "would not parse" in (applied.proposal.error or "")


YESTERDAY = timedelta(hours=20)
DEEPER = Proposal(
    title="Deeper", proposer="llm", edits=(Edit(search="DEPTH = 4", replace="DEPTH = 6"),)
)
WIDER = Proposal(
    title="Wider", proposer="llm", edits=(Edit(search="A trainer", replace="A wide trainer"),)
)


def test_an_idea_in_hand_begins_when_its_turn_comes(session: Any) -> None:
    waiting = new_mark(session, 1, session.ledger)
    asked = waiting.model_copy(
        update={"proposal": DEEPER, "session": "last night", "started_at": utc_now() - YESTERDAY}
    )
    session.ledger.mark(asked)
    begun = begin_trial(session, 1)
    assert begun.session == "session"
    assert utc_now() - begun.started_at < timedelta(hours=1)
    # A session of two hours has just begun, whatever is in hand.
    session.settings = session.settings.model_copy(update={"hours": 2.0})
    apply_proposal(session, begun, DEEPER)
    keep_edit(session, 1, DEEPER)
    assert Limits(session).reached() is None


def test_what_an_earlier_session_began_counts_from_when_it_is_taken_up(session: Any) -> None:
    begun = begin_trial(session, 1, DEEPER)
    early = begun.model_copy(update={"started_at": utc_now() - YESTERDAY})
    session.ledger.mark(early)
    # A retried run of the same session counts on.
    assert begin_trial(session, 1).started_at == early.started_at
    session.ledger.mark(early.model_copy(update={"session": "last night"}))
    assert utc_now() - begin_trial(session, 1).started_at < timedelta(hours=1)


def test_an_idea_that_was_wrong_is_asked_for_anew_where_the_incumbent_changed(
    session: Any,
) -> None:
    waiting = new_mark(session, 2, session.ledger)
    wrong = DEEPER.model_copy(update={"error": "Block 1 is not found.", "cost": LOST})
    session.ledger.mark(waiting.model_copy(update={"proposal": wrong}))
    commit = keep_edit(session, 1, WIDER)
    begun = begin_trial(session, 2)
    assert (begun.parent, begun.commit) == (commit, commit)
    assert begun.proposal is None
    assert set_aside_costs(begun) == [LOST]


def test_what_was_trained_on_an_incumbent_that_has_gone_is_trained_anew(session: Any) -> None:
    begun = begin_trial(session, 1, DEEPER)
    applied = apply_proposal(session, begun, DEEPER)
    trained = Replicate(seed=1, training=TrainingResult(), evaluation=Evaluation(val_bpb=1.0))
    session.ledger.mark(applied.model_copy(update={"replicates": (trained,)}))
    same = begin_trial(session, 1)
    assert (same.commit, same.replicates) == (applied.commit, (trained,))

    commit = keep_edit(session, 2, WIDER)  # As a retried trial is, meanwhile.
    said: list[str] = []
    with events.listening(lambda event: said.append(getattr(event, "text", ""))):
        again = begin_trial(session, 1)
    assert (again.parent, again.commit, again.replicates) == (commit, commit, ())
    assert again.proposal == DEEPER
    assert again.attempts == 1, "what went before came to nothing"
    assert "Trial 1 was begun on an incumbent that another trial has replaced" in said[0]
    moved = apply_proposal(session, again, DEEPER)
    source = session.ledger.source(moved.commit)
    assert "A wide trainer" in source
    assert "DEPTH = 6" in source


def test_a_retry_that_was_cut_off_keeps_its_number(session: Any) -> None:
    recorded(session, DEEPER)
    assert number_of_retry(session, 0) == 1
    begin_trial(session, 1, DEEPER, retry_of=0)
    assert number_of_retry(session, 0) == 1
    assert number_of_retry(session, 5) == 2


def test_a_run_that_is_tried_again_knows_the_trial_that_it_retried(session: Any) -> None:
    recorded(session, DEEPER)
    assert retried_by(session, 0) is None
    mark = begin_trial(session, 1, DEEPER, retry_of=0)
    mark = apply_proposal(session, mark, DEEPER)
    record_trial(session, mark, failed(SandboxError("It broke.")), {})
    found = retried_by(session, 0)
    assert found is not None
    assert found.number == 1
    assert retried_by(session, 1) is None
    session.identifier = "another run"
    assert retried_by(session, 0) is None


def test_a_trial_is_given_up_only_where_it_gets_no_further(session: Any) -> None:
    mark = begin_trial(session, 1, Proposal(title="Deeper", proposer="llm"))
    mark = mark.model_copy(update={"attempts": MAX_ATTEMPTS})
    assert not is_given_up(mark)
    mark = mark.model_copy(update={"attempts": MAX_ATTEMPTS + 1})
    assert is_given_up(mark)
    trained = Replicate(seed=1, training=TrainingResult(), evaluation=Evaluation(val_bpb=2.0))
    assert not is_given_up(mark.model_copy(update={"incumbent_replicates": (trained,)}))


def test_an_idea_in_hand_that_was_asked_of_another_command_is_set_aside_and_said(
    session: Any,
) -> None:
    suggested = Proposal(
        title="Deeper",
        proposer="command",
        model="old-agent",
        cost=ProposalCost(calls=1, seconds=3.0),
        suggestions=("0001",),
    )
    session.settings = session.settings.model_copy(update={"command": "old-agent"})
    waiting = new_mark(session, 4, session.ledger).model_copy(update={"proposal": suggested})
    session.ledger.mark(waiting)
    session.settings = session.settings.model_copy(update={"command": "new-agent"})
    heard: list[str] = []
    with events.listening(lambda event: heard.append(getattr(event, "text", ""))):
        mark = begin_trial(session, 4)
    assert (mark.proposal, mark.set_aside) == (None, (suggested,))
    assert mark.attempts == 1
    assert any("trial 4 is by command old-agent, which is not asked now" in text for text in heard)
