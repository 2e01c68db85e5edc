"""Tracking: MLflow as a view of the ledger; the only part that imports mlflow.

Study = experiment, trial = run, replicate = child run. Git is the truth: whatever MLflow
missed, ``synchronise`` brings it up to date from there.
"""

from nightlab.tracking.content import TrialFacts
from nightlab.tracking.removal import delete_experiment, tracked_runs
from nightlab.tracking.synchronise import StudyRecords, SyncResult, synchronise
from nightlab.tracking.tracker import Tracker

__all__ = [
    "StudyRecords",
    "SyncResult",
    "Tracker",
    "TrialFacts",
    "delete_experiment",
    "synchronise",
    "tracked_runs",
]
