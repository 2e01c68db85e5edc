"""Code is counted, not its layout."""

import ast
import base64
import lzma
import re
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


PACKED = lzma.compress(canonical_code(TRAINER.read_text(encoding="utf-8")).encode(), preset=9)
WIDE = "".join(
    chr(0x10000 + 256 * high + low) for high, low in zip(PACKED[::2], PACKED[1::2], strict=False)
)
NAMED = "_".join(
    base64.b32encode(PACKED).decode().rstrip("=")[at : at + 40] for at in range(0, 12_000, 40)
)
PLACES = {
    "a text": f"exec(unpack({base64.b85encode(PACKED)!r}))",
    "a text as it was": f"exec({TRAINER.read_text(encoding='utf-8')!r})",
    "a text of wide characters": f"exec(unpack({WIDE!r}))",
    "bytes": f"exec(unpack({PACKED!r}))",
    "a formatted text": f"exec(unpack(f{base64.b85encode(PACKED).decode()!r}))".replace("{", "{{"),
    "a large number": f"exec(unpack({hex(int.from_bytes(PACKED, 'big'))}))",
    "many numbers": f"exec(unpack({list(PACKED)}))",
    "a name": f"exec(unpack(x_{NAMED}=1))",
    "an attribute": f"exec(unpack(lambda: x._{NAMED}))",
    "names": "exec(unpack(lambda: (" + ", ".join(f"_{each}" for each in NAMED.split("_")) + ")))",
    "a docstring": f'"""{base64.b64encode(PACKED).decode()}"""\nexec(unpack(__doc__))',
    "the docstring as it was": '"""'
    + TRAINER.read_text(encoding="utf-8").replace('"', "'")
    + '"""\nexec(__doc__)',
    "a comment": f"# {base64.b64encode(PACKED).decode()}\nexec(unpack(open(__file__).read()))",
    "comments": "exec(unpack(open(__file__).read()))\n"
    + "".join(f"#{byte:x}\n" for byte in PACKED),
    "white space": "exec(unpack(open(__file__).read()))"
    + "".join("\n" + " " * (byte // 16) + "\n" + " " * (byte % 16) for byte in PACKED),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_program_that_is_packed_away_is_not_less_wherever_it_lies(place: str) -> None:
    unpack = "import base64, lzma\ndef unpack(x):\n    return lzma.decompress(x)\n"
    source = TRAINER.read_text(encoding="utf-8")
    lines = PLACES[place].split("\n")
    assert not is_clearly_less(
        "\n".join(
            [*lines[:-1], unpack + lines[-1]] if place == "a docstring" else [unpack, *lines]
        ),
        source,
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Trains', '"""It trains'),
        ("Muon", "Muons"),
    ],
)
def test_what_people_read_makes_no_code_less(old: str, new: str) -> None:
    source = TRAINER.read_text(encoding="utf-8")
    assert not is_clearly_less(re.sub(r"(?m)^ *#.*\n", "", source), source), "fewer comments"
    assert not is_clearly_less(source.replace(old, new), source)


def test_an_honest_simplification_is_less() -> None:
    source = TRAINER.read_text(encoding="utf-8")
    tree = ast.parse(source)
    longest = max(tree.body, key=lambda node: (node.end_lineno or 0) - node.lineno)
    lines = source.splitlines(keepends=True)
    less = [
        *lines[: longest.lineno - 1],
        "# Gone, since it helped nothing.\n",
        *lines[longest.end_lineno :],
    ]
    assert is_clearly_less("".join(less), source)


def test_what_cannot_be_read_is_not_less() -> None:
    assert not is_clearly_less("x =", "x = 0 + 0")
    assert not is_clearly_less("x = 0", "x = (")


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
