"""When a kept change is a passenger: pure functions of pairs."""

import pytest

from nightlab.judging import consolidation_sentences as sentences
from nightlab.judging.case import Learnt
from nightlab.judging.consolidating import (
    FEWEST_PAIRS,
    MOST_PAIRS,
    Outcome,
    judge_change,
    judge_together,
    no_worse,
    weigh_pairs,
)
from nightlab.judging.decision import Weighed
from nightlab.records import Pair

NOISE_BPB = 0.005
KEEP = 0.85


def weighed(*gains: float) -> Weighed:
    """Of a code whose pairs show these gains, in units of a pair's noise."""
    pairs = [
        Pair(seed=seed, candidate_bpb=2.0 - gain * NOISE_BPB, incumbent_bpb=2.0)
        for seed, gain in enumerate(gains)
    ]
    return weigh_pairs(pairs, Learnt(), NOISE_BPB, KEEP)


def judge(*gains: float, fresh: int | None = None, saves_code: bool = False) -> Outcome | None:
    count = len(gains) if fresh is None else fresh
    return judge_change(
        weighed(*gains), count, saves_code=saves_code, keep_probability=KEEP, most_pairs=MOST_PAIRS
    )


def test_one_fresh_pair_decides_nothing() -> None:
    assert FEWEST_PAIRS == 2
    for gain in (-20.0, 0.0, 20.0):
        assert judge(gain) is None


@pytest.mark.parametrize(
    ("gains", "outcome"),
    [
        ((6.0, 5.0), Outcome.STAYS),
        ((0.0, -0.2), Outcome.PASSENGER),
        ((-6.0, -5.0), Outcome.PASSENGER),
        ((1.0, 0.6), None),
        ((1.0, 0.6, 0.2, 0.4), Outcome.UNDECIDED),
    ],
)
def test_a_change_is_what_its_pairs_say(gains: tuple[float, ...], outcome: Outcome | None) -> None:
    assert judge(*gains) is outcome


def test_the_pairs_that_kept_it_count() -> None:
    assert judge(0.0, 0.0) is Outcome.PASSENGER
    assert judge(9.0, 8.0, 0.0, 0.0, fresh=2) is Outcome.STAYS
    assert judge(2.0, 0.0, 0.0, fresh=2) is None, "not one and not the other"
    assert judge(2.0, -1.5, -1.5, fresh=2) is Outcome.PASSENGER


def test_what_saves_code_is_out_only_where_it_costs() -> None:
    assert judge(0.5, 0.6, saves_code=True) is Outcome.STAYS
    assert judge(-0.2, 0.1, 0.0, 0.0, saves_code=True) is Outcome.STAYS, "though it gains nothing"
    assert judge(-6.0, -5.0, saves_code=True) is Outcome.PASSENGER
    assert judge(-1.0, -0.5, saves_code=True) is None


def test_the_code_without_them_is_offered_where_it_loses_little() -> None:
    assert judge_together(weighed(5.0), MOST_PAIRS) is None, "one pair is not enough"
    assert judge_together(weighed(0.5, 0.6), MOST_PAIRS) is True
    assert judge_together(weighed(-5.0, -6.0), MOST_PAIRS) is False
    assert judge_together(weighed(-0.5, -0.6), MOST_PAIRS) is None
    assert judge_together(weighed(-0.5, -0.6, -0.5, -0.6), MOST_PAIRS) is False
    assert no_worse(weighed(0.5, 0.6)) > no_worse(weighed(-0.5, -0.6))


def test_sentences_say_what_was_measured_and_what_follows() -> None:
    name = sentences.label(3, "Wider")
    found = weighed(0.0, -0.2)
    said = sentences.change_sentence(name, Outcome.PASSENGER, found, 0.0005, 2, saves=False)
    assert said.startswith(
        "Trial 3 (Wider) is a passenger: without it the code is better by 0.0005"
    )
    assert "in 2 pairs of fresh seeds" in said
    helps = sentences.change_sentence(name, Outcome.STAYS, weighed(6.0, 5.0), -0.03, 2, saves=False)
    assert helps.startswith("Trial 3 (Wider) helps, and stays: without it the code is worse by")
    short = sentences.change_sentence(name, Outcome.STAYS, found, 0.0, 2, saves=True)
    assert "for it saves code" in short
    assert "no worse, within noise" in short
    costly = sentences.change_sentence(name, Outcome.PASSENGER, found, 0.0, 2, saves=True)
    assert "saves code and costs score" in costly
    open_still = sentences.change_sentence(name, Outcome.UNDECIDED, found, 0.0, 4, saves=False)
    assert "is undecided, and stays" in open_still
    assert "with the pairs that kept it, the chance" in sentences.change_sentence(
        name, Outcome.PASSENGER, weighed(1.0, 0.0, -0.2), 0.0, 2, saves=False
    )
    same = sentences.change_sentence(name, Outcome.PASSENGER, found, 1e-9, 2, saves=False)
    assert "without it the code is as good in 2 pairs of fresh seeds; the chance" in same
    outcomes = [Outcome.PASSENGER, Outcome.STAYS, Outcome.STAYS, Outcome.ENTANGLED]
    assert sentences.found_sentence(outcomes) == (
        "Of 4 kept changes: 1 passenger, 2 earn their place, 1 cannot be left out alone."
    )
    assert sentences.found_sentence([Outcome.STAYS]) == "Of 1 kept change: 1 earns its place."
    refused = sentences.together_sentence(2, weighed(-5.0, -6.0), holds=False, noise_bpb=NOISE_BPB)
    assert refused.startswith("Without all 2 the code is worse by 0.0275 bpb in 2 further pairs")
    assert "too little to offer it" in refused
