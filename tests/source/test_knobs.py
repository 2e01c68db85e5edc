"""Knobs: what is read as one, and what writing one leaves alone."""

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightlab.errors import UsageError
from nightlab.source.knobs import Divisor, Value, knob_values, read_knobs, set_knobs
from tests.conftest import ROOT
from tests.proposers.trainer_sample import SOURCE

VALUES = st.one_of(
    st.booleans(),
    st.integers(-(10**9), 10**9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=10),
)


def test_all_forms_of_the_grammar_are_read() -> None:
    knobs = read_knobs(SOURCE)
    assert list(knobs) == ["DEPTH", "WIDTH", "MATRIX_LEARNING_RATE", "DECAY", "WINDOW_PATTERN"]
    depth, width, rate = knobs["DEPTH"], knobs["WIDTH"], knobs["MATRIX_LEARNING_RATE"]
    assert (depth.value, depth.low, depth.high, depth.is_integer) == (4, 2, 12, True)
    assert (depth.explanation, depth.line) == ("blocks", 8)
    assert (width.low, width.high, width.step) == (32, 512, 32)
    assert (rate.low, rate.high, rate.log, rate.is_integer) == (1e-4, 1e-1, True, False)
    assert not knobs["DECAY"].log
    assert knobs["WINDOW_PATTERN"].choices == ("L", "SL", "S;L")
    assert knobs["WINDOW_PATTERN"].explanation == "windows"


def test_the_trainer_declares_knobs() -> None:
    values = knob_values((ROOT / "trainer" / "train.py").read_text())
    assert {"DEPTH", "WIDTH", "MATRIX_LEARNING_RATE", "WINDOW_PATTERN"} <= values.keys()
    assert "COMPILE" not in values


@pytest.mark.parametrize(
    "line",
    [
        "A = 4  # blocks, 2..12",
        "A = 4  # 2..12 blocks",
        "A = 4  # 12..2",
        "A = 4  # 0..8 log",
        "A = 4  # 2..12 step 0",
        "A = 4  # 2..12 step 64",
        "A = 4  # 1..1e999",
        "A = 0  # 0..1e-320 step 0",
        "A = 4  # 2.." + "9" * 400,
        "A = 4  # 0..1 step 1e-9",
        "A = 4  # one of 4, 1e999",
        'A = "4"  # 2..12',
        "A = True  # 0..1",
        "A = 4  # one of 4",
        "A = 4  # one of four, five",
        "A = (4, 5)  # 2..12",
        "A = B = 4  # 2..12",
        "A = 2 * 2  # 2..12",
        "a = 4  # 2..12",
        "A = 4  # 2..12\nA = 5  # 2..12",
        "if True:\n    A = 4  # 2..12",
        "A = 4  # 2..12\nthis is no Python",
        '"""\nA = 4  # 2..12\n"""',
    ],
)
def test_everything_else_is_no_knob(line: str) -> None:
    assert read_knobs(line + "\n") == {}


@pytest.mark.parametrize(
    ("line", "low", "high"),
    [
        ("A = 1  # 0.5..2.0", 0.5, 2.0),
        ("A = -1  # -2..+2", -2, 2),
        ("A: float = 10_000.0  # 500.0..500_000.0 log", 500.0, 500_000.0),
        ("A = .5  # 1e-3 .. 1; spaces", 0.001, 1.0),
    ],
)
def test_numbers_may_be_written_in_any_way(line: str, low: float, high: float) -> None:
    knob = read_knobs(line)["A"]
    assert (knob.low, knob.high) == (low, high)
    assert type(knob.low) is type(low)


def test_a_comment_ties_a_knob_to_another_constant() -> None:
    source = (
        "HEAD = 32  # channels; WIDTH must be a multiple of it\n"
        "ROWS = 8  # at a time; TOKENS must be a multiple of its tokens\n"
        "ZERO = 0  # DEPTH must be a multiple of it\n"
        "WIDTH = 64  # 32..512\nTOKENS = 2048  # 256..65536 log\nDEPTH = 4  # 2..12\n"
    )
    knobs = read_knobs(source)
    assert knobs["WIDTH"].divisor == Divisor(name="HEAD", value=32)
    assert knobs["TOKENS"].divisor == Divisor(name="ROWS", value=8, is_rows=True)
    assert knobs["DEPTH"].divisor is None


def test_the_trainers_constraints_are_known() -> None:
    knobs = read_knobs((ROOT / "trainer" / "train.py").read_text())
    ties = {name: knob.divisor.name for name, knob in knobs.items() if knob.divisor}
    assert ties == {"WIDTH": "HEAD_WIDTH", "TOTAL_BATCH_TOKENS": "DEVICE_BATCH_SIZE"}


def test_writing_keeps_everything_else_and_the_kind() -> None:
    written = set_knobs(SOURCE, {"DECAY": 1, "TOTAL_BATCH_TOKENS": 262_144, "COMPILE": True})
    expected = (
        SOURCE.replace("DECAY = 0.5", "DECAY = 1.0")
        .replace("65_536", "262_144")
        .replace("COMPILE = False", "COMPILE = True")
    )
    assert written == expected


def test_writing_what_stands_there_changes_nothing() -> None:
    assert set_knobs(SOURCE, knob_values(SOURCE)) == SOURCE
    trainer = (ROOT / "trainer" / "train.py").read_text()
    assert knob_values(set_knobs(trainer, knob_values(trainer))) == knob_values(trainer)


@settings(max_examples=200, deadline=None)
@given(VALUES, VALUES)
def test_any_value_comes_back_as_it_was_written(first: Value, second: Value) -> None:
    source = 'É = "é"; A = 1; B = "b"  # one of 1, 2\nC = (\n    5\n)  # 1..9; é\n'
    written = set_knobs(source, {"A": first, "B": second, "C": first})
    found = {}
    for node in ast.parse(written).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found[name] = ast.literal_eval(value)
    assert found == {"É": "é", "A": first, "B": second, "C": first}
    assert written.endswith("# 1..9; é\n")


@pytest.mark.parametrize("name", ["MISSING", "math", "main"])
def test_an_unknown_constant_is_a_usage_error_that_names_it(name: str) -> None:
    with pytest.raises(UsageError, match=name):
        set_knobs(SOURCE, {name: 1, "DEPTH": 3})
