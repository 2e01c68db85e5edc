import re
from html.parser import HTMLParser

import pytest

from nightlab.ledger import ConfirmationRecord
from nightlab.records import OtherWork, ProposalCost, TrialRecord, Verdict
from nightlab.report.conclusion import certainty_sentences, gain_sentence
from nightlab.report.page import (
    diff_lines,
    format_cost,
    format_dollars,
    format_signed,
    mark_commands,
    render_page,
    study_tiles,
)
from nightlab.report.study import read_study
from tests.report.samples import BEGAN, DIFF, FixedStudy, baseline, long_study, trial

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
    return render_page(study, {record.number: DIFF for record in study.kept()})


def test_what_a_candidate_wrote_is_text_and_never_markup() -> None:
    hostile = trial(1, Verdict.KEEP, (1.9,), title=HOSTILE, log_tail=HOSTILE).model_copy(
        update={"hypothesis": HOSTILE, "device": HOSTILE, "settings": {"program": HOSTILE}}
    )
    decision = hostile.decision.model_copy(update={"sentence": HOSTILE})
    hostile = hostile.model_copy(update={"decision": decision})
    study = read_study(FixedStudy(all_records=[baseline(), hostile]))
    page = render_page(study, {1: f"+{HOSTILE}\n"})
    elements = parse(page)
    assert "script" not in elements.names
    assert "img" not in elements.names
    assert not any(name.startswith("on") for name, _ in elements.attributes)
    assert page.count("&lt;script&gt;") >= 8


def test_the_page_needs_nothing_from_elsewhere() -> None:
    elements = parse(render(long_study(30, chance=0.3)))
    assert not [name for name, _ in elements.attributes if name in ("src", "href", "srcset")]
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


@pytest.mark.parametrize("verdict", [Verdict.KEEP, Verdict.DISCARD])
def test_a_verdict_is_explained_by_its_pairs(verdict: Verdict) -> None:
    gain = 0.1 if verdict is Verdict.KEEP else -0.1
    records = [baseline(2.0), trial(1, verdict, (2.0 - gain, 2.01 - gain), difference=-gain)]
    page = render(FixedStudy(all_records=records))
    parse(page)
    assert page.count('<table class="pairs">') == 1
    assert page.count('<rect x="2.0"') == (2 if gain > 0 else 0)
    assert f'<td class="number">{96 if gain > 0 else 12} %</td>' in page
    assert ("Luck taken off, it is believed to gain 0.0800 bpb." in page) is (gain > 0)


def test_other_work_on_the_gpu_is_marked() -> None:
    kept = trial(2, Verdict.KEEP, (1.9,), difference=-0.1)
    others = OtherWork(processes=2, memory_mb=4096)
    (first,) = kept.replicates
    training = first.training.model_copy(update={"other_work": others})
    shared = (first.model_copy(update={"training": training}),)
    quiet = render(FixedStudy(all_records=[baseline(), kept]))
    assert "other work" not in quiet
    for whose in ("replicates", "incumbent_replicates"):
        marked = kept.model_copy(update={whose: shared})
        page = render(FixedStudy(all_records=[baseline(), trial(1), marked]))
        assert "Seed 20: 2 other processes used 4.0 GB of this GPU" in page
        assert "<dd>trial 2</dd>" in page


def test_records_from_before_pairs_are_shown_with_what_they_have() -> None:
    old = trial(1, Verdict.KEEP, (1.9,))
    known = {"difference_bpb": -0.1, "interval_bpb": (-0.12, -0.08), "noise_bpb": 0.004}
    old = old.model_copy(update={"decision": old.decision.model_copy(update=known)})
    page = render(FixedStudy(all_records=[baseline(2.0), old]))
    assert 'pairs"' not in page
    assert "before trainings were paired" in page
    assert '<td class="number">–</td>' in page


