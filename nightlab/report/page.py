"""Renders the report's page. All that a candidate or a model wrote is escaped."""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from nightlab.judging.score_text import (
    audit_sentence,
    budget_text,
    format_chance,
    needed_probability,
    verdict_lines,
)
from nightlab.proposers.arms import gain_bpb
from nightlab.records import ProposalCost, Reason, TrialRecord, Verdict
from nightlab.records.counting import counted
from nightlab.records.durations import in_words
from nightlab.report.conclusion import (
    certainty_sentences,
    gain_sentence,
    largest_change_sentence,
    noise_sentence,
    sandbox_sentence,
)
from nightlab.report.live import UnderWay, difference_bar
from nightlab.report.next_steps import next_steps
from nightlab.report.staircase import NARROW, draw_staircase, legend
from nightlab.report.study import Study, trial_seconds
from nightlab.shown import for_html, for_terminal

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATE, SCRIPT = "page.html.j2", "live.js"
LONGEST_DIFF_LINES = 2_000
OUTCOMES = {
    Verdict.KEEP: "kept",
    Verdict.DISCARD: "discarded",
    Verdict.CRASH: "crashed",
    Verdict.FAILED: "failed",
}
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
    changes = [each for each in study.kept() if each.reason is not Reason.BASELINE]
    return (
        study_templates()
        .get_template(TEMPLATE)
        .render(
            study=study,
            headline=BEGINNING if under_way and not study.baseline else gain_sentence(study),
            # While a session works, it is too early for what they have people do.
            sentences=[
                *(certainty_sentences(study) if under_way is None else ()),
                largest_change_sentence(study),
                sandbox_sentence(study),
            ],
            tiles=study_tiles(study),
            noise=noise_sentence(study),
            needed=needed_probability(study.records[-1]) if study.records else None,
            trials=[(record, trial_seconds(record)) for record in reversed(study.records)],
            keeps=[
                (record, diff_lines(diffs.get(record.number, "")))
                for record in sorted(changes, key=gain_bpb, reverse=True)
            ],
            steps=next_steps(study, asked_models=study.asked_models) if study.baseline else [],
            facts=study_facts(study.records),
            under_way=under_way,
        )
    )


@cache
def study_templates() -> "Environment":
    """What renders a study's page and picture: made once, since a live page is rendered often."""
    from markupsafe import Markup

    environment = page_environment()
    script = resources.files("nightlab.report").joinpath(SCRIPT).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals.update(script=Markup(script), script_source=Markup(f"'sha256-{digest}'"))
    environment.filters.update(
        audits=audit_sentences,
        before_pairs=lambda record: [] if record.decision.pairs else verdict_lines(record),
        chance=format_chance,
        commands=mark_commands,
        outcome=lambda record: OUTCOMES[record.verdict],
        spent=format_cost,
        # These escape what records say; see shapes.
        markup=Markup,
        staircase=lambda study: Markup(draw_staircase(study)),
        narrow_staircase=lambda study: Markup(draw_staircase(study, NARROW)),
        legend=lambda study: [(Markup(sample), said) for sample, said in legend(study)],
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
        finalize=lambda value: for_html(value) if isinstance(value, str) else value,
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
        counted=counted,
        percent=lambda value: "–" if value is None else f"{100 * value:.0f} %",
    )
    return environment


def mark_commands(sentence: str) -> "Markup":
    """A sentence, escaped, with what stands between backticks as code."""
    from markupsafe import Markup

    return Markup(re.sub("`([^`]*)`", r"<code>\1</code>", str(for_html(sentence))))


def study_tiles(study: Study) -> list[tuple[str, str, str]]:
    """What somebody in a hurry looks for: names, values, and a few words to each."""
    if study.baseline is None or study.incumbent is None:
        return []
    spent, again = study.spending, study.confirmation
    gain = ("gain, not confirmed", format_bpb(study.gain_bpb), "by the pairs that chose it")
    if again is not None and again.interval_bpb is not None:
        low, high = again.interval_bpb
        name = "gain, confirmed" if again.holds else "gain, NOT confirmed"
        interval = f"{format_signed(low)} to {format_signed(high)}, on holdout"
        gain = (name, format_bpb(again.gain_bpb), interval)
    rest = [
        f"{study.count(verdict)} {OUTCOMES[verdict]}"
        for verdict in (Verdict.DISCARD, Verdict.CRASH, Verdict.FAILED)
        if study.count(verdict)
    ]
    changes, kept = len(study.records) - 1, study.count(Verdict.KEEP) - 1
    tiles = [("baseline", format_bpb(study.baseline_bpb), "bits per byte")]
    if kept:
        now = f"since trial {study.incumbent.number}"
        tiles += [("now", format_bpb(study.incumbent_bpb), now), gain]
    return [
        *tiles,
        ("changes kept", f"{kept} of {changes}", ", ".join(rest)),
        ("models", format_cost(spent.cost), _calls(spent.cost)),
        ("training", in_words(spent.training_seconds), f"on {study.incumbent.device}"),
    ]


def _calls(cost: ProposalCost) -> str:
    known = [each for each in (cost.prompt_tokens, cost.completion_tokens) if each is not None]
    tokens = f", {counted(sum(known), 'token')}" if known else ""
    return f"{counted(cost.calls, 'call')}{tokens}" if cost.calls else "no model was asked"


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
    shared = [f"trial {record.number}" for record in records if _has_company(record)]
    facts.append(("other work on the GPU", ", ".join(shared)))
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
    lines = for_terminal(diff).splitlines()
    shown = [DiffLine(kind=_kind(line), text=line) for line in lines[:LONGEST_DIFF_LINES]]
    if len(lines) > LONGEST_DIFF_LINES:
        rest = counted(len(lines) - LONGEST_DIFF_LINES, "more line")
        shown.append(DiffLine(kind="hunk", text=f"… {rest}"))
    return shown


def format_bpb(value: float | None) -> str:
    """A score with four decimals, or a dash where there is none."""
    return "–" if value is None else f"{value:.4f}"


def format_signed(value: float | None) -> str:
    """A difference with its sign, the minus as it is set in print."""
    return "" if value is None else f"{value:+.4f}".replace("-", "\N{MINUS SIGN}")


def format_cost(cost: ProposalCost) -> str:
    """Dollars for models; what is not known of them is said."""
    if cost.cost_usd is not None or not cost.calls:
        return format_dollars(cost.cost_usd)
    return f"at least {format_dollars(cost.known_usd)}" if cost.known_usd else "price not known"


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
