"""A consolidation as MLflow shows it: a run of its own beside the trials."""

from nightlab.judging.consolidating import Outcome
from nightlab.ledger.consolidations import ConsolidationRecord
from nightlab.redaction import redact
from nightlab.tracking.content import (
    FINISHED,
    KIND_TAG,
    LONGEST_TAG,
    NAME_TAG,
    NOTE_TAG,
    STUDY_TAG,
    RunContent,
    milliseconds,
)

CONSOLIDATION_KIND = "consolidation"
CONSOLIDATION_TAG = "nightlab.consolidation"


def describe_consolidation(record: ConsolidationRecord) -> RunContent:
    """Say what MLflow is to show of a finished consolidation."""
    outcomes = [each.outcome for each in record.changes]
    metrics: dict[str, float | None] = {
        "kept_changes": len(outcomes),
        "passengers": outcomes.count(Outcome.PASSENGER),
        "trainings": len(record.incumbent_replicates)
        + sum(len(each.replicates) for each in record.changes)
        + (len(record.together.replicates) if record.together is not None else 0),
    }
    for change in record.changes:
        gain = None if change.difference_bpb is None else -change.difference_bpb
        metrics[f"trial_{change.trial}_brings_bpb"] = gain
        metrics[f"trial_{change.trial}_probability_helps"] = change.probability_helps
    if record.together is not None:
        metrics["consolidated_difference_bpb"] = record.together.difference_bpb
    said = [record.sentence, *(f"- {each.sentence}" for each in record.changes)]
    return RunContent(
        status=FINISHED,
        started_ms=milliseconds(record.started_at),
        ended_ms=milliseconds(record.finished_at or record.started_at),
        params={
            "incumbent_commit": record.incumbent_commit,
            "incumbent_trial": str(record.incumbent_trial),
            "most_pairs": str(record.most_pairs),
            "consolidated_commit": record.consolidated_commit or "none",
        },
        metrics={name: value for name, value in metrics.items() if value is not None},
        tags={
            KIND_TAG: CONSOLIDATION_KIND,
            STUDY_TAG: record.study,
            CONSOLIDATION_TAG: str(record.number),
            NAME_TAG: f"consolidation of trial {record.incumbent_trial}",
            NOTE_TAG: redact("\n".join(said))[:LONGEST_TAG],
            "mlflow.user": "nightlab",
        },
        texts={"consolidation.json": redact(record.model_dump_json(indent=2))},
    )
