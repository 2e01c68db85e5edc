"""Thompson sampling: whose turn it is."""

import pytest

from nightlab.proposers.bandit import ArmRecord, choose_arm, shares


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
