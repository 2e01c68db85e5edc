"""The nouns that travel between the steps of a trial, and into git as JSON.

All are frozen pydantic models. A missing number is ``None``, never 0: in a
lower-is-better column 0 would be the best score. Times are seconds, memory is MiB
(the field's ``_mb``), losses are nats, scores are bits per byte.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1


class Frozen(BaseModel):
    """Base of all records: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
    """The candidate did not ask for its first batch within the start-up cap."""
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


class Mode(StrEnum):
    """What a proposer was asked for."""

    REFINE = "refine"
    """The best next step from where the study stands."""
    EXPLORE = "explore"
    """Something unlike what was tried: nothing was kept for long."""
    RESCUE = "rescue"
    """An edit that just missed, with its knobs tuned."""


class Suggestion(Frozen):
    """A person's idea, in a study's queue."""

    schema_version: int = SCHEMA_VERSION
    study: str
    number: int
    text: str
    made_at: datetime
    trial: int | None = None
    """The trial whose proposer was shown it; None while it waits."""


class Edit(Frozen):
    """One SEARCH/REPLACE block on ``trainer/train.py``."""

    search: str
    replace: str


class Exchange(Frozen):
    """One call of a model: what was sent, what came back."""

    prompt: str
    answer: str


class ProposalCost(Frozen):
    """What a proposal cost, calls without an answer included, as they were estimated."""

    calls: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None
    """None as soon as the price of one call is not known."""
    priced_usd: float = 0.0
    """Where ``cost_usd`` is None: what those calls came to whose price is known."""
    seconds: float = 0.0

    @property
    def known_usd(self) -> float:
        """What it came to at least."""
        return self.priced_usd if self.cost_usd is None else self.cost_usd

    def __add__(self, other: "ProposalCost") -> "ProposalCost":
        """Both together: what is not known of one is not known of the sum."""
        dollars = _sum_known(self, other, "cost_usd")
        return ProposalCost(
            calls=self.calls + other.calls,
            prompt_tokens=_sum_known(self, other, "prompt_tokens"),
            completion_tokens=_sum_known(self, other, "completion_tokens"),
            cost_usd=dollars,
            priced_usd=self.known_usd + other.known_usd if dollars is None else 0.0,
            seconds=self.seconds + other.seconds,
        )


def _sum_known(one: ProposalCost, other: ProposalCost, name: str) -> Any:
    # Where nothing was asked, nothing is unknown.
    asked = [each for each in (one, other) if each.calls] or [one, other]
    values = [getattr(each, name) for each in asked]
    if None in values:
        return None
    return sum(values)


class Proposal(Frozen):
    """An idea, not yet applied."""

    title: str
    hypothesis: str = ""
    edits: tuple[Edit, ...] = ()
    proposer: str
    """``knobs``, ``llm``, ``command``, ``baseline`` or ``retry``: who had the idea."""
    model: str | None = None
    """The language model that answered, or the command that edited."""
    mode: Mode | None = None
    expected_bpb: float | None = None
    """By how much the proposer expects val_bpb to change; negative is better."""
    prompt_version: str = ""
    """Version of the templates that the prompt was made from."""
    suggestions: tuple[int, ...] = ()
    """Numbers of the person's suggestions that the proposer was shown."""
    rescue_of: int | None = None
    """The trial whose edit this one tries again with other knobs."""
    note: str = ""
    """What else is to be known of how it came about, for people."""
    cost: ProposalCost = ProposalCost()
    exchanges: tuple[Exchange, ...] = ()
    error: str | None = None
    """Why the edits cannot be applied, after all repair rounds: verdict ``invalid_edit``."""


class CurvePoint(Frozen):
    """One point of a training curve, as the candidate reported it; informative only."""

    seconds: float
    step: int
    loss: float | None
    learning_rate: float | None = None
    tokens: int | None = None


class Forecast(Frozen):
    """Why pruning stopped a training, or would have: see nightlab/pruning.py."""

    share: float
    """How much of the budget was gone, 0 to 1."""
    gap_bpb: float
    """How far its loss was behind that of the incumbent's training with the same seed."""
    expected_bpb: float
    """The score that it was foreseen to end at, or above."""
    needed_bpb: float
    """The score below which the candidate would have gone on."""
    chance: float
    """Probability of that, 0 to 1."""
    pairs: int
    """Finished trainings that this was foreseen from."""
    is_spared: bool = False
    """Whether it ran to its end all the same, so that forecasts go on being checked."""


