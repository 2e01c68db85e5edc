"""The numbers that MLflow shows of trials and replicates, by their names there.

What the field compares stands flat, by the names that programs read (DESIGN.md's); all else stands
in sections, which MLflow's pages fold up.
"""

from collections.abc import Mapping
from statistics import fmean

from nightlab.records import Decision, Evaluation, Replicate, TrialRecord
from nightlab.tracking.curves import present

SECTIONS = ("curve", "edit", "model", "score", "seconds", "training")
"""What stands before the slash in the name of a trial's metric; MLflow's own is ``system``."""
BEST = "best_bpb"
CANDIDATE_LOSS, INCUMBENT_LOSS = "curve/candidate_loss", "curve/incumbent_loss"


def trial_metrics(record: TrialRecord) -> dict[str, float]:
    """Metrics of a trial's run: means over its replicates, the verdict's numbers, the costs.

    Its ``val_bpb`` is the record's, which stands beside those of the study's other trials; what a
    single training scored, and what its audit found, stand in the replicate's run.
    """
    replicates = [replicate_values(replicate) for replicate in record.replicates]
    columns: dict[str, list[float]] = {}
    for values in replicates:
        for key, value in present(values).items():
            columns.setdefault(key, []).append(value)
    means = {k: fmean(column) for k, column in columns.items() if not k.startswith("audit/")}
    if "peak_memory_mb" in columns:
        means["peak_memory_mb"] = max(columns["peak_memory_mb"])
    cost = record.cost
    values = {
        **means,
        "val_bpb": record.val_bpb,
        **_decision_values(record.decision),
        "score/expected_bpb": record.expected_bpb,
        "model/usd": cost.cost_usd,
        "model/calls": cost.calls,
        "model/prompt_tokens": cost.prompt_tokens,
        "model/completion_tokens": cost.completion_tokens,
        "edit/lines_added": record.lines_added,
        "edit/lines_removed": record.lines_removed,
        **_in("seconds", record.step_seconds),
    }
    return present(values)


def replicate_values(replicate: Replicate) -> dict[str, float | None]:
    """Metrics of a replicate's run, those that are missing as None."""
    training, evaluation = replicate.training, replicate.evaluation
    return {
        "val_bpb": replicate.val_bpb,
        **(_audit_values(evaluation) if evaluation else {}),
        "training_seconds": training.training_seconds,
        "peak_memory_mb": training.peak_memory_mb,
        "tokens_per_second": training.tokens_per_second,
        "mfu_percent": training.mfu_percent,
        "num_steps": training.num_steps,
        "num_params": training.num_params,
        "training/startup_seconds": training.startup_seconds,
        "training/charged_seconds": training.charged_seconds,
    }


def _decision_values(decision: Decision) -> dict[str, float | None]:
    low, high = decision.interval_bpb or (None, None)
    return {
        "difference_bpb": decision.difference_bpb,
        "probability_better": decision.probability_better,
        "score/difference_low_bpb": low,
        "score/difference_high_bpb": high,
        "score/noise_bpb": decision.noise_bpb,
        "score/expected_gain_bpb": decision.expected_gain_bpb,
        "score/pairs": len(decision.pairs) or None,
    }


def _audit_values(evaluation: Evaluation) -> dict[str, float | None]:
    return _in(
        "audit",
        {
            "standard_error_bpb": evaluation.standard_error,
            "row_standard_error_bpb": evaluation.row_standard_error,
            "claimed_bpb": evaluation.claimed_bpb,
            "correction_bpb": evaluation.correction_bpb,
            "positions": evaluation.audited_positions,
            "largest_deviation_nats": evaluation.largest_deviation_nats,
            "audit_seconds": evaluation.audit_seconds,
            "evaluation_seconds": evaluation.seconds,
        },
    )


def _in(section: str, values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {f"{section}/{name}": value for name, value in values.items()}
