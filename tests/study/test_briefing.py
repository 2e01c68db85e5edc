"""What a proposer is told, gathered from a study."""

from types import SimpleNamespace
from typing import Any

from nightlab.records import Decision, Edit, Proposal, Reason, TrialRecord, Verdict
from nightlab.study.briefing import near_misses
from tests.samples import sample_record

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