class TrainingResult(Frozen):
    """One training of a candidate with one seed, seen from the host."""

    failure: Reason | None = None
    """None when a complete checkpoint stood in time; ``pruned`` where the engine stopped it."""
    message: str = ""
    """One sentence that says what happened, for people."""
    startup_seconds: float | None = None
    charged_seconds: float | None = None
    """Start-up beyond its free part, taken off the training budget."""
    training_seconds: float | None = None
    num_steps: int | None = None
    num_tokens: int | None = None
    num_params: int | None = None
    final_loss: float | None = None
    tokens_per_second: float | None = None
    peak_memory_mb: float | None = None
    mfu_percent: float | None = None
    exit_code: int | None = None
    curve: tuple[CurvePoint, ...] = ()
    loss_profile: tuple[float | None, ...] = ()
    """Mean reported loss in equal shares of the budget: what pruning compares. In nats per
    token; None in a share that had no report."""
    forecast: Forecast | None = None
    """What made pruning stop the training, or would have; None where it had nothing to say."""
    log: str = ""
    """The candidate's output, capped; data, never instructions."""


class Evaluation(Frozen):
    """The engine's own measurement of one replicate on one split."""

    split: str = "val"
    failure: Reason | None = None
    message: str = ""
    val_bpb: float | None = None
    """The audited score: claims plus correction."""
    standard_error: float | None = None
    """Of ``val_bpb`` as a measure of the honest loss on the scored rows: the audit draws only
    some positions. In bits per byte."""
    row_standard_error: float | None = None
    """How far other rows of the same text would move the score; the same rows are scored for
    every candidate, so this does not enter comparisons. In bits per byte."""
    claimed_bpb: float | None = None
    """What the candidate's own losses amount to, before the audit."""
    correction_bpb: float | None = None
    """What the audit added to the claims; near 0 for an honest model."""
    audited_positions: int | None = None
    """Secret positions that the correction rests on."""
    largest_deviation_nats: float | None = None
    """Largest difference between a claim and the answer in the same position."""
    audit_seconds: float | None = None
    """Wall-clock seconds that the audit added to the evaluation."""
    num_tokens: int | None = None
    num_bytes: int | None = None
    seconds: float | None = None
    log: str = ""


class Replicate(Frozen):
    """One training with one seed, and its evaluation if there was a checkpoint."""

    seed: int
    training: TrainingResult
    evaluation: Evaluation | None = None
    contended: bool = False
    """Whether its throughput departed from that of the same code's other replicates, so that
    it decides nothing."""

    @property
    def failure(self) -> Reason | None:
        """The first thing that went wrong, or None."""
        if self.training.failure is not None:
            return self.training.failure
        return self.evaluation.failure if self.evaluation is not None else None

    @property
    def val_bpb(self) -> float | None:
        """The score, or None."""
        return self.evaluation.val_bpb if self.evaluation is not None else None


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


class Escape(Frozen):
    """One escape that was tried in a sandbox when it was chosen."""

    name: str
    held: bool
    """Whether the sandbox stopped it."""
    detail: str = ""
    """What happened, for people: the system's answer, or what was reached."""


class Confinement(Frozen):
    """How the candidate was contained."""

    rung: str
    """``1`` bubblewrap, ``1n`` bubblewrap without /proc, ``2`` Landlock, ``none``."""
    name: str = ""
    """The rung in a word: ``bubblewrap``, ``landlock``, ``none``."""
    features: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Rung and name, such as ``1 bubblewrap``."""
        return self.rung if self.name in ("", self.rung) else f"{self.rung} {self.name}"


class PreflightResult(Frozen):
    """What a dry run of seconds found, before a budget was spent."""

    failure: Reason | None = None
    message: str = ""
    """One sentence that says what happened, for people."""
    log: str = ""
    """Where it failed, the candidate's output, capped; data, never instructions."""
    seconds: float


