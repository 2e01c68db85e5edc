"""The contract: what a candidate must have before training seconds are spent on it."""

import sys

import pytest

from nightlab.proposers.edits import apply_edits, edit_between
from nightlab.source.candidate import MAX_SOURCE_BYTES, oversized
from nightlab.source.code_size import canonical_code, code_nodes, is_clearly_less
from nightlab.source.contract import DEEPEST, check_source
from nightlab.source.knobs import knob_values, read_knobs, set_knobs
from nightlab.source.schedule import touched_schedule
from nightlab.source.source_tree import is_same_program
from nightlab.source.three_way import without_change
from tests.conftest import ROOT
from tests.proposers.trainer_sample import SOURCE


@pytest.mark.parametrize("source", [SOURCE, (ROOT / "trainer" / "train.py").read_text()])
def test_a_trainer_that_keeps_it_passes(source: str) -> None:
    assert check_source(source) is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("DEPTH = 4", "DEPTH = = 4", "would not parse: line 8"),
        ("DEPTH = 4", "DEPTH = 4\x00", "would not parse"),
        ("DEPTH = 4", "DEPTH = '\ud800'", "would not parse"),
        ("DEPTH = 4", "DEPTH = " + "(" * 5000, "would not parse"),
        ("def build_model", "def make_model", "must define the function build_model"),
        ("def main", "def other", "must define the function main"),
        ('"__main__"', '"__train__"', "must call main() under"),
        ("\n    main()", "\n    pass", "must call main() under"),
        ("import math", "import requests.sessions", "would import requests.sessions"),
        ("import math", "from . import runtime", "would import .runtime"),
        ("    run = ", "    import prefect\n    run = ", "would import prefect"),
        ("DEPTH = 4", "DEPTH = 1" + " + 1" * 400, "nested too deeply"),
        ("DEPTH = 4", "DEPTH = " + "[" * 150 + "]" * 150, "nested too deeply"),
        ("DEPTH = 4", "#" * MAX_SOURCE_BYTES + "\nDEPTH = 4", f"may have {MAX_SOURCE_BYTES}"),
    ],
)
def test_a_breach_is_one_sentence(old: str, new: str, words: str) -> None:
    assert SOURCE.count(old) == 1
    problem = check_source(SOURCE.replace(old, new))
    assert problem is not None
    assert words in problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    "guard", ["if '__main__' == __name__:", "if __name__ == '__main__':\n    torch.manual_seed(0)"]
)
def test_the_guard_may_be_written_in_other_ways(guard: str) -> None:
    assert check_source(SOURCE.replace('if __name__ == "__main__":', guard)) is None


def test_what_passes_can_be_laid_out_from_deep_within_the_engine() -> None:
    deepest = next(
        SOURCE.replace("DEPTH = 4", "DEPTH = 1" + " + 1" * count)
        for count in range(DEEPEST, 0, -1)
        if check_source(SOURCE.replace("DEPTH = 4", "DEPTH = 1" + " + 1" * count)) is None
    )

    def under(frames: int) -> int:
        return under(frames - 1) if frames else len(canonical_code(deepest).splitlines())

    # A trial's steps stand some 150 frames deep in Prefect's.
    assert under(250) == len(canonical_code(SOURCE).splitlines())


@pytest.mark.parametrize(
    "line",
    [
        "HUGE = 0x" + "f" * 3_600,
        "HUGE = -0x" + "f" * 3_600 + "  # 0..9",
        "if 0x" + "f" * 3_600 + " == __name__: pass",
        "def f(x):\n    match x:\n        case -0x" + "f" * 3_600 + ":\n            pass",
        "HUGE = " + "9" * 4_400,
    ],
)
def test_what_could_not_be_worked_with_later_is_refused_in_a_sentence(line: str) -> None:
    problem = check_source(SOURCE + line + "\n")
    assert problem is not None
    assert "write it plainly" in problem or "would not parse" in problem


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="later ones can write it out")
def test_a_text_that_python_cannot_write_out_is_refused() -> None:
    text = "x = f\"{'\x07'}\"\n"
    assert "write it plainly" in (check_source(SOURCE + text) or "")


@pytest.mark.parametrize(
    "line",
    [
        "KNOB = 1  # " + "0" * 300 + "..9",
        "KNOB = 1  # one of " + ";" * 5_000,
        "KNOB = 1  # 1..1e999",
        "KNOB = 1  # " + "1_" * 5_000 + "..",
        "KNOB = 1e999  # 0..1",
        "KNOB = 1; OTHER = '''  # 0..9\n'''",
        "KNOB = (1)  # 0..9\nOTHER = 2",
        "KNOB = 'é'; OTHER = 'ü'  # one of 'ü', 'ö'",
    ],
)
def test_whatever_passes_can_be_worked_with(line: str) -> None:
    source = SOURCE + line + "\n"
    assert check_source(source) is None
    assert code_nodes(source) > code_nodes(SOURCE)
    touched_schedule(SOURCE, source)
    assert not is_clearly_less(source, SOURCE)
    assert is_same_program(source, source + "# more\n")
    values = knob_values(source)
    assert knob_values(set_knobs(source, values)) == values
    assert without_change(source, SOURCE, source) == SOURCE
    assert apply_edits(SOURCE, edit_between(SOURCE, source)).source == source


def test_a_source_has_no_more_than_can_be_read_quickly() -> None:
    too_many = SOURCE + "x + 1\n" * 9_950
    assert "names, numbers and signs" in (check_source(too_many) or "")
    assert "nodes of syntax" in (check_source(SOURCE + "x\n" * 9_950) or "")


@pytest.mark.parametrize("source", ["x = (", "x = 0x" + "f" * 3_600, "\0", "\ud800", "(" * 9_000])
def test_one_that_came_in_another_way_stops_nothing(source: str) -> None:
    for one, other in ((source, SOURCE), (SOURCE, source)):
        touched_schedule(one, other)
        without_change(one, other, one)
        is_clearly_less(one, other)
    read_knobs(source)


def test_warnings_of_the_source_stay_quiet(recwarn: pytest.WarningsRecorder) -> None:
    assert check_source(SOURCE.replace('"L"  #', '"\\d"  #')) is None
    assert not recwarn.list


def test_a_source_may_be_as_long_as_the_cap_and_no_longer() -> None:
    longest = "é" * (MAX_SOURCE_BYTES // 2)
    assert oversized(longest) is None
    assert "may have" in (oversized(longest + "#") or "")
