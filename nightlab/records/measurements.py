"""What was measured of a candidate, and how it was contained meanwhile."""

from datetime import datetime
from typing import ClassVar, Literal

from nightlab.records.base import Frozen
from nightlab.records.counting import counted
from nightlab.records.verdicts import Reason


class CurvePoint(Frozen):
    """One point of a training curve, as the candidate reported it; informative only."""

    seconds: float
    """Since the gate, on the study's clock, when the report came."""
    step: int
    loss: float | None
    learning_rate: float | None = None
    tokens: int | None = None


class Forecast(Frozen):
    """Why pruning stopped a training, or would have: see nightlab/training/pruning.py."""

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


class OtherWork(Frozen):
    """What else there was on a GPU when a training started on it."""

    processes: int
    """Others that computed there; 0 where the driver shows none, as in a container."""
    memory_mb: float | None
    """What was taken of its memory; None where the driver does not tell."""
    utilization_percent: float | None = None
    """For how much of the moment before it computed."""

    @property
    def sentence(self) -> str:
        """What there was, for people."""
        who = {0: "other work", 1: "another process"}.get(
            self.processes, f"{self.processes} other processes"
        )
        share = "part" if self.memory_mb is None else f"{self.memory_mb / 1024:.1f} GB"
        busy = "" if not self.utilization_percent else f", {self.utilization_percent:.0f} % busy"
        return f"{who} used {share} of this GPU when the training started{busy}"


class TrainingResult(Frozen):
    """One training of a candidate with one seed, seen from the host."""

    retired: ClassVar[frozenset[str]] = frozenset({"slowest_quarter"})

    failure: Reason | None = None
    """None when a complete checkpoint stood in time; ``pruned`` where the engine stopped it."""
    message: str = ""
    """One sentence that says what happened, for people."""
    started_at: datetime | None = None
    """When it had its lane; None in records from before it was kept."""
    clock: Literal["wall", "processor"] = "wall"
    """What its seconds are: of the wall clock, or of the processors."""
    startup_seconds: float | None = None
    charged_seconds: float | None = None
    """Start-up beyond its free part, taken off the training budget."""
    training_seconds: float | None = None
    """By the study's clock: processor seconds on a CPU, of the wall clock on a GPU."""
    wall_seconds: float | None = None
    """From the gate to the end, by the wall clock."""
    num_steps: int | None = None
    num_tokens: int | None = None
    num_params: int | None = None
    final_loss: float | None = None
    tokens_per_second: float | None = None
    peak_memory_mb: float | None = None
    other_work: OtherWork | None = None
    """What else there was on its GPU; None where there was nothing, and on a CPU."""
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

    @property
    def sentence(self) -> str:
        """What it came to, for people."""
        if self.failure is not None:
            return f"{self.failure.value}: {self.message}"
        steps = "" if self.num_steps is None else counted(self.num_steps, "step")
        seconds = "" if self.training_seconds is None else f"{self.training_seconds:.0f} s"
        return " in ".join(filter(None, (steps, seconds))) or "trained"


class Answering(Frozen):
    """Seconds of the candidate's own code in the sandboxes of an evaluation, loading included."""

    clock: Literal["wall", "processor"] = "wall"
    """What they are: of the wall clock, or of the processors."""
    claims: float | None = None
    """In the one that claimed a loss for every token."""
    audit: float | None = None
    """In the one that answered in secret positions; the longest, where there were several."""
    repeats: float | None = None
    """In the one that was asked some of the same again, likewise."""


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
    answering: Answering | None = None
    """How long the candidate's own code took; None in records from before it was measured."""
    num_tokens: int | None = None
    num_bytes: int | None = None
    seconds: float | None = None
    log: str = ""

    @property
    def sentence(self) -> str:
        """What it came to, for people."""
        if self.failure is not None:
            return f"{self.failure.value}: {self.message}"
        return "not scored" if self.val_bpb is None else f"{self.val_bpb:.4f} bits per byte"


class Replicate(Frozen):
    """One training with one seed, and its evaluation if there was a checkpoint."""

    retired: ClassVar[frozenset[str]] = frozenset(
        {"contended", "outdated", "precedes_change", "turn"}
    )

    seed: int
    training: TrainingResult
    evaluation: Evaluation | None = None
    place: str = ""
    """Machine, device and engine together: only trainings of one place make a pair."""

    @property
    def failure(self) -> Reason | None:
        """The first thing that went wrong, or None."""
        if self.training.failure is not None:
            return self.training.failure
        return self.evaluation.failure if self.evaluation is not None else None

    @property
    def failure_message(self) -> str:
        """The sentence on what went wrong first; empty where nothing did."""
        if self.training.failure is not None or self.evaluation is None:
            return self.training.message
        return self.evaluation.message

    @property
    def sentence(self) -> str:
        """What it came to, for people."""
        if self.evaluation is None:
            return self.training.sentence
        return self.evaluation.sentence

    @property
    def val_bpb(self) -> float | None:
        """The score, or None."""
        return self.evaluation.val_bpb if self.evaluation is not None else None


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
    def jobs_share_files(self) -> bool:
        """Whether jobs see the same files on a disk, in which one can leave word for the next."""
        return self.rung not in ("1", "1n")

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
