"""Whose ideas gained what."""

import pytest

from nightlab.proposers.arms import Arm, arm_of, arm_records, gain_in_noise, summarise_arms
from nightlab.records import ProposalCost, Reason, TrialRecord, Verdict
from tests.samples import sample_record


def trial(
    number: int,
    proposer: str,
    gain: float = 0.0,
    verdict: Verdict | None = None,
    rescue_of: int | None = None,
) -> TrialRecord:
    """A trial of 20 training seconds, kept where it gained."""
    verdict = verdict or (Verdict.KEEP if gain > 0 else Verdict.DISCARD)
    reason = Reason.IMPROVED if verdict is Verdict.KEEP else Reason.WITHIN_NOISE
    scores = () if verdict is Verdict.CRASH else (2.0,)
    record = sample_record(number, scores=scores, verdict=verdict, reason=reason)
    decision = record.decision.model_copy(update={"difference_bpb": -gain, "noise_bpb": 0.01})
    cost = ProposalCost(calls=1, cost_usd=0.25) if proposer == "llm" else ProposalCost()
    return record.model_copy(
        update={"proposer": proposer, "decision": decision, "rescue_of": rescue_of, "cost": cost}
    )


def test_every_trial_has_its_arm() -> None:
    assert arm_of(trial(1, "llm")) is Arm.STRUCTURE
    assert arm_of(trial(1, "command")) is Arm.STRUCTURE
    assert arm_of(trial(1, "knobs")) is Arm.TUNING
    assert arm_of(trial(2, "knobs", rescue_of=1)) is Arm.RESCUE
    assert arm_of(trial(1, "llm", verdict=Verdict.FAILED)) is None
    baseline = sample_record(0, scores=(2.0,), verdict=Verdict.KEEP, reason=Reason.BASELINE)
    assert arm_of(baseline) is None


def test_gain_is_counted_in_the_noise_and_losses_not_at_all() -> None:
    assert gain_in_noise(trial(1, "llm", gain=0.03)) == pytest.approx(3)
    assert gain_in_noise(trial(1, "llm", gain=-0.03)) == 0


def test_cost_is_counted_in_trials_and_a_turn_without_training_is_not_free() -> None:
    records = [trial(1, "llm", gain=0.03), trial(2, "llm", verdict=Verdict.CRASH)]
    records += [trial(3, "knobs"), trial(4, "knobs")]
    arms = arm_records(records)
    assert arms[Arm.STRUCTURE].cost == pytest.approx(1.1)
    assert arms[Arm.STRUCTURE].gain == pytest.approx(3)
    assert (arms[Arm.TUNING].cost, arms[Arm.TUNING].gain) == (2, 0)
    assert (arms[Arm.RESCUE].cost, arms[Arm.RESCUE].gain) == (0, 0)


def test_an_arm_does_not_pay_for_trainings_of_the_incumbent() -> None:
    twins = sample_record(9, scores=(2.0, 2.0, 2.0)).replicates
    first = trial(1, "llm").model_copy(update={"incumbent_replicates": twins})
    arms = arm_records([first, trial(2, "knobs")])
    assert arms[Arm.STRUCTURE].cost == pytest.approx(arms[Arm.TUNING].cost)
    assert [each.training_seconds for each in summarise_arms([first])] == [20]


def test_a_summary_names_the_arms_that_had_a_turn() -> None:
    told = summarise_arms([trial(1, "llm", gain=0.03), trial(2, "knobs"), trial(3, "knobs")])
    assert [each.arm for each in told] == [Arm.STRUCTURE, Arm.TUNING]
    structure, tuning = told
    assert (structure.trials, structure.keeps, structure.cost_usd) == (1, 1, 0.25)
    assert structure.gain_bpb_per_hour == pytest.approx(0.03 / 20 * 3600)
    assert tuning.cost_usd is None
    assert structure.share > tuning.share
    assert structure.share + tuning.share == pytest.approx(1)
    assert summarise_arms([]) == ()
