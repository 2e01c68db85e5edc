import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from nightlab.records import Verdict
from nightlab.report.picture import DARK, LIGHT, draw_png, draw_svg
from nightlab.report.study import read_study
from tests.report.samples import FixedStudy, baseline, long_study, trial

STUDIES = {
    "empty": FixedStudy(),
    "one": FixedStudy(all_records=[baseline()]),
    "crashes": FixedStudy(all_records=[trial(0, Verdict.CRASH), trial(1, Verdict.FAILED)]),
    "no noise": FixedStudy(all_records=[trial(0, Verdict.KEEP, (2.0,))]),
    "two hundred": long_study(200),
}


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_has_its_picture(name: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_png(read_study(STUDIES[name]), path)
    header = path.read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    assert int.from_bytes(header[16:20]) == 1680


def test_a_title_is_drawn_letter_by_letter_whatever_it_holds(tmp_path: Path) -> None:
    title = "cost $\\frac{1}{0}$ <b> 深い \N{ROCKET} \x07 _^{"
    records = [baseline(), trial(1, Verdict.KEEP, (1.9,), title=title)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_png(read_study(FixedStudy(all_records=records)), tmp_path / "picture.png")


def test_the_same_study_gives_the_same_bytes_and_each_theme_its_own() -> None:
    study = read_study(long_study(20, chance=0.3))
    assert draw_svg(study, LIGHT) == draw_svg(study, LIGHT)
    assert draw_svg(study, LIGHT) != draw_svg(study, DARK)


def test_the_picture_has_no_script_and_no_link() -> None:
    svg = draw_svg(read_study(long_study(20, chance=0.3)), LIGHT).decode()
    assert "<script" not in svg
    assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)"', svg))


def test_no_window_system_is_touched() -> None:
    script = (
        "import sys\n"
        "from nightlab.report.picture import LIGHT, draw_svg\n"
        "from nightlab.report.study import read_study\n"
        "from tests.report.samples import FixedStudy\n"
        "draw_svg(read_study(FixedStudy()), LIGHT)\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_crash_with_a_score_is_not_drawn_as_discarded() -> None:
    broken = trial(1, Verdict.CRASH, (2.1,))
    svg = draw_svg(read_study(FixedStudy(all_records=[baseline(), broken])), LIGHT).decode()
    assert "crashed" in svg
    assert "discarded" not in svg
