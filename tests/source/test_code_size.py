"""Code is counted, not its layout."""

import pytest

from nightlab.source.code_size import code_lines

PLAIN = """
def double(value):
    total = value + value
    return total
"""


@pytest.mark.parametrize(
    "other",
    [
        PLAIN + "# a comment\n\n\n",
        PLAIN.replace("value):", 'value):\n    """Twice the value."""'),
        PLAIN.replace("value + value", "(\n        value\n        + value\n    )"),
        PLAIN.replace("value\n    return", "value; return"),
    ],
)
def test_layout_comments_and_docstrings_count_nothing(other):
    assert code_lines(other) == code_lines(PLAIN) == 3


def test_statements_count():
    shorter = "def double(value):\n    return value + value\n"
    assert code_lines(shorter) == 2
    assert code_lines('"""Only a text."""\n') == 1
