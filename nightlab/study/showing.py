"""A finished trial in MLflow, as git says that it stands."""

from nightlab.ledger import Ledger, confirmations
from nightlab.records import TrialRecord
from nightlab.report.conclusion import gain_sentence
from nightlab.report.study import read_study
from nightlab.tracking import Tracker, incumbent_of


def show_record(tracker: Tracker, ledger: Ledger, record: TrialRecord) -> None:
    """Tell MLflow of a finished trial, and of the study as it stands with it."""
    records, evidence = ledger.records(), ledger.evidence(record.number)
    diff, source = ledger.diff(record), ledger.source(record.commit)
    tracker.trial_ended(record, evidence, diff, source, incumbent_of(records, record))
    tracker.study_changed(records, gain_sentence(read_study(ledger, confirmations(ledger))))
