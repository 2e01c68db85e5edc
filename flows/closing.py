"""The last lines of a session."""

from rich.console import Console

from flows.research import SessionSummary
from nightlab.judging.scores import evidence_bpb
from nightlab.judging.wandering import wandering_sentence
from nightlab.settings import Places


def print_summary(console: Console, summary: SessionSummary, places: Places) -> None:
    """Name the baseline, the incumbent, the report and how to open MLflow."""
    from flows.printing import number, trial_table
    from nightlab.ledger import Ledger, confirmations

    ledger = Ledger(places.root, summary.study)
    records = ledger.records()
    console.print(trial_table(records))
    baseline, incumbent = summary.baseline, summary.incumbent
    told = [
        each.sentence
        for each in confirmations(ledger)
        if each.finished_at is not None and each.incumbent_commit == summary.incumbent.commit
    ]
    wandering = wandering_sentence(records)
    lines = [
        *told[-1:],
        *([wandering] if wandering is not None else []),
        f"Stopped: {summary.stopped}",
        f"Baseline:  trial {baseline.number}, "
        f"{number(evidence_bpb(records, baseline.commit))} bpb, "
        f"commit {baseline.commit[:12]}",
        f"Incumbent: trial {incumbent.number}, "
        f"{number(evidence_bpb(records, incumbent.commit))} bpb, "
        f"commit {incumbent.commit[:12]} on branch {ledger.branch} ({incumbent.title})",
        *([f"Models:    {summary.models}"] if summary.models is not None else []),
        f"Report:    {summary.report_page}",
        f"Picture:   {summary.report_picture}",
        "MLflow:    "
        + (
            ".venv/bin/nightlab ui, then http://127.0.0.1:5000"
            if places.tracking_is_local
            else places.tracking_uri
        ),
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
