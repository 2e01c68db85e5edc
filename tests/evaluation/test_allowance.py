"""What the candidate's code may take, from what the baseline's took."""

import pytest

from nightlab.evaluation.allowance import FACTORS, MARGIN_SECONDS, allowance
from nightlab.records import Answering, Evaluation


def evaluation(clock="processor", **seconds):
    return Evaluation(answering=Answering(clock=clock, **seconds))


def test_it_is_a_small_multiple_of_the_longest_in_the_same_sandbox():
    needed = [
        evaluation(claims=2.0, audit=1.0, repeats=0.5),
        evaluation(claims=1.0, audit=3.0),
        evaluation(clock="wall", claims=90.0, audit=90.0, repeats=90.0),
        Evaluation(val_bpb=2.0),  # of an older engine
    ]
    assert FACTORS == {"claims": 8, "audit": 8, "repeats": 4}
    assert allowance(needed, "processor") == Answering(
        clock="processor", claims=17.0, audit=25.0, repeats=3.0
    )
    assert allowance(needed, "wall").claims == 720 + MARGIN_SECONDS["wall"]


@pytest.mark.parametrize("needed", [[], [Evaluation()], [evaluation(clock="wall", claims=1.0)]])
def test_where_no_need_is_known_there_is_none(needed):
    assert allowance(needed, "processor") is None


def test_a_part_that_is_not_known_is_not_limited():
    found = allowance([evaluation(claims=2.0)], "processor")
    assert (found.audit, found.repeats) == (None, None)
