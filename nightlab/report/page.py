"""Renders the report's page. All that a candidate or a model wrote is escaped."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from nightlab.judging.score_text import (
    audit_sentence,
    budget_text,
    format_chance,
    verdict_lines,
)
from nightlab.records import Reason, TrialRecord, Verdict
from nightlab.records.durations import in_words
from nightlab.report.conclusion import (
    certainty_sentences,
    gain_sentence,
    largest_change_sentence,
    noise_sentence,
)
from nightlab.report.live import UnderWay, difference_bar
from nightlab.report.staircase import draw_staircase
from nightlab.report.study import Study, trial_seconds
from nightlab.tracking.confirmations import confirmed_means

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATE = "page.html.j2"
LONGEST_DIFF_LINES = 2_000
BEGINNING = "First the baseline: what every change is compared with."


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffLine:
    """A line of a diff; ``kind`` is its CSS class."""

    kind: str
    text: str


def render_page(study: Study, diffs: Mapping[int, str], under_way: UnderWay | None = None) -> str:
    """Return the page as HTML that needs nothing else.

    Args:
        study: what is reported.
        diffs: unified diffs of the kept trials, by trial number.
        under_way: what a session does now; the page then rewrites itself. None for a report.
    """
    template = _page_environment().get_template(TEMPLATE)
    return template.render(
        study=study,
        headline=BEGINNING if under_way and not study.baseline else gain_sentence(study),
        sentences=[
            largest_change_sentence(study),
            *certainty_sentences(study),
            noise_sentence(study),
        ],
        counts=[(v.value, study.count(v)) for v in Verdict if study.count(v)],
        trials=[(record, trial_seconds(record)) for record in reversed(study.records)],
        keeps=[
            (record, diff_lines(diffs.get(record.number, "")))
            for record in reversed(study.kept())
            if record.reason is not Reason.BASELINE
        ],
        confirmation=confirmation_rows(study),
        facts=study_facts(study.records),
        under_way=under_way,
    )


@cache
def _page_environment() -> "Environment":
    """The environment of a study's page: made once, since a live page is rendered often."""
    from markupsafe import Markup

    environment = page_environment()
    environment.filters.update(
        audits=audit_sentences,
        chance=format_chance,
        commands=mark_commands,
        explained=verdict_lines,
        # These escape what records say; see shapes.
        staircase=lambda study: Markup(draw_staircase(study)),
        difference_bar=lambda pair, pairs: Markup(difference_bar(pair, pairs)),
        charts=lambda under_way: [(seed, Markup(svg)) for seed, svg in under_way.charts()],
    )
    return environment


