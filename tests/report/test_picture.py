"""The picture of a study as a file."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from nightlab.records import Reason, Verdict
from nightlab.report.picture import render_picture
from nightlab.report.staircase import WIDE
from nightlab.report.study import read_study
from tests.report.samples import FixedStudy, baseline, long_study, trial

SVG = "{http://www.w3.org/2000/svg}"


def render(study: FixedStudy) -> ElementTree.Element:
    return ElementTree.fromstring(render_picture(read_study(study)))


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
def test_every_study_has_its_picture_which_needs_nothing_else(study: FixedStudy) -> None:
    picture = render(study)
    attributes = {name for each in picture.iter() for name in each.attrib}
    assert not {"href", "src"} & attributes
    assert "script" not in {each.tag.removeprefix(SVG) for each in picture.iter()}
    (style,) = picture.iter(f"{SVG}style")
    # Every class that is drawn has its rule, and every colour is one for either theme.
    drawn = {name for each in picture.iter() for name in each.get("class", "").split()}
    rules = re.findall(r"\.([a-z]+)", style.text or "")
    assert drawn - set(rules) <= {"staircase", "discard"}
    assert "prefers-color-scheme: dark" in (style.text or "")


def test_the_legend_stays_within_the_picture_and_on_rows_of_its_own() -> None:
    records = [
        baseline(),
        trial(1, scores=(1.99,)),
        trial(2, Verdict.KEEP, (1.9,), title="Deeper", difference=-0.1),
        trial(3, scores=(9.0,)),
        trial(4, reason=Reason.PRUNED),
        trial(5, Verdict.CRASH),
        trial(6, Verdict.FAILED),
    ]
    picture = render(FixedStudy(all_records=records))
    height = float(picture.get("height", "0"))
    entries = picture.findall(f"{SVG}g")[1:]
    assert len(entries) == 9
    for entry in entries:
        x, y = map(float, re.findall(r"[\d.]+", entry.get("transform", "")))
        assert x < WIDE - 60
        assert y + 12 <= height


def test_the_heading_is_text_whatever_the_study_is_called() -> None:
    picture = render_picture(read_study(FixedStudy(study="<b>&\x07", all_records=[baseline()])))
    assert "&lt;b&gt;&amp;\\x07: val_bpb" in picture
    ElementTree.fromstring(picture)
