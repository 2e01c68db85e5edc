"""Which replicates stand out from their code's record, and which only look it."""

from hypothesis import given
from hypothesis import strategies as st

from nightlab.judging.contention import (
    DEPARTURE_SHARE,
    FALL_SHARE,
    PAIR_SHARE,
    contention_sentence,
    mark_contended,
    slowest_quarter,
)
from nightlab.records import CurvePoint, Evaluation, Reason, Replicate, TrainingResult

STEADY = (100.0, 100.0, 100.0, 100.0)
FALLEN = (100.0, 100.0, 40.0, 100.0)


def curve(rates: tuple[float, ...], points: int = 10, late: float = 0.0) -> tuple[CurvePoint, ...]:
    """A training of ten seconds a quarter, each with a rate of its own.

    Args:
        rates: tokens per second in each quarter.
        points: reports in each quarter.
        late: seconds before the first report, which bring no tokens.
    """
    made = [CurvePoint(seconds=late, step=0, loss=1.0, tokens=0)]
    for rate in rates:
        for _ in range(points):
            last = made[-1]
            tokens = (last.tokens or 0) + round(rate * 1000 / points)
            made.append(
                CurvePoint(
                    seconds=last.seconds + 10 / points, step=len(made), loss=1.0, tokens=tokens
                )
            )
    return tuple(made)


def replicate(
    seed: int,
    rate: float | None,
    *,
    quarters: tuple[float, ...] = STEADY,
    failure: Reason | None = None,
    contended: bool = False,
) -> Replicate:
    training = TrainingResult(tokens_per_second=rate, curve=curve(quarters), failure=failure)
    return Replicate(
        seed=seed, training=training, evaluation=Evaluation(val_bpb=1.0), contended=contended
    )


def record(*rates: float | None) -> tuple[Replicate, ...]:
    return tuple(replicate(seed, rate) for seed, rate in enumerate(rates))


def marked(replicates: tuple[Replicate, ...]) -> list[int]:
    return [each.seed for each in mark_contended(replicates) if each.contended]


def test_one_replicate_has_no_record_to_depart_from() -> None:
    assert mark_contended(()) == ()
    assert marked(record(100.0)) == []
    assert marked(record(100.0, None)) == []


def test_of_two_the_slower_is_marked_once_they_disagree_by_more_than_the_share() -> None:
    slower = 100 * (1 - PAIR_SHARE)
    assert marked(record(slower + 0.1, 100.0)) == []
    assert marked(record(slower - 0.1, 100.0)) == [0]
    assert marked(record(100.0, slower - 0.1)) == [1]


def test_of_several_the_one_that_stands_out_is_marked_on_either_side() -> None:
    share = 100 * DEPARTURE_SHARE
    assert marked(record(100.0, 100.5, 100 - share + 0.1)) == []
    assert marked(record(100.0, 100.5, 100 - share - 0.1, 99.9)) == [2]
    assert marked(record(100.0, 100.5, 100 + share + 1, 99.9)) == [2]


def test_a_machine_that_always_wanders_has_nothing_that_stands_out() -> None:
    assert marked(record(60.0, 80.0, 100.0)) == []
    assert marked(record(60.0, 80.0, 100.0, 120.0, 90.0, 70.0)) == []


def test_after_some_in_a_row_that_lie_apart_the_machine_is_another_one() -> None:
    def marks(*rates: float) -> tuple[list[int], list[int]]:
        found = mark_contended(record(*rates))
        contended = [each.seed for each in found if each.contended]
        return contended, [each.seed for each in found if each.outdated]

    calm, changed = (100.0, 101.0, 99.0, 100.5, 99.5), (70.0, 71.0, 70.5)
    assert marks(*calm, *changed[:2]) == ([5, 6], [])
    assert marks(*calm, *changed) == ([], [0, 1, 2, 3, 4])
    # Three and three as well, which together are no record at all.
    assert marks(*calm[:3], *changed) == ([], [0, 1, 2])
    # A single calm one among them is no change, and neither are some on both sides.
    assert marks(*calm, 70.0, 100.0, 70.5) == ([5, 7], [])
    assert marks(*calm, 70.0, 130.0, 70.5) == ([5, 6, 7], [])
    # Once it has changed, one that stands out is contended and changes nothing back.
    assert marks(*calm, *changed, 50.0) == ([8], [0, 1, 2, 3, 4])
    assert marks(*calm, *changed, 100.0) == ([8], [0, 1, 2, 3, 4])
    # It may change back, and then what was before counts again.
    assert marks(*calm, *changed, 100.0, 99.0, 101.0) == ([], [5, 6, 7])


