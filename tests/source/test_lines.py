"""Differences of texts, in bounded time."""

import time

from hypothesis import given
from hypothesis import strategies as st

from nightlab.source.lines import opcodes

texts = st.lists(st.sampled_from("ab \n"), max_size=12)


@given(texts, texts)
def test_the_steps_turn_one_text_into_the_other(before: list[str], after: list[str]) -> None:
    made: list[str] = []
    old = new = 0
    for tag, begin, end, first, last in opcodes(before, after):
        assert (begin, first) == (old, new)
        assert (tag == "equal") == (before[begin:end] == after[first:last])
        made += before[begin:end] if tag == "equal" else after[first:last]
        old, new = end, last
    assert (old, new) == (len(before), len(after))
    assert made == after


def test_lines_that_are_all_alike_take_no_time() -> None:
    began = time.process_time()
    many = ["x"] * 30_000
    found = list(opcodes(["a", *many, "b"], ["c", *many, "x", "d"]))
    assert [tag for tag, *_ in found] == ["replace"]
    assert time.process_time() - began < 1
