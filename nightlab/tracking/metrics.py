"""The numbers that MLflow shows of trials and replicates, by their names there."""

from statistics import fmean

from nightlab.records import Decision, Evaluation, Replicate, TrialRecord
from nightlab.tracking.curves import present

OF_ONE_TRAINING = ("val_bpb_standard_error", "val_bpb_row_standard_error")
"""Metrics of replicates of which a mean over a trial would say nothing."""


def trial_metrics(record: TrialRecord) -> dict[str, float]:
    """Metrics of a trial's run: means over its replicates, the verdict's numbers, the costs.

    Its ``val_bpb`` is the record's, which stands beside those of the study's other trials; what a
    single training scored, and the error of its audit, stand in the replicate's run.
    """
    replicates = [replicate_values(replicate) for replicate in record.replicates]
    columns: dict[str, list[float]] = {}
    for values in replicates:
        for key, value in present(values).items():
            columns.setdefault(key, []).append(value)
    means = {key: fmean(column) for key, column in columns.items()}
    if "peak_memory_mb" in columns:
        means["peak_memory_mb"] = max(columns["peak_memory_mb"])
    for key in OF_ONE_TRAINING:
        means.pop(key, None)
    values = {
        **means,
        "val_bpb": record.val_bpb,
        **_decision_values(record.decision),
        "cost_usd": record.cost.cost_usd,
        "prompt_tokens": record.cost.prompt_tokens,
        "completion_tokens": record.cost.completion_tokens,
        "model_calls": record.cost.calls,
        "expected_bpb": record.expected_bpb,
        "lines_added": record.lines_added,
        "lines_removed": record.lines_removed,
        **{f"seconds_{step}": seconds for step, seconds in record.step_seconds.items()},
    }
    return present(values)


def _decision_values(decision: Decision) -> dict[str, float | None]:
    low, high = decision.interval_bpb or (None, None)
    return {
        "difference_bpb": decision.difference_bpb,
        "difference_low_bpb": low,
        "difference_high_bpb": high,
        "noise_bpb": decision.noise_bpb,
        "probability_better": decision.probability_better,
        "expected_gain_bpb": decision.expected_gain_bpb,
        "pairs": len(decision.pairs) or None,
    }


def replicate_values(replicate: Replicate) -> dict[str, float | None]:
    """Metrics of a replicate's run, those that are missing as None."""
    training, evaluation = replicate.training, replicate.evaluation
    return {
        "val_bpb": replicate.val_bpb,
        **(_audit_values(evaluation) if evaluation else {}),
        "training_seconds": training.training_seconds,
        "startup_seconds": training.startup_seconds,
        "charged_seconds": training.charged_seconds,
        "peak_memory_mb": training.peak_memory_mb,
        "tokens_per_second": training.tokens_per_second,
        "mfu_percent": training.mfu_percent,
        "num_steps": training.num_steps,
        "num_params": training.num_params,
    }


def _audit_values(evaluation: Evaluation) -> dict[str, float | None]:
    return {
        "val_bpb_standard_error": evaluation.standard_error,
        "val_bpb_row_standard_error": evaluation.row_standard_error,
        "claimed_bpb": evaluation.claimed_bpb,
        "audit_correction_bpb": evaluation.correction_bpb,
        "audited_positions": evaluation.audited_positions,
        "largest_deviation_nats": evaluation.largest_deviation_nats,
        "audit_seconds": evaluation.audit_seconds,
        "evaluation_seconds": evaluation.seconds,
    }
