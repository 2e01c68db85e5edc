"""The names by which runs are found in MLflow, and told apart."""

from nightlab.redaction import redact
from nightlab.shown import Markdown

OURS = "nightlab."
"""What the names begin with that tell a run from all others of its study."""
STUDY_TAG = "nightlab.study"
TRIAL_TAG = "nightlab.trial"
SEED_TAG = "nightlab.seed"
SUBJECT_TAG = "subject"
CANDIDATE, INCUMBENT = "candidate", "incumbent"
KIND_TAG = "nightlab.kind"
"""``study``, ``trial``, ``replicate``, ``confirmation``, ``consolidation``, ``report`` …"""
RECORD_TAG = "nightlab.record"
"""Digest of what a run shows in full; a run without it is not complete."""
LAYOUT_TAG, LAYOUT = "nightlab.layout", "2"
"""Which names of metrics, parameters and tags there are: a run of another version is made anew."""

NAME_TAG = "mlflow.runName"
PARENT_TAG = "mlflow.parentRunId"

LONGEST_TAG = 4_000


def note_tag(note: Markdown) -> dict[str, str]:
    """The tag that MLflow's pages render as Markdown."""
    return {"mlflow.note.content": redact(note)[:LONGEST_TAG]}
