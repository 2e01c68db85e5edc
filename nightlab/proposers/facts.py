"""What is known of a study besides its trials: score, noise, machine, time, loss, knobs."""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from nightlab.proposers.brief import Brief
from nightlab.records import Replicate, TrialRecord, Verdict

CURVE_POINTS = 5
SHOWN_KNOBS = 12
STEPS = ("propose", "preflight", "startup", "train", "evaluate")


def known_facts(brief: Brief) -> str:
    """One line each; what is not known is left out."""
    lines = [*_setting(brief), *_scores(brief)]
    kept = [record for record in brief.records if record.verdict is Verdict.KEEP]
    if kept and kept[-1].replicates:
        lines += _incumbent(kept[-1].replicates[-1])
    lines += [*_times(brief.records), *_moved_knobs(brief.records)]
    return "\n".join(f"- {line}" for line in lines)


def _setting(brief: Brief) -> list[str]:
    budget = f"{brief.budget_seconds:g} training seconds for each trial"
    if brief.budget_tokens is not None:
        budget = (
            f"{brief.budget_tokens:,} training tokens for each trial, which must be used up within "
            f"{brief.budget_seconds:g} seconds"
        )
    return [
        f"device: {brief.device}",
        f"budget: {budget}; start-up beyond {brief.startup_free_seconds:g} seconds is taken off "
        "these seconds",
        f"sequence length {brief.sequence_length} tokens, vocabulary {brief.vocab_size}",
    ]


def _scores(brief: Brief) -> list[str]:
    lines = []
    if brief.incumbent_bpb is not None:
        lines.append(f"val_bpb of the incumbent: {brief.incumbent_bpb:.5f}")
    if brief.noise_bpb is not None:
        lines.append(
            "noise: the difference between two trainings with the same seed, the candidate's and "
            f"the incumbent's, is off by {brief.noise_bpb:.5f} (standard deviation); a smaller "
            "effect takes several pairs to be seen"
        )
    return lines


def _incumbent(replicate: Replicate) -> list[str]:
    training = replicate.training
    numbers = {
        "parameters": training.num_params,
        "optimiser steps": training.num_steps,
        "tokens trained on": training.num_tokens,
        "tokens per second": training.tokens_per_second,
        "model FLOPs utilisation in percent": training.mfu_percent,
        "start-up seconds": training.startup_seconds,
        "peak memory in MiB": training.peak_memory_mb,
        "last training loss in nats per token": training.final_loss,
    }
    lines = [
        f"the incumbent's {name}: {value:,.6g}"
        for name, value in numbers.items()
        if value is not None
    ]
    profile = training.loss_profile
    points = [
        (index + 1, loss)
        for index, loss in enumerate(profile)
        if loss is not None and _is_shown(index, len(profile))
    ]
    if points:
        curve = ", ".join(f"{loss:.3f} at {place / len(profile):.0%}" for place, loss in points)
        lines.append(f"the incumbent's training loss along the budget: {curve}")
    return lines


def _is_shown(index: int, count: int) -> bool:
    """Whether a share of the curve is one of about ``CURVE_POINTS``, the last among them."""
    return (count - 1 - index) % max(1, count // CURVE_POINTS) == 0


def _times(records: Sequence[TrialRecord]) -> list[str]:
    """Where the wall clock goes, as a mean over the trials that were scored."""
    scored = [record for record in records if record.val_bpb is not None]
    means = {
        step: fmean(record.step_seconds.get(step, 0.0) for record in scored)
        for step in STEPS
        if scored
    }
    told = ", ".join(f"{step} {seconds:.0f}" for step, seconds in means.items() if seconds >= 1)
    return [f"seconds of a trial, on average: {told}"] if told else []


def _moved_knobs(records: Sequence[TrialRecord]) -> list[str]:
    """How often each knob differed from the parent's, the most often moved first."""
    by_commit = {record.commit: record.knobs for record in records}
    moved: Counter[str] = Counter()
    for record in records:
        before = by_commit.get(record.parent, record.knobs)
        moved.update(
            name for name, value in record.knobs.items() if before.get(name, value) != value
        )
    if not moved:
        return []
    named = ", ".join(f"{name} {count}" for name, count in moved.most_common(SHOWN_KNOBS))
    return [f"constants that trials have moved, and how often: {named}"]
