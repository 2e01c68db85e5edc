"""What became of a trial, and why."""

from enum import StrEnum

from nightlab.records.base import Frozen


class Verdict(StrEnum):
    """What became of a trial."""

    KEEP = "keep"
    DISCARD = "discard"
    CRASH = "crash"
    """The candidate's fault."""
    FAILED = "failed"
    """The machinery's fault: the trial can be retried."""


class Reason(StrEnum):
    """Why a trial has its verdict."""

    BASELINE = "baseline"
    IMPROVED = "improved"
    REGRESSION = "regression"
    SIMPLER = "simpler"
    """Equal within noise, with fewer lines of code."""
    WITHIN_NOISE = "within_noise"
    PRUNED = "pruned"
    """Stopped on the way: the curve was too far behind to get where it would have to."""
    EXCEPTION = "exception"
    """The candidate's code raised, or ended with a non-zero status."""
    STARTUP_TIMEOUT = "startup_timeout"
    """No first batch was asked for within the start-up cap, or so late that no budget was left."""
    TIMEOUT = "timeout"
    """No complete checkpoint stood at the deadline."""
    OOM = "oom"
    NONFINITE = "nonfinite"
    INVALID_EDIT = "invalid_edit"
    """The edit did not apply, did not parse, or changed nothing."""
    CONTRACT = "contract"
    """The trainer's contract was broken."""
    AUDIT = "audit"
    """The claimed losses do not agree with the answers in secret positions."""
    RESOURCES = "resources"
    """More disk space or processes than a job may take."""
    MODEL = "model"
    """The model's endpoint gave nothing usable."""
    MODEL_REFUSED = "model_refused"
    """The model's endpoint refuses these settings: no other try can help."""
    MACHINERY = "machinery"
    """Git, the sandbox or the evaluator failed."""
    INTERRUPTED = "interrupted"


class Decision(Frozen):
    """A verdict with the numbers that it rests on."""

    verdict: Verdict
    reason: Reason
    sentence: str
    """One sentence that a person understands."""
    difference_bpb: float | None = None
    """Candidate minus incumbent; negative is better."""
    threshold_bpb: float | None = None
    noise_bpb: float | None = None
    interval_bpb: tuple[float, float] | None = None
    """95 % confidence interval of the difference."""
    evidence: float | None = None
    """How many times likelier the scores are if the candidate is better than if it is not."""
    evidence_needed: float | None = None
    """What the evidence had to reach for a keep: the inverse of this trial's share of the
    study's error rate."""
    replicates: int | None = None
    """Scored replicates of the candidate that entered the decision."""
    incumbent_replicates: int | None = None
    """Scored replicates of the incumbent that entered the decision."""
    degrees_of_freedom: int | None = None
    """What the noise was estimated from."""
