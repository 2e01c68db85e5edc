"""A trained model that is kept: what stands beside its weights, as ``config.json``."""

from pydantic import Field

from nightlab.records.base import SCHEMA_VERSION, Frozen
from nightlab.records.verdicts import Reason


class KeptModel(Frozen):
    """The best replicate of a kept trial."""

    schema_version: int = SCHEMA_VERSION
    study: str
    trial: int
    title: str
    reason: Reason
    """``baseline`` of the model that the others are compared with."""
    commit: str = Field(pattern="^[0-9a-f]{40,64}$")
    """Of the code that builds it."""
    seed: int
    """Of the training that made it."""
    replicate_bpb: float | None
    """What this very training scored; the best of its trial has luck in it."""
    study_bpb: float | None
    """The trial's score beside those of the study's others."""
    baseline_bpb: float | None
    """The baseline's."""
    vocab_size: int
    sequence_length: int
    """Longest input, in tokens."""
    num_params: int | None
    corpus: str
    corpus_fingerprint: str
    engine_version: str

    @property
    def is_baseline(self) -> bool:
        """Whether it is the study's baseline."""
        return self.reason is Reason.BASELINE

    @property
    def label(self) -> str:
        """Which it is, for people."""
        score = "" if self.study_bpb is None else f", {self.study_bpb:.4f} bpb"
        return f"trial {self.trial}, {self.title}{score}"
