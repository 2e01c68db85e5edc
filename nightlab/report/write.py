"""Writes a study's report, and puts it into MLflow."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nightlab import events
from nightlab.ledger.confirmations import ConfirmationRecord
from nightlab.redaction import redact
from nightlab.report.page import render_page
from nightlab.report.picture import render_picture
from nightlab.report.study import StudyRecords, read_study
from nightlab.tracking import Tracker

REPORT_KIND = REPORT_STEP = "report"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFiles:
    """Where a report stands."""

    html: Path
    picture: Path


def write_report(
    ledger: StudyRecords, folder: Path, confirmed: Sequence[ConfirmationRecord] = ()
) -> ReportFiles:
    """Write a study's report as a self-contained page and a picture.

    Listeners are told first: a page that a session rewrites is not to be put over the report.

    Args:
        ledger: the study's ledger, with any number of records.
        confirmed: the study's confirmations, in order.
        folder: where ``<study>.html`` and ``<study>.svg`` are put; made on demand.
    """
    events.publish(
        events.StepBegun(study=ledger.study, number=None, step=REPORT_STEP, title="writing it")
    )
    study = read_study(ledger, confirmed)
    files = report_files(folder, study.name)
    diffs = {record.number: ledger.diff(record) for record in study.kept()}
    put_page(files.html, render_page(study, diffs))
    put_page(files.picture, render_picture(study))
    return files


def report_files(folder: Path, study: str) -> ReportFiles:
    """Where the report of a study stands."""
    return ReportFiles(html=folder / f"{study}.html", picture=folder / f"{study}.svg")


def put_page(path: Path, page: str) -> None:
    """Write a page or a picture in one step: who has the last one open never sees half of it.

    Args:
        path: where it is to stand; its folder is made on demand.
        page: its text.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}.new")
    fresh.write_text(redact(page), encoding="utf-8", errors="replace")
    os.replace(fresh, path)


def log_report(tracker: Tracker, files: ReportFiles) -> None:
    """Put both files on the study's run named ``report`` in MLflow, in the background."""
    tracker.files_written(REPORT_KIND, (files.html, files.picture))
