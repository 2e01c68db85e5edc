"""What became of a trial, and why."""

from enum import StrEnum
from typing import ClassVar

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
    """No worse within noise, with clearly less code."""
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
    NO_EDIT = "no_edit"
    """An agent was run and left nothing to train: there is no candidate."""
    MACHINERY = "machinery"
    """Git, the sandbox or the evaluator failed."""
    INTERRUPTED = "interrupted"
    REFUSED = "refused"
    """Measured and kept, and a person did not approve it."""


class Approval(StrEnum):
    """Where a kept change stands that needs a person's word; see nightlab/ledger/approvals.py."""

    WAITS = "waits"
    APPROVED = "approved"
    """It is on the study's branch."""
    REFUSED = "refused"
    STRANDED = "stranded"
    """The study went on without what it was built on."""


class Pair(Frozen):
    """A candidate's and the incumbent's training with the same seed, at the same place."""

    seed: int
    candidate_bpb: float
    incumbent_bpb: float

    @property
    def difference_bpb(self) -> float:
        """Candidate less incumbent; negative is better."""
        return self.candidate_bpb - self.incumbent_bpb


class Decision(Frozen):
    """A verdict with the numbers that it rests on."""

    retired: ClassVar[frozenset[str]] = frozenset(
        {
            "threshold_bpb",
            "evidence",
            "evidence_needed",
            "replicates",
            "incumbent_replicates",
            "degrees_of_freedom",
        }
    )

    verdict: Verdict
    reason: Reason
    sentence: str
    """One sentence that a person understands."""
    cause: str = ""
    """Of a failed call of a model: the model and what it did, as a status, by which failures
    compare; empty elsewhere."""
    difference_bpb: float | None = None
    """Mean of the pairs' differences, candidate less incumbent; negative is better."""
    interval_bpb: tuple[float, float] | None = None
    """95 % credible interval of the difference."""
    noise_bpb: float | None = None
    """Standard deviation of one pair's difference."""
    probability_better: float | None = None
    """Of the candidate, 0 to 1."""
    expected_gain_bpb: float | None = None
    """What is believed that it gains, by the pairs and by what ideas of this study are like;
    positive is better, and mostly less than the pairs show."""
    pairs: tuple[Pair, ...] = ()
    """What it rests on."""
