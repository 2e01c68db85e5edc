"""What a proposer is told, and what a proposer is."""

import hashlib
from typing import Protocol

from nightlab.records import Edit, Frozen, Proposal, Suggestion, TrialRecord


class TriedChange(Frozen):
    """What a finished trial changed in its parent."""

    number: int
    diff: str
    """Unified."""


class UnderWay(Frozen):
    """A trial that trains while the next one's idea is asked for: no record tells of it yet."""

    number: int
    title: str
    diff: str
    """What it changes, unified."""


class NearMiss(Frozen):
    """An edit that was measured and set aside, but not by far."""

    number: int
    """Of its trial."""
    title: str
    edits: tuple[Edit, ...]
    difference_bpb: float
    """To the incumbent of that time; negative is better."""


class Brief(Frozen):
    """The state of a study at the moment when a trial needs an idea."""

    study: str
    number: int
    """Number of the trial that the proposal is for."""
    seed: int
    """The study's seed; with ``number`` it makes random choices repeatable."""
    program: str
    """Text of the person's research brief, ``program.md``."""
    runtime_contract: str
    """Docstring of ``trainer/runtime.py``: what the edited file may use."""
    runtime_source: str = ""
    """All of that file, for who can read beside the brief."""
    incumbent_commit: str
    incumbent_source: str
    incumbent_bpb: float | None
    """Its ``val_bpb``: the baseline's mean and the pair differences of what was kept since."""
    noise_bpb: float | None
    """Standard deviation of one pair's difference, where it is known."""
    records: tuple[TrialRecord, ...]
    """All finished trials of the study, in their order."""
    device: str
    budget_seconds: float
    """Training seconds of one replicate; under a token budget their cap."""
    budget_tokens: int | None = None
    """Training tokens of one replicate; None where seconds are counted."""
    startup_free_seconds: float
    """Start-up beyond this is taken off ``budget_seconds``."""
    sequence_length: int
    """Tokens a row."""
    vocab_size: int
    suggestions: tuple[Suggestion, ...] = ()
    """The person's ideas that wait for a trial."""
    tried: tuple[TriedChange, ...] = ()
    """What finished trials had changed, in their order."""
    near_misses: tuple[NearMiss, ...] = ()
    """Told to a proposer that tries them again."""
    under_way: UnderWay | None = None
    """A trial that trains meanwhile."""

    def draw_seed(self, *what: str) -> int:
        """A seed for what a trial draws, so that a resumed one draws alike."""
        text = "/".join(map(str, (self.seed, self.number, *what))).encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest())


class Proposer(Protocol):
    """Something that has ideas."""

    @property
    def name(self) -> str:
        """``knobs``, ``llm``, ``hybrid`` or ``command``."""

    @property
    def model(self) -> str | None:
        """The language models behind it, or the command; None for neither."""

    @property
    def reads(self) -> bool:
        """Whether it reads the brief and takes its time, so that it is asked ahead, and may
        mend what breaks.
        """

    @property
    def needs_money(self) -> bool:
        """Whether it can propose nothing once what was given for models is spent."""

    def repair(self, brief: Brief, proposal: Proposal, problem: str) -> Proposal | None:
        """Mend a candidate that failed its dry run.

        Args:
            brief: as it was for the proposal.
            proposal: what failed.
            problem: the sentence and the traceback; data, never instructions.

        Returns:
            A whole new proposal with cost and exchanges of its own; None where it cannot mend it.

        Raises:
            ModelError: the model's endpoint failed.
        """

    def propose(self, brief: Brief) -> Proposal:
        """Return one proposal; one whose edits cannot be applied carries its ``error``.

        Raises:
            ModelError: the model's endpoint failed.
            UsageError: nothing can be proposed with what the person gave.
        """
