import dataclasses

from nightlab.judging import screening
from nightlab.judging.decision import Subject, judge
from nightlab.judging.scores import CONTENDED_LIMIT
from nightlab.records import Reason, Replicate, Verdict
from tests.case_samples import STANDING, WELL_KNOWN, case, in_turn, replicate, verdict


def test_an_incumbent_that_was_not_trained_for_long_comes_first() -> None:
    three, twenty = STANDING[:3], (2.0,) * 20
    none_anew = {"incumbent_anew": []}
    judged = [
        judge(case(incumbent=three, earlier_since_trained=count, **none_anew)) for count in (2, 3)
    ]
    assert judged == [Subject.CANDIDATE, Subject.INCUMBENT]
    limit = screening.STALE_AFTER
    for since, subject in ((limit - 1, Subject.CANDIDATE), (limit, Subject.INCUMBENT)):
        assert judge(case(incumbent=twenty, earlier_since_trained=since, **none_anew)) is subject
    assert judge(case(incumbent=twenty, earlier_since_trained=limit)) is Subject.CANDIDATE
    # Not between the candidate's trainings, and not forever where other work keeps it busy.
    assert judge(case(1.9, incumbent=twenty, earlier_since_trained=limit)) is Subject.CANDIDATE
    crowded = [
        replicate(2.0, seed).model_copy(update={"contended": True})
        for seed in range(CONTENDED_LIMIT)
    ]
    stale = case(incumbent=twenty, earlier_since_trained=limit, incumbent_anew=crowded)
    assert judge(stale) is Subject.CANDIDATE


def test_the_incumbent_is_crowded_out_where_a_few_of_its_trainings_in_a_row_do_not_count() -> None:
    counts, slowed = in_turn(replicate(2.0, 50), 1), []
    for seed in range(60, 60 + CONTENDED_LIMIT):
        slowed.append(in_turn(replicate(2.3, seed), seed).model_copy(update={"contended": True}))
    for anew, crowded in (
        (slowed[1:], False),
        (slowed, True),
        ((*slowed[1:], counts, slowed[0]), False),
        ((*slowed, counts), False),
        ((counts, *slowed), True),
    ):
        found = case(1.985, incumbent_anew=anew, incumbent=WELL_KNOWN)
        found = dataclasses.replace(found, incumbent=(*found.incumbent, *anew))
        assert screening.is_crowded_out(found) is crowded
    # Where most of its trainings are contended, all count: the machine is always this noisy.
    found = dataclasses.replace(found, incumbent=slowed, incumbent_anew=slowed)
    more = dataclasses.replace(found, incumbent=(*slowed, *slowed[:1]))
    assert [screening.is_crowded_out(each) for each in (found, more)] == [True, False]


def test_before_a_candidate_in_doubt_is_discarded_the_incumbent_is_known_better() -> None:
    assert judge(case(1.999)) is Subject.INCUMBENT
    assert judge(case(2.005)) is Subject.INCUMBENT
    assert verdict(judge(case(2.02))) is Reason.REGRESSION, "too far behind for any doubt"
    lucky = (1.99, 1.995, 1.99)
    assert judge(case(1.985, incumbent=lucky)) is Subject.INCUMBENT
    assert judge(case(1.985, incumbent=(*lucky, *[2.01] * 7))) is Subject.CANDIDATE
    # The longer it stands the more trainings settle it, up to a limit.
    assert judge(case(1.995, incumbent=WELL_KNOWN, earlier_against=1)) is Subject.INCUMBENT
    most = (2.0,) * screening.SETTLED_AT_LAST
    late = case(1.995, incumbent=most, earlier_against=400)
    assert verdict(judge(late)) is Reason.WITHIN_NOISE
    # Later replicates of a candidate that falls back are treated alike.
    assert judge(case(1.985, 2.0)) is Subject.INCUMBENT


def test_before_a_candidate_in_doubt_goes_on_the_incumbent_is_known_better() -> None:
    known = (2.0,) * screening.LEAST_KNOWN
    assert judge(case(1.985, incumbent=known[1:])) is Subject.INCUMBENT
    assert judge(case(1.985, incumbent=known)) is Subject.CANDIDATE
    assert judge(case(1.9)) is Subject.CANDIDATE, "ahead too far for any doubt"
    # Where other work does not let it be measured, that is not waited for, and all ends.
    slowed = [
        in_turn(replicate(2.3, seed), seed).model_copy(update={"contended": True})
        for seed in (50, 51, 52)
    ]
    crowded = dataclasses.replace(case(1.985, incumbent=known[1:]), incumbent_anew=slowed)
    assert "kept the incumbent from being measured" in judge(crowded).sentence


def test_candidate_and_incumbent_take_strict_turns_whether_their_trainings_count_or_not() -> None:
    def slowed(each: Replicate, *those: int) -> Replicate:
        return each.model_copy(update={"contended": each.turn in those})

    found = case(1.95, 1.95, incumbent=(2.0,) * 22, anew=2, earlier_trials=10**6)
    assert judge(found) is Subject.CANDIDATE
    # The incumbent's turn does not count: it is not repeated at once.
    anew = [slowed(each, 3) for each in found.incumbent_anew]
    busy = dataclasses.replace(found, incumbent=(*found.incumbent[:20], *anew), incumbent_anew=anew)
    assert judge(busy) is Subject.CANDIDATE
    # Nor is the candidate's.
    own = [*found.candidate, in_turn(replicate(2.3, 9), 4).model_copy(update={"contended": True})]
    assert judge(dataclasses.replace(found, candidate=own)) is Subject.INCUMBENT


def test_the_incumbent_is_trained_again_while_it_is_known_no_better() -> None:
    pairs = screening.LEAST_KNOWN // 2
    tried = [1.99, 1.98] * pairs
    known = (1.99, 2.01) * pairs
    assert judge(case(*tried[1:], incumbent=known, earlier_trials=10**6)) is Subject.CANDIDATE
    assert judge(case(*tried, incumbent=known, earlier_trials=10**6)) is Subject.INCUMBENT
    assert judge(case(1.95, 1.95, incumbent=(1.99, 2.0, 2.01))).verdict is Verdict.KEEP
    assert judge(case(1.985, incumbent=(2.0, 2.0))) is Subject.INCUMBENT
