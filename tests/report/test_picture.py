import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from nightlab.ledger import ConfirmationRecord
from nightlab.records import Reason, Verdict
from nightlab.report.picture import DARK, LIGHT, draw_figure, draw_png
from nightlab.report.study import read_study
from tests.report.samples import BEGAN, FixedStudy, baseline, long_study, trial

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


def test_each_theme_has_its_own_colours() -> None:
    study = read_study(long_study(20, chance=0.3))
    colours = {draw_figure(study, theme).get_facecolor() for theme in (LIGHT, DARK)}
    assert len(colours) == 2


def legend(study: FixedStudy, *confirmed: ConfirmationRecord) -> set[str]:
    (axes,) = draw_figure(read_study(study, confirmed)).axes
    return {text.get_text() for text in axes.get_legend().get_texts()}


def test_it_shows_what_became_of_every_trial() -> None:
    records = [
        baseline(),
        trial(1, scores=(1.99,)),
        trial(2, Verdict.KEEP, (1.9,), title="Deeper", difference=-0.1),
        trial(3, scores=(9.0,)),
        trial(4, reason=Reason.PRUNED),
        trial(5, Verdict.CRASH),
        trial(6, Verdict.FAILED),
    ]
    study = FixedStudy(all_records=records)
    assert legend(study) == {
        "kept (95 % interval)",
        "discarded",
        "running best",
        "worse than shown",
        "stopped early",
        "crashed",
        "failed (machinery)",
    }
    figure = draw_figure(read_study(study))
    (axes,) = figure.axes
    figure.canvas.draw()
    assert axes.get_position().width > 0.8, "the legend leaves room for what is drawn"
    (cross,) = [line for line in axes.lines if line.get_label() == "stopped early"]
    assert list(cross.get_xdata()) == [4]
    (triangle,) = [line for line in axes.lines if line.get_label() == "worse than shown"]
    assert list(triangle.get_xdata()) == [3]


def test_a_confirmation_stands_below_the_baseline_by_what_it_found() -> None:
    study = FixedStudy(all_records=[baseline(2.0), trial(1, Verdict.KEEP, (1.9,))])
    for holds, label in ((True, "confirmed on holdout"), (False, "NOT confirmed on holdout")):
        again = confirmed(gain=0.06, holds=holds)
        assert label in legend(study, again)
        (axes,) = draw_figure(read_study(study, [again])).axes
        (point,) = [each for each in axes.containers if each.get_label() == label]
        assert point.lines[0].get_ydata()[0] == pytest.approx(2.0 - 0.06)
    other = confirmed(gain=0.06, holds=True).model_copy(update={"incumbent_commit": "b" * 40})
    assert not any("confirmed" in label for label in legend(study, other))


def confirmed(*, gain: float, holds: bool) -> ConfirmationRecord:
    return ConfirmationRecord(
        study="first-light",
        number=0,
        baseline_commit=f"{0:040x}",
        incumbent_commit=f"{1:040x}",
        incumbent_trial=1,
        wanted=3,
        claimed_gain_bpb=0.1,
        gain_bpb=gain,
        interval_bpb=(gain - 0.02, gain + 0.02),
        holds=holds,
        started_at=BEGAN,
        finished_at=BEGAN,
    )


def test_keeps_are_named_and_no_label_hides_a_point() -> None:
    records = [baseline(), trial(1, Verdict.KEEP, (1.95,), title="An early one")]
    records += [trial(number, scores=(1.96,)) for number in range(2, 9)]
    records += [trial(9, Verdict.KEEP, (1.9,), title="A late one")]
    (axes,) = draw_figure(read_study(FixedStudy(all_records=records))).axes
    assert [text.get_text() for text in axes.texts] == [
        "1.9000  A late one",
        "1.9500",
        "2.0000  baseline",
    ]
    drawn = [line.get_zorder() for line in axes.lines if line.get_marker() == "o"]
    assert max(text.get_zorder() for text in axes.texts) < min(drawn)


def test_no_window_system_is_touched(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from nightlab.report.picture import draw_png\n"
        "from nightlab.report.study import read_study\n"
        "from tests.report.samples import FixedStudy\n"
        "draw_png(read_study(FixedStudy()), Path(sys.argv[1]))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "picture.png")], check=True)


def test_a_crash_with_a_score_is_not_drawn_as_discarded() -> None:
    broken = trial(1, Verdict.CRASH, (2.1,))
    words = legend(FixedStudy(all_records=[baseline(), broken]))
    assert "crashed" in words
    assert "discarded" not in words
