"""What flows do where a step of theirs raises; no server is needed for it."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows import research, trial
from flows.side_by_side import Outcomes
from flows.trial import record_of
from nightlab.errors import SandboxError
from nightlab.records import (
    Decision,
    Edit,
    InFlight,
    Proposal,
    Reason,
    Verdict,
)
from nightlab.study import prefetch
from nightlab.study.prefetch import begin_asking
from nightlab.study.step_clock import StepClock
from nightlab.study.trial import begin_trial, current_mark
from tests.session_samples import finish_trial, hold_answers, lose_an_answer, sample_session
from tests.study.trained import trained


class RaisingState:
    """The state of a trial that ended with an error."""

    def result(self) -> None:
        raise SandboxError("No sandbox starts.")


def test_an_idea_under_way_is_waited_for_where_its_trial_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, asked, released = hold_answers()
    session = sample_session(tmp_path / "clone", answer)
    finish_trial(session, Proposal(title="baseline", proposer="baseline"), Verdict.KEEP)

    def fail(session: Any, number: int, *, ask_ahead: bool) -> None:
        assert ask_ahead
        begin_asking(session, number + 1, begin_trial(session, number), prefetch.ask_ahead)
        assert asked.wait(timeout=30)
        # The answer comes after the failure.
        released_later.start()
        raise SandboxError("No sandbox starts.")

    released_later = threading.Timer(0.5, released.set)
    monkeypatch.setattr(research, "_run", fail)
    limits = SimpleNamespace(reached=lambda under_way=0: None)
    with pytest.raises(SandboxError):
        research._run_and_ask_ahead(session, 1, limits)
    mark = current_mark(session, 2)
    assert mark is not None
    assert mark.proposal is not None


def test_a_trial_without_a_record_raises_what_kept_it_from_it(tmp_path: Path) -> None:
    session = sample_session(tmp_path / "clone")
    state: Any = RaisingState()
    with pytest.raises(SandboxError, match="No sandbox starts"):
        record_of(session, 0, state)
    finish_trial(session, Proposal(title="baseline", proposer="baseline"), Verdict.KEEP)
    assert record_of(session, 0, state).number == 0


def test_calls_without_an_answer_stand_in_what_is_recorded_however_often_it_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = sample_session(tmp_path / "clone")
    mark = begin_trial(session, 1, Proposal(title="Deeper", proposer="llm"))
    lose_an_answer(session)
    recorded = []
    monkeypatch.setattr(trial, "record", lambda _, mark, *rest: recorded.append(mark))
    monkeypatch.setattr(trial, "keep_model", lambda *_: None)
    verdict = Decision(verdict=Verdict.FAILED, reason=Reason.MODEL, sentence="None answers.")
    trial._recorded(session, mark, verdict, StepClock(mark))
    assert [each.cost.calls for each in recorded[0].set_aside] == [1]


def test_what_is_under_way_is_pushed_as_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = sample_session(tmp_path / "clone")
    edits = (Edit(search="DEPTH = 4", replace="DEPTH = 6"),)
    idea = Proposal(title="Deeper", proposer="llm", edits=edits)
    pushed: list[tuple[str, int]] = []

    def note(session: Any) -> None:
        mark = current_mark(session, 1)
        assert mark is not None
        assert mark.proposal is not None
        pushed.append((mark.proposal.title, len(mark.replicates)))

    def measured(session: Any, mark: InFlight, trainings: Any, clock: StepClock) -> Any:
        index = len(mark.replicates)
        return [(trainings[0], trained(index, 2.0))], Outcomes([], None)

    training = SimpleNamespace(whose="")
    rounds = [(training,), (training,), ()]
    monkeypatch.setattr(trial, "push_or_say", note)
    monkeypatch.setattr(trial, "propose", lambda session, mark: idea)
    monkeypatch.setattr(trial, "track_start", lambda session, mark: None)
    monkeypatch.setattr(trial, "next_round", lambda session, mark: rounds.pop(0))
    monkeypatch.setattr(trial, "_round", measured)
    mark = begin_trial(session, 1)
    mark = trial._proposed(session, mark, StepClock(mark))
    trial._measured(session, mark, StepClock(mark))
    assert pushed == [("Deeper", 0), ("Deeper", 1), ("Deeper", 2)]
