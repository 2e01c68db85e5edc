"""Lengths of time for people."""

import pytest

from nightlab.records.durations import in_words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        *((0.0, "0 s"), (0.24, "0.24 s"), (2.0, "2 s"), (9.96, "10 s"), (61, "61 s")),
        *((99.4, "99 s"), (99.5, "2 min"), (600, "10 min"), (5940, "99 min")),
        *((5970, "1 h 40 min"), (30_000, "8 h 20 min"), (36_000, "10 h 00 min")),
    ],
)
def test_a_length_of_time_is_said_to_the_digits_that_count(seconds: float, said: str) -> None:
    assert in_words(seconds) == said
