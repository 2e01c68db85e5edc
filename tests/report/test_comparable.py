"""Which studies' scores compare."""

import pytest

from nightlab.errors import UsageError
from nightlab.report.comparable import cautions, check_comparable, differences
from nightlab.report.comparison import read_arm
from nightlab.report.comparison_page import render_comparison
from nightlab.report.grouping import alone
from tests.report.comparison_samples import arm, baseline, changed, kept, study

PICTURE = "<svg/>"


@pytest.mark.parametrize(
    ("values", "clause"),
    [
        ({"corpus_fingerprint": "e" * 64}, "a has the corpus ffffffffffff and b has eeeeeeeeeeee"),
        ({"settings": {"preset": "laptop"}}, "a has budget_seconds 20 and b has 300"),
        ({"settings": {"budget_tokens": 5000}}, "a has budget_tokens none and b has 5000"),
        ({"settings": {"budget_seconds": 5}}, "a has budget_seconds 20 and b has 5"),
    ],
)
def test_what_was_measured_in_another_way_is_refused(
    values: dict[str, object], clause: str
) -> None:
    other = read_arm(study("b", changed(baseline(), **values)))
    arms = [arm("a", 1.9), other]
    assert any(clause in each for each in differences(arms))
    with pytest.raises(UsageError, match=r"cannot be compared: a has .* --force"):
        check_comparable(arms)
    page = render_comparison(arms, alone(arms), PICTURE)
    assert "shown because of --force" in page
    assert clause in page


def test_studies_that_compare_are_not_refused_and_other_differences_are_said() -> None:
    first, second = arm("a", 1.9), arm("b", 1.8)
    check_comparable([first, second])
    assert cautions([first, second]) == []
    other = study("b", changed(baseline(), device="cuda"), kept(1, 1.9))
    other.code = "DEPTH = 5\n"
    said = " ".join(cautions([first, read_arm(other)]))
    assert "different devices: cpu (2 cores); cuda" in said
    assert "different trainers" in said
    assert "not known for 1 trial of b: dollars are at least" in said
    assert "shown because of --force" not in render_comparison(
        [first, second], alone([first, second]), PICTURE
    )
