"""The confirmations of a study: baseline and incumbent on fresh seeds and on other text.

    refs/nightlab/<study>/confirmations/<NNNN>   annotated tag on the incumbent's commit

A confirmation's ref is moved forward after every training, until it is finished; so a kill
costs one training at most, and a copy that got further is recognised by its progress.
"""

from datetime import datetime
from typing import Any

from pydantic import Field

from nightlab.errors import LedgerError
from nightlab.ledger.documents import from_json, light, message_of, to_json
from nightlab.ledger.store import Ledger
from nightlab.records import SCHEMA_VERSION, Frozen, Replicate

_KIND = "confirmations"


class ConfirmationRecord(Frozen):
    """What became of a claimed gain on fresh seeds and the holdout split."""

    schema_version: int = SCHEMA_VERSION
    study: str
    number: int
    baseline_commit: str
    incumbent_commit: str
    incumbent_trial: int
    """The trial that made the incumbent."""
    wanted: int
    """Pairs of scored replicates, of one seed each, that it is to rest on."""
    carried: int = 0
    """How many of them an earlier confirmation of the same two codes had made."""
    baseline_replicates: tuple[Replicate, ...] = ()
    """Scored on ``holdout``. Without logs and curves."""
    incumbent_replicates: tuple[Replicate, ...] = ()
    claimed_gain_bpb: float
    """Baseline less incumbent on ``val``, by the trainings that chose the incumbent."""
    gain_bpb: float | None = None
    """Baseline less incumbent on ``holdout``, by trainings that chose nothing."""
    interval_bpb: tuple[float, float] | None = None
    """95 % confidence interval of ``gain_bpb``, valid at every look."""
    evidence: float | None = None
    """The e-value against no gain: how many times the pairs speak for one."""
    holds: bool | None = None
    """Whether the gain is confirmed; None while it is under way."""
    sentence: str = ""
    """What came out, for people."""
    session: str = ""
    settings: dict[str, Any] = Field(default_factory=dict)
    engine_version: str = ""
    started_at: datetime
    finished_at: datetime | None = None


def write_confirmation(ledger: Ledger, record: ConfirmationRecord) -> None:
    """Create or move forward a confirmation.

    Raises:
        LedgerError: it is another study's, or git refuses.
    """
    if record.study != ledger.study:
        raise LedgerError(
            f"The ledger of study {ledger.study!r} was given a confirmation of {record.study!r}."
        )
    record = record.model_copy(
        update={
            "baseline_replicates": tuple(map(light, record.baseline_replicates)),
            "incumbent_replicates": tuple(map(light, record.incumbent_replicates)),
        }
    )
    name = f"nightlab/{ledger.study}/{_KIND}/{record.number:04d}"
    tag = ledger.plumbing.write_tag(name, record.incumbent_commit, to_json(record))
    ledger.plumbing.transaction([f"update refs/{name} {tag}"])


def confirmations(ledger: Ledger) -> tuple[ConfirmationRecord, ...]:
    """All confirmations, in order.

    The last may be under way, and earlier ones unfinished that another engine had begun.

    Raises:
        LedgerError: one is unreadable, or was written by a newer Nightlab.
    """
    return tuple(read_confirmation(tag, ref) for ref, tag in ledger.tags(_KIND))


def read_confirmation(tag: bytes, where: str) -> ConfirmationRecord:
    """Read one from its tag object."""
    return from_json(ConfirmationRecord, message_of(tag), where)


def progress(record: ConfirmationRecord) -> tuple[bool, int]:
    """How far a confirmation is; of two copies the greater one is the later."""
    trained = len(record.baseline_replicates) + len(record.incumbent_replicates)
    return record.finished_at is not None, trained
