"""Code is counted, not its layout."""

import zlib
from pathlib import Path

import pytest

from nightlab.source.code_size import canonical_code, code_nodes, is_clearly_less

PLAIN = """
def double(value):
    total = value + value
    return total
"""
TRAINER = Path(__file__).parents[2] / "trainer" / "train.py"


@pytest.mark.parametrize(
    "other",
    [
        PLAIN + "# a comment\n\n\n",
        PLAIN.replace("value):", 'value):\n    """Twice the value."""'),
        '"""A module."""\n' + PLAIN,
        PLAIN.replace("value + value", "(\n        value\n        + value\n    )"),
        PLAIN.replace("value\n    return", "value; return"),
        PLAIN.replace("total", "t"),
    ],
)
def test_layout_names_comments_and_docstrings_count_nothing(other: str) -> None:
    assert code_nodes(other) == code_nodes(PLAIN)


def test_nodes_are_counted() -> None:
    # Module, assignment, name, addition of two: the sum, its operator, a name and a constant.
    assert code_nodes("x = y + 1") == 7
    assert code_nodes("x = y") == 4
    assert code_nodes('"""Only a text."""\n') == 2, "an empty module: itself and what passes"
    assert code_nodes("class A:\n    'Text.'\n    x = 1\n") == code_nodes("class A:\n    x = 1\n")
    assert code_nodes("async def f():\n    'Text.'\n    g()\n") == code_nodes(
        "async def f():\n    g()\n"
    )


def test_a_constant_counts_by_its_length() -> None:
    assert code_nodes("x = ''") == 4
    assert code_nodes("x = 'four'") == code_nodes("x = b'four'") == 8
    assert code_nodes("x = f'four{z}'") == code_nodes("x = f'{z}'") + 5
    assert code_nodes("x = 0x" + 16 * "f") == 12
    assert code_nodes("x = 0.05") == code_nodes("x = None") == code_nodes("x = 100") == 4


def test_hiding_code_in_a_constant_saves_nothing() -> None:
    source = TRAINER.read_text(encoding="utf-8")
    nodes = code_nodes(source)
    packed = zlib.compress(canonical_code(source).encode(), 9)
    assert code_nodes(f"exec(unpack({packed!r}))") > nodes
    as_number = hex(int.from_bytes(packed, "big"))
    assert code_nodes(f"exec(unpack({as_number}))") > nodes


def test_a_number_too_large_to_be_written_is_no_trouble() -> None:
    huge = "x = 0x1" + 9_000 * "f"
    assert code_nodes(huge) > 1_000
    assert canonical_code(huge) != canonical_code(huge + "e")


def test_one_percent_is_clearly_less() -> None:
    parent = "x = y\n" * 100
    assert code_nodes(parent) == 301
    assert not is_clearly_less("x = y\n" * 99, parent), "298 are more than 297.99"
    assert is_clearly_less("x = y\n" * 98 + "pass\n" * 2, parent)
    assert not is_clearly_less(parent, parent)
    assert is_clearly_less("x = 0", "x = 0 + 0")


def test_what_does_not_parse_is_said() -> None:
    with pytest.raises(SyntaxError):
        code_nodes("x =")
