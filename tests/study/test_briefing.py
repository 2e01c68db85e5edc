"""What a proposer is told, gathered from a study."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from nightlab.records import Decision, Edit, Proposal, Reason, TrialRecord, Verdict
from nightlab.study.briefing import brief, near_misses
from nightlab.study.trial import begin_trial
from tests.samples import sample_record
from tests.session_samples import sample_session

NOISE = 0.01


def missed(number: int, difference: float, reason: Reason = Reason.WITHIN_NOISE) -> TrialRecord:
    decision = Decision(
        verdict=Verdict.DISCARD,
        reason=reason,
        sentence="So it is.",
        difference_bpb=difference,
        noise_bpb=NOISE,
    )
    return sample_record(number).model_copy(update={"decision": decision, "proposer": "llm"})


def ledger() -> Any:
    edits = (Edit(search="DEPTH = 4", replace="DEPTH = 5"),)
    evidence = SimpleNamespace(proposal=Proposal(title="An idea", proposer="llm", edits=edits))
    return SimpleNamespace(evidence=lambda number: evidence)


def test_edits_that_missed_by_little_are_told_and_those_that_were_stopped_are_not() -> None:
    records = (
        missed(1, 1.2 * NOISE),
        missed(2, 3.0 * NOISE),
        *(missed(number, 0.5 * NOISE, Reason.PRUNED) for number in range(3, 9)),
    )
    assert [each.number for each in near_misses(ledger(), records)] == [1]


def test_a_proposer_is_told_the_start_up_that_is_free_as_it_was_measured(tmp_path: Path) -> None:
    session = sample_session(tmp_path / "clone")
    mark = begin_trial(session, 1)
    usual = session.settings.sizes.startup_free_seconds
    assert brief(session, mark).startup_free_seconds == usual
    session.startup_free_seconds = 3.5
    assert brief(session, mark).startup_free_seconds == 3.5
