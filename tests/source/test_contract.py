"""The contract: what a candidate must have before training seconds are spent on it."""

import pytest

from nightlab.source.candidate import MAX_SOURCE_BYTES, oversized
from nightlab.source.code_size import canonical_code
from nightlab.source.contract import DEEPEST, check_source
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


def test_warnings_of_the_source_stay_quiet(recwarn: pytest.WarningsRecorder) -> None:
    assert check_source(SOURCE.replace('"L"  #', '"\\d"  #')) is None
    assert not recwarn.list


def test_a_source_may_be_as_long_as_the_cap_and_no_longer() -> None:
    longest = "é" * (MAX_SOURCE_BYTES // 2)
    assert oversized(longest) is None
    assert "may have" in (oversized(longest + "#") or "")
