"""The drawing of a study that stands in its page."""

import re
import time
import xml.etree.ElementTree as ElementTree

import pytest

from nightlab.ledger import ConfirmationRecord
from nightlab.records import Reason, Verdict
from nightlab.report.shapes import Scale, element, nice_steps
from nightlab.report.staircase import NARROW, draw_staircase, legend
from nightlab.report.study import read_study
from tests.report.samples import BEGAN, FixedStudy, baseline, long_study, trial

HOSTILE = "</title><script>alert('x')</script> \x07 深い \N{ROCKET}"


def draw(*records: object, **known: object) -> str:
    study = FixedStudy(all_records=list(records))  # type: ignore[arg-type]
    svg = draw_staircase(read_study(study, **known))  # type: ignore[arg-type]
    ElementTree.fromstring(svg)
    return svg


def count(svg: str, kind: str) -> int:
    return len(re.findall(rf'class="{kind}"', svg))


def test_every_trial_is_drawn_by_what_became_of_it() -> None:
    svg = draw(
        baseline(),
        trial(1, scores=(1.99,), difference=-0.01),
        trial(2, Verdict.KEEP, (1.9,), title="Deeper", difference=-0.1),
        trial(3, scores=(9.0,)),
        trial(4, reason=Reason.PRUNED),
        trial(5, Verdict.CRASH),
        trial(6, Verdict.FAILED),
    )
    assert count(svg, "keep") == 2
    assert count(svg, "discard") == 1
    assert count(svg, "outlier") == 1
    assert count(svg, "stopped") == 2
    assert count(svg, "crash") == count(svg, "failed") == 1
    assert count(svg, "interval keep") == count(svg, "interval discard") == 1
    assert count(svg, "best") == 1
    assert "1.9000  Deeper" in svg


def kinds(svg: str) -> set[str]:
    return {name for each in re.findall('class="([^"]*)"', svg) for name in each.split()}


def test_every_mark_that_is_drawn_is_in_the_legend_and_no_other() -> None:
    records = [
        baseline(),
        trial(1, scores=(1.99,), difference=-0.01),
        trial(2, Verdict.KEEP, (1.9,), title="Deeper", difference=-0.1),
        trial(3, scores=(9.0,)),
        trial(4, reason=Reason.PRUNED),
        trial(5, Verdict.CRASH),
        trial(6, Verdict.FAILED),
    ]
    for shown in (records, records[:1], records[:2], [records[5]], [records[6]], []):
        study = read_study(FixedStudy(all_records=shown))
        marks = kinds(draw_staircase(study)) - {"staircase", "grid", "tick", "label"}
        assert marks == kinds("".join(mark for mark, _ in legend(study)))


def test_a_narrow_drawing_has_the_same_marks_in_less_room() -> None:
    study = read_study(long_study(200))
    wide, narrow = draw_staircase(study), draw_staircase(study, NARROW)
    assert [count(each, "keep") for each in (wide, narrow)] == [len(study.kept())] * 2
    places = [float(x) for x in re.findall(r'c?x[12]?="([\d.]+)"', narrow)]
    assert max(places) <= NARROW


@pytest.mark.parametrize(
    "study",
    [
        FixedStudy(),
        FixedStudy(all_records=[baseline()]),
        FixedStudy(all_records=[trial(0, Verdict.CRASH), trial(1, Verdict.FAILED)]),
        long_study(200),
    ],
    ids=["empty", "one", "crashes", "two hundred"],
)
def test_every_study_has_its_drawing(study: FixedStudy) -> None:
    svg = draw(*study.all_records)
    assert "nan" not in svg
    assert ("No trial has a score yet" in svg) is (not any(r.val_bpb for r in study.all_records))


def test_what_a_title_holds_is_text() -> None:
    svg = draw(baseline(), trial(1, Verdict.KEEP, (1.9,), title=HOSTILE, difference=-0.1))
    assert "<script" not in svg
    assert "深い" in svg


@pytest.mark.parametrize("holds", [True, False])
def test_a_confirmation_stands_below_the_baseline_by_what_it_found(holds: bool) -> None:
    kept = trial(1, Verdict.KEEP, (1.9,), difference=-0.1)
    again = ConfirmationRecord(
        study="first-light",
        number=0,
        baseline_commit=f"{0:040x}",
        incumbent_commit=kept.commit,
        incumbent_trial=1,
        wanted=3,
        claimed_gain_bpb=0.1,
        gain_bpb=0.06,
        interval_bpb=(0.05, 0.07),
        holds=holds,
        sentence="What came out.",
        started_at=BEGAN,
        finished_at=BEGAN,
    )
    svg = draw(baseline(2.0), kept, confirmed=(again,))
    assert count(svg, "diamond confirmed" if holds else "diamond unconfirmed") == 1
    assert "What came out." in svg


def test_a_drawing_is_cheap_enough_to_be_made_while_something_trains() -> None:
    study = read_study(long_study(200))
    began = time.thread_time()
    draw_staircase(study)
    assert time.thread_time() - began < 0.5


def test_ticks_are_round_and_few() -> None:
    assert [said for _, said in nice_steps(1.83, 2.02, 6)] == ["1.85", "1.90", "1.95", "2.00"]
    assert [said for _, said in nice_steps(-0.5, 8.4, 9, whole=True)] == [str(n) for n in range(9)]
    assert list(nice_steps(1.0, 1.0, 5)) == []
    assert list(nice_steps(0.0, float("inf"), 5)) == []
    for high in (0.003, 7.0, 123456.0):
        assert 1 <= len(list(nice_steps(0.0, high, 5))) <= 6


def test_a_scale_without_a_span_divides_by_nothing() -> None:
    assert Scale(1.0, 1.0, 10.0, 20.0)(1.0) == 10.0


def test_attributes_are_escaped() -> None:
    assert element("g", "<b>", is_text=True, class_='"x"', aria_label="a") == (
        '<g class="&#34;x&#34;" aria-label="a">&lt;b&gt;</g>'
    )
