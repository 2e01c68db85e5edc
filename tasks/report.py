"""Write the study's report."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from nightlab.ledger import confirmations
from nightlab.report import ReportFiles, log_report, write_report
from nightlab.study.session import Session
from tasks.finished import finished

REPORT_DELAYS_SECONDS = [1.0]


@task(
    name="report",
    task_run_name="report",
    retries=len(REPORT_DELAYS_SECONDS),
    retry_delay_seconds=REPORT_DELAYS_SECONDS,
    cache_policy=NO_CACHE,
)
def report(session: Session) -> ReportFiles:
    """Write the report beside MLflow's store and log it there."""
    ledger = session.ledger
    files = write_report(ledger, session.places.mlruns / "reports", confirmations(ledger))
    log_report(session.tracker, files)
    return finished(files, f"report {files.html.name}, also with the study's run in MLflow")