def test_commands_in_sentences_are_set_as_code_and_nothing_else_is_markup() -> None:
    assert str(mark_commands("Run `nightlab confirm <x>` & see.")) == (
        "Run <code>nightlab confirm &lt;x&gt;</code> &amp; see."
    )


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
    beginning = "From 2.0000 to 1.9000" if holds else "Claimed and NOT confirmed: from 2.0000 to"
    assert gain_sentence(study).startswith(beginning)
    said = [gain_sentence(study), *certainty_sentences(study)]
    assert sum("What came out." in each for each in said) == 1
    page = render_page(study, {})
    which = "confirmed" if holds else "NOT confirmed"
    interval = "+0.0500 to +0.0900" if holds else "−0.0100 to +0.1500"
    assert f"<dt>gain, {which}</dt><dd>0.0700<small>{interval}, on holdout</small>" in page
    # Another incumbent stands now: what was said of the last one is not said of it.
    moved = [*records, trial(2, Verdict.KEEP, (1.8,))]
    assert read_study(FixedStudy(all_records=moved), (again,)).confirmation is None


def test_what_a_kept_change_does_is_told_by_who_had_the_idea_above_its_diff() -> None:
    records = [baseline(2.0)]
    for number, gain in ((1, 0.02), (2, 0.05)):
        kept = trial(number, Verdict.KEEP, (1.9,), title=f"idea {number}", difference=-gain)
        records.append(kept.model_copy(update={"hypothesis": f"Because of {number}."}))
    page = render(FixedStudy(all_records=records))
    largest, _, other = page.partition("its diff")
    assert "<blockquote>Because of 2.<footer>openai/x</footer></blockquote>" in largest
    assert "Because of 1." in other


def tiles(*records: TrialRecord) -> dict[str, tuple[str, str]]:
    found = study_tiles(read_study(FixedStudy(all_records=list(records))))
    return {name: (value, more) for name, value, more in found}


def test_the_numbers_on_top_count_the_changes_without_the_baseline() -> None:
    alone = tiles(baseline(2.0))
    assert alone["changes kept"] == ("0 of 0", "")
    assert alone["baseline"] == ("2.0000", "bits per byte")
    assert "now" not in alone
    one = tiles(baseline(2.0), trial(1, Verdict.CRASH))
    assert one["changes kept"] == ("0 of 1", "1 crashed")
    two = tiles(baseline(2.0), trial(1, Verdict.CRASH), trial(2, Verdict.KEEP, (1.9,)))
    assert two["changes kept"] == ("1 of 2", "1 crashed")
    assert two["now"] == ("1.9000", "since trial 2")
    assert two["gain, not confirmed"][0] == "0.1000"
    assert two["training"] == ("80 s", "on cpu (2 cores)")
    assert tiles(trial(0, Verdict.CRASH)) == {}


def test_the_baseline_has_one_number() -> None:
    records = [baseline(2.0), trial(1, Verdict.KEEP, (1.9,), difference=-0.1)]
    page = render(FixedStudy(all_records=records))
    assert page.count("2.0000") >= 4  # headline, tile, picture, table
    assert not re.findall(r"baseline</dt><dd>(?!2\.0000)", page)


def test_the_price_of_models_is_never_less_than_said() -> None:
    priced = ProposalCost(calls=2, cost_usd=1.5, prompt_tokens=900, completion_tokens=100)
    unpriced = ProposalCost(calls=1)
    assert format_cost(priced) == "$1.50"
    assert format_cost(priced + unpriced) == "at least $1.50"
    assert format_cost(unpriced) == "price not known"
    assert format_cost(ProposalCost()) == "–"
    record = baseline().model_copy(update={"cost": priced})
    assert tiles(record)["models"] == ("$1.50", "2 calls, 1,000 tokens")
    assert tiles(record.model_copy(update={"cost": ProposalCost()}))["models"] == (
        "–",
        "no model was asked",
    )


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
    assert long[-1].text == "… 3,000 more lines"


def test_small_sums_keep_their_digits_and_unknown_ones_are_a_dash() -> None:
    assert [format_dollars(value) for value in (None, 0.0, 0.0123, 12.5)] == [
        "–",
        "$0.00",
        "$0.0123",
        "$12.50",
    ]
    assert format_signed(-0.0123) == "\N{MINUS SIGN}0.0123"
    assert format_signed(None) == ""