def test_what_is_known_to_be_of_another_machine_is_no_part_of_the_record() -> None:
    fast, slow = record(100.0, 101.0, 99.0, 70.0)[:3], record(100.0, 101.0, 99.0, 70.0)[3:]
    assert marked((*fast, *slow)) == [3]
    earlier = [each.model_copy(update={"precedes_change": True}) for each in fast]
    found = mark_contended((*earlier, *slow))
    assert [(each.contended, each.outdated) for each in found] == [(False, True)] * 3 + [
        (False, False)
    ]


def test_a_mark_is_taken_back_when_the_record_says_otherwise() -> None:
    first = mark_contended(record(75.0, 100.0))
    assert first[0].contended
    more = mark_contended((*first, replicate(2, 75.5), replicate(3, 74.5)))
    assert [each.contended for each in more] == [False, True, False, False]


def test_a_rate_that_fell_for_a_quarter_marks_even_a_first_replicate() -> None:
    assert marked((replicate(0, 100.0, quarters=FALLEN),)) == [0]
    for quarter in range(4):
        rates = [100.0] * 4
        rates[quarter] = 100 * (1 - FALL_SHARE) + 2
        assert marked((replicate(0, 100.0, quarters=tuple(rates)),)) == []
        rates[quarter] -= 4
        assert marked((replicate(0, 100.0, quarters=tuple(rates)),)) == [0]


def test_code_whose_steps_become_dearer_is_not_contended() -> None:
    dearer = (200.0, 200.0, 100.0, 100.0)
    first = replicate(0, 100.0, quarters=dearer)
    assert marked((first,)) == [0], "with one replicate nothing else is known"
    assert marked((first, replicate(1, 100.0, quarters=dearer))) == []
    assert marked((first, replicate(1, 100.0), replicate(2, 100.0))) == [0]


def test_failed_replicates_are_neither_marked_nor_part_of_the_record() -> None:
    failed = replicate(0, 10.0, quarters=FALLEN, failure=Reason.OOM)
    assert marked((failed, replicate(1, 100.0), replicate(2, 101.0))) == []
    assert mark_contended((failed,)) == (failed,)


def test_where_tokens_are_counted_nothing_is_marked() -> None:
    replicates = (replicate(0, 10.0, contended=True), replicate(1, 100.0, quarters=FALLEN))
    assert not any(each.contended for each in mark_contended(replicates, counts_tokens=True))
    assert all(each.contended for each in mark_contended(replicates))


def test_the_first_reports_delay_is_not_a_fall() -> None:
    assert slowest_quarter(curve(STEADY, late=8.0)) == 1.0
    assert slowest_quarter(curve((90.0, 100.0, 110.0, 100.0))) == 0.9


def test_reports_too_few_or_without_tokens_say_nothing() -> None:
    assert slowest_quarter(curve(FALLEN, points=4)) == 0.4
    assert slowest_quarter(curve(FALLEN, points=3)) is None
    assert slowest_quarter(()) is None
    bare = tuple(point.model_copy(update={"tokens": None}) for point in curve(FALLEN))
    assert slowest_quarter(bare) is None
    still = tuple(point.model_copy(update={"tokens": 5}) for point in curve(FALLEN))
    assert slowest_quarter(still) is None


def test_people_are_told_which_record_it_departs_from() -> None:
    replicates = mark_contended(record(100.0, 101.0, 55.0))
    assert contention_sentence(replicates, 0) is None
    said = contention_sentence(replicates, 2)
    assert said is not None
    assert "seed 2" in said
    assert "55 tokens per second, 45% slower than the 100 of" in said
    pair = contention_sentence(mark_contended(record(60.0, 100.0)), 0)
    assert pair is not None
    assert "40% slower than the 100 of" in pair
    said = contention_sentence(replicates, 2, counts=True)
    assert said is not None
    assert "It still counts" in said
    fell = mark_contended((replicate(4, 100.0, quarters=FALLEN),))
    alone = contention_sentence(fell, 4)
    assert alone is not None
    assert "only 40% of its own usual throughput" in alone


@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.floats(1.0, 1e6)), st.sampled_from((STEADY, FALLEN))),
        min_size=3,
        max_size=12,
    )
)
def test_of_three_or_more_one_at_least_always_stands(
    drawn: list[tuple[float | None, tuple[float, ...]]],
) -> None:
    replicates = tuple(
        replicate(seed, rate, quarters=quarters) for seed, (rate, quarters) in enumerate(drawn)
    )
    once = mark_contended(replicates)
    assert not all(each.contended or each.outdated for each in once)
    assert mark_contended(once) == once


def test_a_record_without_curves_says_the_same_of_a_fall():
    fallen = [replicate(seed, 100.0, quarters=FALLEN if seed == 1 else STEADY) for seed in range(3)]
    assert marked(tuple(fallen)) == [1]
    noted = tuple(
        each.model_copy(
            update={
                "training": each.training.model_copy(
                    update={"curve": (), "slowest_quarter": slowest_quarter(each.training.curve)}
                )
            }
        )
        for each in fallen
    )
    assert marked(noted) == [1]
