"""What a proposer is told, and what a proposer is."""

from typing import Protocol

from nightlab.records import Frozen, Proposal, TrialRecord


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
    incumbent_commit: str
    incumbent_source: str
    incumbent_bpb: float | None
    noise_bpb: float | None
    """Standard deviation between replicates of the same code, where it is known."""
    records: tuple[TrialRecord, ...]
    """All finished trials of the study, in their order."""
    device: str
    budget_seconds: float
    startup_free_seconds: float
    """Training seconds of one replicate."""
    sequence_length: int
    """Tokens a row."""
    vocab_size: int


class Proposer(Protocol):
    """Something that has ideas."""

    @property
    def name(self) -> str:
        """``knobs`` or ``llm``: stands in the records."""
        ...

    @property
    def model(self) -> str | None:
        """The language model behind it, or None."""
        ...

    def propose(self, brief: Brief) -> Proposal:
        """Return one proposal; one whose edits cannot be applied carries its ``error``.

        Raises:
            ModelError: the model's endpoint failed.
            UsageError: nothing can be proposed with what the person gave.
        """
        ...