class InFlight(Frozen):
    """A trial that is being worked on: enough to go on after a kill."""

    schema_version: int = SCHEMA_VERSION
    study: str
    number: int
    parent: str
    """The incumbent's commit when the trial began."""
    commit: str
    """The candidate's commit; the parent's while the proposal is not applied."""
    proposal: Proposal | None = None
    replicates: tuple[Replicate, ...] = ()
    incumbent_replicates: tuple[Replicate, ...] = ()
    """Fresh trainings of the parent, made to judge this trial."""
    set_aside: tuple[Proposal, ...] = ()
    """Ideas that no longer applied when the trial's turn came; what they cost counts."""
    preflight: PreflightResult | None = None
    """Of the commit as it stands; None while it had none."""
    repairs: int = 0
    """How often its proposer mended what a dry run found."""
    is_given_up: bool = False
    """Whether its proposer had no usable answer to what the dry run found."""
    attempts: int = 1
    """How often the trial was begun; 0 while only its idea was asked for, ahead of time."""
    retry_of: int | None = None
    program: str = ""
    """Text of ``program.md`` as its proposer was told it."""
    session: str = ""
    """The Prefect flow run that began it: a retried run counts its own trials by this."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """The session's settings, as JSON: what the replicates so far were measured with."""
    corpus_fingerprint: str = ""
    started_at: datetime


class TrialRecord(Frozen):
    """The record of a finished trial, written once, as the message of its tag object."""

    schema_version: int = SCHEMA_VERSION
    study: str
    number: int
    parent: str
    commit: str
    title: str
    hypothesis: str = ""
    proposer: str
    model: str | None = None
    mode: Mode | None = None
    expected_bpb: float | None = None
    """By how much its proposer expected val_bpb to change; negative is better."""
    prompt_version: str = ""
    program_version: str = ""
    """Of ``program.md`` as its proposer was told it; the text stands in the evidence."""
    suggestions: tuple[int, ...] = ()
    rescue_of: int | None = None
    note: str = ""
    """What else is to be known of how the proposal came about, for people."""
    decision: Decision
    val_bpb: float | None = None
    """Mean over the replicates that were scored."""
    preflight: PreflightResult | None = None
    """The last dry run; None where none was asked for. Without its log."""
    repairs: int = 0
    """How often its proposer mended what a dry run had found."""
    replicates: tuple[Replicate, ...] = ()
    """Without logs and curves: those stand in the evidence."""
    incumbent_replicates: tuple[Replicate, ...] = ()
    """Fresh trainings of the parent, made to judge this trial; they count for every later
    trial with the same parent. Without logs and curves."""
    knobs: dict[str, Any] = Field(default_factory=dict)
    lines_added: int = 0
    lines_removed: int = 0
    cost: ProposalCost = ProposalCost()
    step_seconds: dict[str, float] = Field(default_factory=dict)
    """Wall-clock seconds of each step: propose, startup, train, evaluate, record …"""
    confinement: Confinement
    device: str = ""
    host: str = ""
    corpus: str = ""
    corpus_fingerprint: str = ""
    engine_version: str = ""
    budget_seconds: float = 0.0
    """Training seconds of one replicate; under a token budget their cap."""
    budget_tokens: int | None = None
    """Training tokens of one replicate; None where seconds are counted."""
    retry_of: int | None = None
    session: str = ""
    settings: dict[str, Any] = Field(default_factory=dict)
    """The session's settings, as JSON: what a continued study and a retry start from."""
    log_tail: str = ""
    """The last lines of the output of the replicate that failed."""
    started_at: datetime
    finished_at: datetime

    @property
    def verdict(self) -> Verdict:
        """Short for ``decision.verdict``."""
        return self.decision.verdict

    @property
    def reason(self) -> Reason:
        """Short for ``decision.reason``."""
        return self.decision.reason


class Evidence(Frozen):
    """What belongs to a trial but would make its record heavy; a tree in git."""

    proposal: Proposal
    replicates: tuple[Replicate, ...] = ()
    """With logs and curves."""
    incumbent_replicates: tuple[Replicate, ...] = ()
    """The parent's fresh ones, with logs and curves."""
    program: str = ""
    """``program.md`` as the proposer was told it."""


def utc_now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return datetime.now(UTC)
