"""A trial: while it is under way, once it is finished, and what else it leaves."""

from datetime import datetime
from typing import Any

from pydantic import Field

from nightlab.records.base import SCHEMA_VERSION, Frozen
from nightlab.records.measurements import Confinement, PreflightResult, Replicate
from nightlab.records.proposals import Mode, Proposal, ProposalCost, SuggestionName
from nightlab.records.verdicts import Approval, Decision, Reason, Verdict

WAITING = "waits for approval"


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
    """The Prefect flow run that has it in hand: a retried run counts its own trials by this."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """The session's settings, as JSON: what the replicates so far were measured with."""
    corpus_fingerprint: str = ""
    started_at: datetime
    """When the session that has it in hand began it; before that, when its idea was asked for."""


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
    suggestions: tuple[SuggestionName, ...] = ()
    rescue_of: int | None = None
    note: str = ""
    """What else is to be known of how the proposal came about, for people."""
    decision: Decision
    val_bpb: float | None = None
    """The baseline's mean score and the chain of pair differences up to this trial, so that what
    is lower was found better. Of trials without pairs None; in studies from before pairs the mean
    of the trial's own trainings."""
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
    approval: Approval | None = None
    """Written as ``waits`` for a keep that needs a person's word, and read as what became of it."""
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

    @property
    def reason_text(self) -> str:
        """The reason for tables of people, who are told first of all what waits for them."""
        return WAITING if self.approval is Approval.WAITS else self.reason.value


class Evidence(Frozen):
    """What belongs to a trial but would make its record heavy; a tree in git."""

    proposal: Proposal
    replicates: tuple[Replicate, ...] = ()
    """With logs and curves."""
    incumbent_replicates: tuple[Replicate, ...] = ()
    """The parent's fresh ones, with logs and curves."""
    program: str = ""
    """``program.md`` as the proposer was told it."""
