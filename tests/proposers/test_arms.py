"""Whose ideas gained what, and whose turn it is."""

import pytest

from nightlab.models.spending import Price
from nightlab.proposers.arms import (
    Arm,
    ArmRecord,
    arm_of,
    arm_records,
    choose_arm,
    gain_in_noise,
    model_arms,
    shares,
    summarise_arms,
)
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


def test_arms_that_nobody_knows_share_alike() -> None:
    found = shares({"a": ArmRecord(), "b": ArmRecord()})
    assert found["a"] == pytest.approx(0.5, abs=0.05)
    assert sum(found.values()) == pytest.approx(1)


def test_the_better_arm_gets_the_more_turns_and_the_other_some() -> None:
    found = shares({"good": ArmRecord(gain=6, cost=10), "bad": ArmRecord(gain=1, cost=10)})
    assert found["good"] > 0.8
    assert found["bad"] > 0.01


def test_gain_counts_for_what_it_cost() -> None:
    found = shares({"dear": ArmRecord(gain=6, cost=40), "cheap": ArmRecord(gain=3, cost=5)})
    assert found["cheap"] > 0.9


def test_an_arm_that_was_hardly_tried_keeps_its_chance() -> None:
    known = ArmRecord(gain=10, cost=50)
    new, old = ArmRecord(gain=0, cost=1), ArmRecord(gain=0, cost=30)
    assert shares({"known": known, "new": new})["new"] > 0.3
    assert shares({"known": known, "old": old})["old"] < 0.05


def test_the_same_seed_chooses_alike_whatever_the_order() -> None:
    arms = {"a": ArmRecord(gain=1, cost=2), "b": ArmRecord(gain=2, cost=3)}
    backwards = dict(reversed(arms.items()))
    chosen = [choose_arm(arms, seed) for seed in range(50)]
    assert chosen == [choose_arm(backwards, seed) for seed in range(50)]
    assert set(chosen) == {"a", "b"}


def of_model(
    number: int, model: str, gain: float = 0.0, cost_usd: float | None = 0.1
) -> TrialRecord:
    verdict, reason = Verdict.DISCARD, Reason.WITHIN_NOISE
    if gain:
        verdict, reason = Verdict.KEEP, Reason.IMPROVED
    record = sample_record(number, scores=(2.0,), verdict=verdict, reason=reason)
    decision = record.decision.model_copy(update={"difference_bpb": -gain, "noise_bpb": 0.01})
    cost = ProposalCost(calls=1, prompt_tokens=1_000, completion_tokens=100, cost_usd=cost_usd)
    return record.model_copy(update={"decision": decision, "model": model, "cost": cost})


def test_a_model_is_asked_more_often_the_more_it_gained_for_its_price() -> None:
    prices = {"dear": Price(prompt=1e-5, completion=1e-5), "cheap": Price(prompt=0, completion=0)}
    records = [of_model(n, "dear", gain=0.03, cost_usd=1.0) for n in range(4)]
    records += [of_model(n, "cheap", gain=0.03, cost_usd=0.01) for n in range(4, 8)]
    records.append(of_model(8, "gone"))
    arms = model_arms(prices, records)
    assert arms["dear"].gain == pytest.approx(arms["cheap"].gain) == pytest.approx(12)
    assert arms["dear"].cost > 10 * arms["cheap"].cost
    chosen = [choose_arm(arms, seed) for seed in range(100)]
    assert chosen.count("cheap") > 85


def test_models_without_a_price_compare_by_turns() -> None:
    free = {name: Price(prompt=0, completion=0) for name in ("a", "b")}
    records = [of_model(n, "a", gain=0.0, cost_usd=0.0) for n in range(6)]
    records += [of_model(9, "b", gain=0.05, cost_usd=0.0)]
    arms = model_arms(free, records)
    assert (arms["a"].cost, arms["b"].cost) == (6, 1)
    assert arms["b"].gain == pytest.approx(5)


def test_a_free_model_that_gains_nothing_gives_way_to_one_that_is_paid() -> None:
    prices = {"paid": Price(prompt=1e-5, completion=1e-5), "free": Price(prompt=0, completion=0)}
    records = [of_model(n, "paid", gain=0.01, cost_usd=1.0) for n in range(10)]
    records += [of_model(n, "free", cost_usd=0.0) for n in range(10, 110)]
    arms = model_arms(prices, records)
    chosen = [choose_arm(arms, seed) for seed in range(100)]
    assert chosen.count("paid") > 90
