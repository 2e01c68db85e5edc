"""A consolidation as MLflow shows it: a run of its own beside the trials."""

from nightlab.judging.consolidating import Outcome
from nightlab.ledger.consolidations import ConsolidationRecord
from nightlab.redaction import redact
from nightlab.shown import Markdown
from nightlab.tracking.curves import present
from nightlab.tracking.runs import FINISHED, RunContent, milliseconds
from nightlab.tracking.tags import KIND_TAG, NAME_TAG, STUDY_TAG, note_tag

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
    said = [Markdown("- {}").filled(each.sentence) for each in record.changes]
    return RunContent(
        status=FINISHED,
        started_ms=milliseconds(record.started_at),
        ended_ms=milliseconds(record.finished_at or record.started_at),
        metrics=present({f"{CONSOLIDATION_KIND}/{name}": each for name, each in metrics.items()}),
        tags={
            KIND_TAG: CONSOLIDATION_KIND,
            STUDY_TAG: record.study,
            CONSOLIDATION_TAG: str(record.number),
            NAME_TAG: f"consolidation of trial {record.incumbent_trial}",
            **note_tag(Markdown("\n").joined([record.sentence, *said])),
            "commit": record.consolidated_commit or record.incumbent_commit,
            "parent_trial": str(record.incumbent_trial),
            "mlflow.source.git.commit": record.incumbent_commit,
        },
        texts={"consolidation.json": redact(record.model_dump_json(indent=2))},
    )
