"""A change taken out of what went on after it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightlab.source.three_way import without_change

BEFORE = "DEPTH = 4\nWIDTH = 64\nRATE = 0.1\n\nmain()\n"
CHANGED = BEFORE.replace("DEPTH = 4", "DEPTH = 6")


def test_what_came_after_it_stays() -> None:
    today = CHANGED.replace("RATE = 0.1", "RATE = 0.2").replace("main()", "main()\nlast()")
    expected = today.replace("DEPTH = 6", "DEPTH = 4")
    assert without_change(CHANGED, BEFORE, today) == expected


def test_constants_side_by_side_are_no_conflict() -> None:
    today = CHANGED.replace("WIDTH = 64", "WIDTH = 96")
    assert without_change(CHANGED, BEFORE, today) == BEFORE.replace("WIDTH = 64", "WIDTH = 96")


@pytest.mark.parametrize(
    ("name", "today"),
    [
        ("the same line", CHANGED.replace("DEPTH = 6", "DEPTH = 8")),
        ("a line put where it was", CHANGED.replace("DEPTH = 6", "FIRST = 1\nDEPTH = 6")),
        ("the line gone", CHANGED.replace("DEPTH = 6\n", "")),
    ],
)
def test_what_was_built_on_it_is_a_conflict(name: str, today: str) -> None:
    assert without_change(CHANGED, BEFORE, today) is None, name


def test_lines_added_into_what_it_added_are_a_conflict() -> None:
    changed = BEFORE.replace("main()\n", "main()\none()\ntwo()\n")
    within = changed.replace("one()\n", "one()\nhalf()\n")
    assert without_change(changed, BEFORE, within) is None
    behind = changed + "three()\n"
    assert without_change(changed, BEFORE, behind) is None, "whose lines would these be"


def test_what_was_taken_back_since_is_nothing_to_take_out() -> None:
    today = BEFORE.replace("RATE = 0.1", "RATE = 0.2")
    assert without_change(CHANGED, BEFORE, today) == today
    assert without_change(CHANGED, BEFORE, BEFORE) == BEFORE


def test_a_change_within_one_that_was_partly_taken_back() -> None:
    changed = CHANGED.replace("main()", "main(2)")
    today = changed.replace("main(2)", "main()")
    assert without_change(changed, BEFORE, today) == BEFORE


LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "\n"]), max_size=8).map("".join)


@given(before=LINES, changed=LINES)
def test_with_nothing_after_it_what_was_before_comes_back(before: str, changed: str) -> None:
    assert without_change(changed, before, changed) == before


@given(changed=LINES, today=LINES)
def test_a_change_of_nothing_leaves_all_as_it_is(changed: str, today: str) -> None:
    assert without_change(changed, changed, today) == today
