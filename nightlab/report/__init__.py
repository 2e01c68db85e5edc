"""The report of a study: a self-contained page and a picture."""

from nightlab.report.study import StudyRecords
from nightlab.report.write import ReportFiles, log_report, write_report

__all__ = ["ReportFiles", "StudyRecords", "log_report", "write_report"]
