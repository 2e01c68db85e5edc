"""Which of the incumbent's trainings count."""

import pytest

from nightlab.judging.bank import CHANGED_NOISES, CHECK_AFTER, bank_of, is_due
from nightlab.records import Decision, Reason, Replicate, TrialRecord, Verdict
from tests.case_samples import replicate
from tests.samples import sample_record

NOISE = 0.01


def record(
    commit: str,
    parent: str,
    own: tuple[Replicate, ...] = (),
    anew: tuple[Replicate, ...] = (),
    reason: Reason = Reason.WITHIN_NOISE,
    difference: float | None = None,
) -> TrialRecord:
    decision = Decision(
        verdict=Verdict.DISCARD, reason=reason, sentence="", difference_bpb=difference
    )
    made = {"commit": commit, "parent": parent, "replicates": own, "incumbent_replicates": anew}
    return sample_record(1).model_copy(update={**made, "decision": decision})


def scores(records: list[TrialRecord], commit: str = "a", **more: object) -> dict[int, float]:
    values: dict = {"place": "here", "anew": (), "pair_noise_bpb": NOISE, **more}
    return {seed: each.val_bpb for seed, each in bank_of(records, commit, **values).items()}


BASELINE = record("a", "a", (replicate(2.0, 0), replicate(2.1, 1)), reason=Reason.BASELINE)


def test_a_code_brings_its_own_trainings_and_those_of_trials_against_it() -> None:
    kept = record("b", "a", (replicate(1.9, 0),), (replicate(2.2, 2),), Reason.IMPROVED)
    later = record("c", "b", (replicate(5.0, 0),), (replicate(1.8, 1),))
    records = [BASELINE, kept, later]
    assert scores(records) == {0: 2.0, 1: 2.1, 2: 2.2}
    assert scores(records, "b") == {0: 1.9, 1: 1.8}
    assert scores(records, "c") == {0: 5.0}
    assert scores(records, "d") == {}


def test_a_trial_whose_idea_was_never_applied_brings_nothing_of_its_own() -> None:
    unapplied = record("a", "a", (replicate(7.0, 3),), (replicate(2.3, 4),))
    assert scores([BASELINE, unapplied]) == {0: 2.0, 1: 2.1, 4: 2.3}


def test_the_trial_under_way_counts_last() -> None:
    assert scores([BASELINE], anew=(replicate(2.005, 0), replicate(2.4, 5))) == {
        0: 2.005,
        1: 2.1,
        5: 2.4,
    }


def test_only_one_place_counts_and_only_what_has_a_score() -> None:
    mixed = record("x", "a", (), (replicate(9.0, 2, "there"), replicate(None, 0)))
    assert scores([BASELINE, mixed]) == {0: 2.0, 1: 2.1}
    assert scores([BASELINE, mixed], place="there") == {2: 9.0}


def test_another_places_score_does_not_say_that_this_one_has_changed() -> None:
    mixed = record("x", "a", (), (replicate(9.0, 0, "there"), replicate(2.0, 0)))
    assert scores([BASELINE, mixed]) == {0: 2.0, 1: 2.1}


def test_the_latest_of_a_seed_counts() -> None:
    again = record("x", "a", (), (replicate(2.01, 0),))
    assert scores([BASELINE, again]) == {0: 2.01, 1: 2.1}


@pytest.mark.parametrize("sign", [1, -1])
def test_a_jump_drops_what_was_banked_before(sign: int) -> None:
    def again(noises: float) -> list[TrialRecord]:
        return [BASELINE, record("x", "a", (), (replicate(2.0 + sign * noises * NOISE, 0),))]

    assert set(scores(again(CHANGED_NOISES - 0.1))) == {0, 1}
    assert set(scores(again(CHANGED_NOISES + 0.1))) == {0}


def worse(**more: object) -> TrialRecord:
    return record("x", "a", **{"difference": 0.01, **more})  # type: ignore[arg-type]


def test_a_look_is_due_after_so_many_trials_that_were_all_worse() -> None:
    assert is_due([BASELINE, *[worse()] * CHECK_AFTER], "a", 0)
    assert not is_due([BASELINE, *[worse()] * (CHECK_AFTER - 1)], "a", 0)
    assert not is_due([], "a", 0)


def test_no_look_is_due_where_one_was_better_or_the_twin_was_made_anew() -> None:
    rows = [worse()] * (CHECK_AFTER - 1)
    better, made = worse(difference=-0.01), worse(anew=(replicate(2.0, 0),))
    for broken in (better, made):
        assert not is_due([BASELINE, *rows, broken], "a", 0)
        assert not is_due([*[worse()] * CHECK_AFTER, broken, *rows], "a", 0)
        assert is_due([broken, *rows, worse()], "a", 0)
    other_seed = worse(anew=(replicate(2.0, 1),))
    assert is_due([*rows, other_seed], "a", 0)


def test_other_incumbents_trials_and_crashes_do_not_count_towards_it() -> None:
    rows = [worse()] * (CHECK_AFTER - 1)
    for beside in (worse(difference=None), record("x", "b", difference=0.01)):
        assert not is_due([beside, *rows], "a", 0)
        assert is_due([worse(), beside, *rows], "a", 0)
    other_better = record("x", "b", difference=-0.01)
    assert is_due([worse(), *rows, other_better], "a", 0)
    first = worse(reason=Reason.BASELINE)
    assert not is_due([first, *rows], "a", 0)
