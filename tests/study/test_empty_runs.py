"""A study whose agent leaves nothing to train: what is recorded, kept, counted and said."""

from pathlib import Path
from typing import Any

import pytest

from nightlab.errors import ModelError
from nightlab.ledger import add_suggestion, answer_names, waiting_suggestions
from nightlab.proposers.brief import Brief
from nightlab.proposers.command.proposer import CommandProposer
from nightlab.proposers.history import trials_since_keep
from nightlab.proposers.prompts import study_parts
from nightlab.records import Proposal, Reason, TrialRecord, Verdict
from nightlab.study.briefing import brief
from nightlab.study.patience import after_failures
from nightlab.study.recording import failed, record_trial
from nightlab.study.trial import begin_trial, with_unanswered
from tests.conftest import git
from tests.session_samples import finish_trial, sample_session

REFUSED = "seq 100; echo 'Edits were refused: I may not write here.'"


@pytest.fixture
def session(tmp_path: Path) -> Any:
    session = sample_session(tmp_path / "clone")
    finish_trial(session, Proposal(title="baseline", proposer="baseline"), Verdict.KEEP)
    return session


def run_trials(session: Any, script: str, count: int) -> list[TrialRecord]:
    """Trials whose agent comes to nothing, as far as their records."""
    for _ in range(count):
        # A new one for each: it would rest.
        session.proposer = CommandProposer(script, 30.0, spending=session.spending)
        mark = begin_trial(session, session.ledger.next_number())
        with pytest.raises(ModelError) as caught:
            session.proposer.propose(told(session))
        record_trial(session, with_unanswered(session, mark), failed(caught.value), {})
    return list(session.ledger.records())[-count:]


def told(session: Any) -> Brief:
    number = session.ledger.next_number() - 1
    (mark,) = (each for each in session.ledger.marks() if each.number == number)
    return brief(session, mark)


def test_three_in_a_row_end_the_session_with_the_agents_own_words(session: Any) -> None:
    records = run_trials(session, REFUSED, 3)
    assert {each.verdict for each in records} == {Verdict.FAILED}
    assert {each.reason for each in records} == {Reason.NO_EDIT}
    assert after_failures(records[:2], "session").stop is None
    stopped = after_failures(records, "session").stop
    assert stopped is not None
    assert "3 trials in a row failed through no fault of their candidates" in stopped
    assert "changed nothing in trainer/train.py" in stopped
    assert stopped.endswith("98\n99\n100\nEdits were refused: I may not write here.")


def test_a_typo_in_its_options_ends_the_session_with_its_own_words(session: Any) -> None:
    usage = "usage: agent [-h]\\nagent: error: unrecognized arguments: --modle $(date +%N)"
    records = run_trials(session, f'printf "{usage}\\n"; exit 2', 3)
    assert {each.reason for each in records} == {Reason.MODEL_REFUSED}
    stopped = after_failures(records, "session").stop
    assert stopped is not None
    assert "3 trials in a row failed" in stopped
    assert "correct --command" in stopped
    assert "agent: error: unrecognized arguments: --modle" in stopped.splitlines()[-1]


def test_all_that_it_said_stands_in_git(session: Any) -> None:
    (record,) = run_trials(session, REFUSED, 1)
    assert record.log_tail.endswith("\n100\nEdits were refused: I may not write here.")
    assert len(record.log_tail.splitlines()) == 40
    assert (record.cost.calls, record.cost.cost_usd) == (1, None)
    (name,) = answer_names(session.ledger, record.number)
    whole = git(session.places.root, "show", name)
    assert whole.splitlines()[:2] == ["[what it printed]", "1"]
    assert whole.splitlines()[-1] == "Edits were refused: I may not write here."


@pytest.mark.parametrize("script", [REFUSED, "exit 1"])
def test_such_trials_count_in_nothing(session: Any, script: str) -> None:
    add_suggestion(session.ledger, "Try RMSNorm.")
    run_trials(session, script, 2)
    assert [each.text for each in waiting_suggestions(session.ledger)] == ["Try RMSNorm."]
    begin_trial(session, session.ledger.next_number())
    known = told(session)
    assert trials_since_keep(known.records) == 0
    assert [each.text for each in known.suggestions] == ["Try RMSNorm."]
    table = "\n".join(study_parts(known))
    assert "(2 more failed before there was an idea: left out.)" in table
    assert "no proposal" not in table
    assert "no_edit" not in table
