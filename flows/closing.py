"""The last lines of a session."""

from typing import TYPE_CHECKING

from flows.terminal import Terminal
from nightlab.records import Approval
from nightlab.redaction import redact
from nightlab.report.conclusion import (
    certainty_sentences,
    gain_sentence,
    largest_change_sentence,
)
from nightlab.report.next_steps import next_steps
from nightlab.report.study import Study, read_study
from nightlab.settings import Places

if TYPE_CHECKING:
    from flows.research import SessionSummary


def print_summary(console: Terminal, summary: "SessionSummary", places: Places) -> None:
    """Say where things stand, what was gained, how sure that is, and what to try next."""
    from flows.printing import number, trial_table
    from nightlab.ledger import Ledger, confirmations

    ledger = Ledger(places.root, summary.study)
    study = read_study(ledger, confirmations(ledger))
    console.print(trial_table(study.records))
    baseline, incumbent = summary.baseline, summary.incumbent
    waits = incumbent.approval is Approval.WAITS
    where = f"beside branch {ledger.branch}" if waits else f"on branch {ledger.branch}"
    lines = [
        f"Stopped: {summary.stopped}",
        f"Baseline:  trial {baseline.number}, {number(baseline.val_bpb)} bpb, "
        f"commit {baseline.commit[:12]}",
        f"Incumbent: trial {incumbent.number}, {number(incumbent.val_bpb)} bpb, "
        f"commit {incumbent.commit[:12]} {where} ({incumbent.title})",
        *([f"Models:    {summary.models}"] if summary.models is not None else []),
        f"Report:    {summary.report_page}",
        f"Picture:   {summary.report_picture}",
        f"MLflow:    {mlflow_page(places, summary.experiment)}",
        "",
        *conclusion_lines(study, summary.models),
    ]
    for line in lines:
        console.say(line)


def mlflow_page(places: Places, experiment: str | None) -> str:
    """Where MLflow shows a study, and what shows it there if it is a local file."""
    from nightlab.tracking.views import LOCAL_ADDRESS, view_url

    first = ".venv/bin/nightlab ui, then " if places.tracking_is_local else ""
    if experiment is None or not (first or places.tracking_uri.startswith("http")):
        return f"{first}{LOCAL_ADDRESS if first else redact(places.tracking_uri)}"
    return f"{first}{view_url(places.tracking_uri, experiment)}"


def conclusion_lines(study: Study, models: str | None) -> list[str]:
    """The very last lines: what a person wants to know in the morning.

    Args:
        study: as it stands.
        models: what models cost in this session, in words; None where none was asked.
    """
    said = [gain_sentence(study), largest_change_sentence(study), *certainty_sentences(study)]
    asked = models is not None or study.asked_models
    said.append(f"Next: {next_steps(study, asked_models=asked)[0]}")
    return [line.replace("`", "") for line in dict.fromkeys(said) if line]
