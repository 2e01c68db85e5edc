import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from nightlab.ledger import ConfirmationRecord
from nightlab.records import Verdict
from nightlab.report.page import (
    diff_lines,
    format_dollars,
    format_duration,
    format_signed,
    gain_sentence,
    render_page,
)
from nightlab.report.study import read_study
from tests.report.samples import BEGAN, DIFF, FixedStudy, baseline, long_study, trial

PICTURES = {"light": b"<svg/>", "dark": b"<svg/>"}
HOSTILE = "<script>alert('x')</script> & <img src=x onerror=alert(1)>"
VOID = {"meta", "img", "source", "br"}


class Elements(HTMLParser):
    """Collects the elements of a page, and sees that every one is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def close(self) -> None:
        super().close()
        assert self._open == []


def parse(page: str) -> Elements:
    elements = Elements()
    elements.feed(page)
    elements.close()
    return elements


def render(ledger: FixedStudy) -> str:
    study = read_study(ledger)
    return render_page(study, {record.number: DIFF for record in study.kept()}, PICTURES)


def test_what_a_candidate_wrote_is_text_and_never_markup() -> None:
    hostile = trial(1, Verdict.KEEP, (1.9,), title=HOSTILE, log_tail=HOSTILE).model_copy(
        update={"hypothesis": HOSTILE, "device": HOSTILE, "settings": {"program": HOSTILE}}
    )
    decision = hostile.decision.model_copy(update={"sentence": HOSTILE})
    hostile = hostile.model_copy(update={"decision": decision})
    study = read_study(FixedStudy(all_records=[baseline(), hostile]))
    page = render_page(study, {1: f"+{HOSTILE}\n"}, PICTURES)
    elements = parse(page)
    assert "script" not in elements.names
    assert elements.names.count("img") == 1
    assert not any(name.startswith("on") for name, _ in elements.attributes)
    assert page.count("&lt;script&gt;") >= 7


def test_the_page_needs_nothing_from_elsewhere() -> None:
    elements = parse(render(long_study(30, chance=0.3)))
    links = [value for name, value in elements.attributes if name in ("src", "href", "srcset")]
    assert len(links) == 2
    assert all(link is not None and link.startswith("data:") for link in links)
    assert not {"link", "script", "iframe", "object"} & set(elements.names)


@pytest.mark.parametrize(
    "ledger",
    [
        FixedStudy(),
        FixedStudy(all_records=[baseline()]),
        FixedStudy(all_records=[trial(0, Verdict.CRASH), trial(1, Verdict.FAILED)]),
        long_study(200),
    ],
    ids=["empty", "one", "crashes", "two hundred"],
)
def test_every_trial_has_its_row(ledger: FixedStudy) -> None:
    page = render(ledger)
    parse(page)
    assert len(re.findall(r'<tr class="', page)) == len(ledger.all_records)
    assert "None" not in page
    assert "nan" not in page.replace("nonfinite", "")


def test_the_first_line_says_what_was_gained_with_the_noise() -> None:
    def sentence(*records: object) -> str:
        return gain_sentence(read_study(FixedStudy(all_records=list(records))))  # type: ignore[arg-type]

    assert sentence(baseline(2.0), trial(1, Verdict.KEEP, (1.9,))) == (
        "From 2.0000 to 1.9000 bits per byte: 0.1000 fewer (5.0 %), "
        "with a noise of ±0.0040 for one training. Not confirmed yet: nightlab confirm first-light."
    )
    assert sentence(baseline(2.0), trial(1, scores=(2.1,))).startswith(
        "Nothing has been kept yet: the baseline stands at 2.0000"
    )
    assert sentence(trial(0, Verdict.CRASH)).startswith("No baseline")


@pytest.mark.parametrize("holds", [True, False])
def test_a_confirmation_is_in_the_first_line_and_side_by_side(holds: bool) -> None:
    kept = trial(1, Verdict.KEEP, (1.9,))
    records = [baseline(2.0), kept]
    again = ConfirmationRecord(
        study="first-light",
        number=0,
        baseline_commit=records[0].commit,
        incumbent_commit=kept.commit,
        incumbent_trial=1,
        wanted=3,
        baseline_replicates=records[0].replicates,
        incumbent_replicates=kept.replicates,
        claimed_gain_bpb=0.1,
        gain_bpb=0.07,
        interval_bpb=(0.05, 0.09) if holds else (-0.01, 0.15),
        holds=holds,
        sentence="What came out.",
        started_at=BEGAN,
        finished_at=BEGAN,
    )
    study = read_study(FixedStudy(all_records=records), (again,))
    first_line = gain_sentence(study)
    assert first_line.endswith("What came out.")
    assert first_line.startswith("From 2.0000") is holds
    page = render_page(study, {}, PICTURES)
    assert "fresh seeds, on holdout" in page
    assert "0.0700 (+0.0500" in page or "0.0700 (−0.0100" in page
    # Another incumbent stands now: what was said of the last one is not said of it.
    moved = [*records, trial(2, Verdict.KEEP, (1.8,))]
    assert read_study(FixedStudy(all_records=moved), (again,)).confirmation is None


def test_a_machine_that_wanders_is_told_of_at_the_top() -> None:
    study = replace(read_study(FixedStudy(all_records=[baseline()])), wandering="It <wandered>.")

    page = render_page(study, {}, PICTURES)

    assert page.index("It &lt;wandered&gt;.") < page.index("</header>")


def test_a_crash_shows_its_sentence_and_its_last_output_and_no_score() -> None:
    page = render(FixedStudy(all_records=[trial(0, Verdict.CRASH, log_tail="ValueError: nan!")]))
    row = page[page.index('<tr class="crash">') : page.index("</tr>", page.index("<tbody>"))]
    assert "ValueError: nan!" in row
    assert "nonfinite" in row
    assert '<td class="number score">–</td>' in row


def test_a_diff_is_told_apart_line_by_line() -> None:
    kinds = [line.kind for line in diff_lines(DIFF)]
    assert kinds == ["head", "head", "hunk", "same", "removed", "added"]
    long = diff_lines("+x\n" * 5_000)
    assert len(long) == 2_001
    assert long[-1].text == "… 3000 more lines"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.24, "0.2 s"), (9.96, "10 s"), (61, "61 s"), (600, "10 min"), (30_000, "8 h 20 min")],
)
def test_durations_read_well(seconds: float, said: str) -> None:
    assert format_duration(seconds) == said


def test_small_sums_keep_their_digits_and_unknown_ones_are_a_dash() -> None:
    assert [format_dollars(value) for value in (None, 0.0, 0.0123, 12.5)] == [
        "–",
        "$0.00",
        "$0.0123",
        "$12.50",
    ]
    assert format_signed(-0.0123) == "\N{MINUS SIGN}0.0123"
    assert format_signed(None) == ""