def page_environment() -> "Environment":
    """Jinja over this folder's templates, which escapes all that is put in."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("nightlab.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        bpb=format_bpb,
        signed=format_signed,
        duration=in_words,
        dollars=format_dollars,
        count=lambda value: "–" if value is None else f"{value:,}",
        percent=lambda value: "–" if value is None else f"{100 * value:.0f} %",
    )
    return environment


def mark_commands(sentence: str) -> "Markup":
    """A sentence, escaped, with what stands between backticks as code."""
    from markupsafe import Markup, escape

    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(escape(sentence))))


def confirmation_rows(study: Study) -> list[tuple[str, str, str, str]]:
    """What was claimed and what was confirmed, side by side: name, baseline, incumbent, gain."""
    again = study.confirmation
    if again is None or study.baseline is None or study.incumbent is None:
        return []
    claimed = (
        "claimed, by the pairs that chose it, on val",
        format_bpb(study.baseline.val_bpb),
        format_bpb(study.incumbent.val_bpb),
        format_bpb(again.claimed_gain_bpb),
    )
    low, high = again.interval_bpb or (None, None)
    interval = f" ({format_signed(low)} to {format_signed(high)})" if low is not None else ""
    baseline, incumbent = confirmed_means(again)
    confirmed = (
        "fresh seeds, on holdout",
        format_bpb(baseline),
        format_bpb(incumbent),
        f"{format_bpb(again.gain_bpb)}{interval}",
    )
    return [claimed, confirmed]


def study_facts(records: tuple[TrialRecord, ...]) -> list[tuple[str, str]]:
    """Settings, hardware, sandbox and corpus, as names and values."""
    if not records:
        return []
    last = records[-1]
    several: dict[str, list[str]] = {
        "device": [record.device for record in records],
        "host": [record.host for record in records],
        "sandbox": [_sandbox(record) for record in records],
        "corpus": [_corpus(record) for record in records],
        "proposer": [_proposer(record) for record in records],
        "engine": [record.engine_version for record in records],
        "budget": [f"{_budget(record)} a replicate" for record in records],
    }
    facts = [(name, "; ".join(_distinct(values)) or "–") for name, values in several.items()]
    facts.append(
        (
            "trials",
            f"{min(r.started_at for r in records):%Y-%m-%d %H:%M} to "
            f"{max(r.finished_at for r in records):%Y-%m-%d %H:%M} UTC",
        )
    )
    shared = [str(record.number) for record in records if _has_company(record)]
    facts.append(("other work on the GPU", ", ".join(shared) and f"in trials {', '.join(shared)}"))
    chosen = {key: value for key, value in last.settings.items() if value not in (None, "")}
    said = [f"{key} {value}" for key, value in chosen.items() if value is not False]
    facts.append(("settings", ", ".join(said)))
    return [(name, value) for name, value in facts if value]


def _has_company(record: TrialRecord) -> bool:
    trained = (*record.replicates, *record.incumbent_replicates)
    return any(each.training.other_work is not None for each in trained)


def audit_sentences(record: TrialRecord) -> list[str]:
    """What the audits of a trial found, and what else its GPU did, a sentence a replicate."""
    said = [(each.seed, audit_sentence(each.evaluation)) for each in record.replicates]
    for each in (*record.replicates, *record.incumbent_replicates):
        others = each.training.other_work
        said.append((each.seed, f"{others.sentence}." if others is not None else ""))
    return [f"Seed {seed}: {text}" for seed, text in said if text]


def diff_lines(diff: str) -> list[DiffLine]:
    """Split a unified diff into lines with their kinds."""
    lines = diff.splitlines()
    shown = [DiffLine(kind=_kind(line), text=line) for line in lines[:LONGEST_DIFF_LINES]]
    if len(lines) > LONGEST_DIFF_LINES:
        rest = len(lines) - LONGEST_DIFF_LINES
        shown.append(DiffLine(kind="hunk", text=f"… {rest} more lines"))
    return shown


def format_bpb(value: float | None) -> str:
    """A score with four decimals, or a dash where there is none."""
    return "–" if value is None else f"{value:.4f}"


def format_signed(value: float | None) -> str:
    """A difference with its sign, the minus as it is set in print."""
    return "" if value is None else f"{value:+.4f}".replace("-", "\N{MINUS SIGN}")


def format_dollars(value: float | None) -> str:
    """Dollars, with more decimals for the small sums that single proposals cost."""
    if value is None:
        return "–"
    return f"${value:.2f}" if value >= 1 or value == 0 else f"${value:.4f}"


def _kind(line: str) -> str:
    if line.startswith(("+++", "---", "diff ", "index ")):
        return "head"
    return {"+": "added", "-": "removed", "@": "hunk"}.get(line[:1], "same")


def _sandbox(record: TrialRecord) -> str:
    confinement = record.confinement
    missing = f", without {', '.join(confinement.missing)}" if confinement.missing else ""
    features = f" ({', '.join(confinement.features)}{missing})" if confinement.features else missing
    return f"{confinement.label}{features}"


def _corpus(record: TrialRecord) -> str:
    return f"{record.corpus} {record.corpus_fingerprint[:12]}".strip()


def _budget(record: TrialRecord) -> str:
    return budget_text(in_words(record.budget_seconds), record.budget_tokens)


def _proposer(record: TrialRecord) -> str:
    if record.proposer == "baseline":
        return ""
    return f"{record.proposer} ({record.model})" if record.model else record.proposer


def _distinct(values: list[str]) -> list[str]:
    return [value for value in dict.fromkeys(values) if value]


def data_uri(svg: bytes) -> str:
    """An SVG document as an address that a page can show."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"
