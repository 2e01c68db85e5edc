"""Tracking: MLflow as a view of the ledger; the only part that imports mlflow.

Study = experiment and a run of its own, trial = run, replicate = child run. Git is the truth:
whatever MLflow missed, ``synchronise`` brings it up to date from there.
"""

from nightlab.tracking.content import TrialFacts
from nightlab.tracking.origin import Origin
from nightlab.tracking.pairs import incumbent_of
from nightlab.tracking.removal import delete_experiment, tracked_runs
from nightlab.tracking.synchronise import StudyRecords, SyncResult, synchronise
from nightlab.tracking.tracker import Tracker
from nightlab.tracking.views import LOCAL_ADDRESS, View, view_url

__all__ = [
    "LOCAL_ADDRESS",
    "Origin",
    "StudyRecords",
    "SyncResult",
    "Tracker",
    "TrialFacts",
    "View",
    "delete_experiment",
    "incumbent_of",
    "synchronise",
    "tracked_runs",
    "view_url",
]
