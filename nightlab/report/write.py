"""Writes a study's report, and puts it into MLflow."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nightlab.ledger.confirmations import ConfirmationRecord
from nightlab.report.page import render_page
from nightlab.report.picture import DARK, LIGHT, draw_png, draw_svg
from nightlab.report.study import StudyRecords, read_study
from nightlab.tracking import Tracker

REPORT_KIND = "report"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFiles:
    """Where a report stands."""

    html: Path
    png: Path


def write_report(
    ledger: StudyRecords, folder: Path, confirmed: Sequence[ConfirmationRecord] = ()
) -> ReportFiles:
    """Write a study's report as a self-contained page and a picture.

    Args:
        ledger: the study's ledger, with any number of records.
        confirmed: the study's confirmations, in order.
        folder: where ``<study>.html`` and ``<study>.png`` are put; made on demand.
    """
    study = read_study(ledger, confirmed)
    folder.mkdir(parents=True, exist_ok=True)
    files = ReportFiles(html=folder / f"{study.name}.html", png=folder / f"{study.name}.png")
    diffs = {record.number: ledger.diff(record) for record in study.kept()}
    pictures = {"light": draw_svg(study, LIGHT), "dark": draw_svg(study, DARK)}
    page = render_page(study, diffs, pictures)
    # Renamed into place: who has the last report open never sees half of the next.
    fresh = files.html.with_suffix(".html.new")
    fresh.write_text(page, encoding="utf-8", errors="replace")
    os.replace(fresh, files.html)
    draw_png(study, files.png)
    return files


def log_report(tracker: Tracker, files: ReportFiles) -> None:
    """Put both files on the study's run named ``report`` in MLflow, in the background."""
    tracker.files_written(REPORT_KIND, (files.html, files.png))
