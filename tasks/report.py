"""Show the study on Prefect's pages, and write its report."""

from uuid import UUID

from prefect import task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from nightlab.ledger import confirmations
from nightlab.records import TrialRecord
from nightlab.report import ReportFiles, log_report, write_report
from nightlab.study.session import Session

REPORT_DELAYS_SECONDS = [1.0]


@task(
    name="report",
    task_run_name="report {session.ledger.study}",
    retries=len(REPORT_DELAYS_SECONDS),
    retry_delay_seconds=REPORT_DELAYS_SECONDS,
    cache_policy=NO_CACHE,
)
def report(session: Session) -> ReportFiles:
    """Write the report beside MLflow's store and log it there."""
    ledger = session.ledger
    files = write_report(ledger, session.places.mlruns / "reports", confirmations(ledger))
    log_report(session.tracker, files)
    return files


@task(name="show trials", task_run_name="show {study}", cache_policy=NO_CACHE)
def show_trials(study: str, records: tuple[TrialRecord, ...], run_url: str | None) -> UUID | None:
    """Put the table of trials, and a link to the latest MLflow run, on the session's page."""
    rows = [
        {
            "trial": record.number,
            "verdict": record.verdict.value,
            "reason": record.reason.value,
            "val_bpb": "" if record.val_bpb is None else f"{record.val_bpb:.4f}",
            "title": record.title,
        }
        for record in records
    ]
    if run_url is not None:
        create_link_artifact(
            link=run_url, link_text="The latest trial in MLflow", key=_key(study, "mlflow")
        )
    table = create_table_artifact(
        table=rows, key=_key(study, "trials"), description=f"Trials of study {study}"
    )
    return table if isinstance(table, UUID) else None


def _key(study: str, name: str) -> str:
    # Prefect's artifact keys take lower-case letters, digits and dashes only.
    return f"{study.lower().replace('_', '-')}-{name}"
