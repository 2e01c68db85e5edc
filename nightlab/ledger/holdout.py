"""The uses of the holdout split, each written down in git before its score is told.

    refs/nightlab/<study>/holdout/<NNNN>   annotated tag on the commit that was scored

The split never chooses: a score that was looked at a hundred times is no longer a holdout
score. So every look counts, even one that failed, and a study says how many there were.
"""

from datetime import datetime

from nightlab.errors import LedgerError
from nightlab.ledger.documents import from_json, message_of, to_json
from nightlab.ledger.names import number_of
from nightlab.ledger.store import Ledger
from nightlab.records import SCHEMA_VERSION, Evaluation, Frozen

_KIND = "holdout"


class HoldoutUse(Frozen):
    """One scoring of a candidate on the holdout split."""

    schema_version: int = SCHEMA_VERSION
    study: str
    commit: str
    trial: int | None = None
    """The trial whose candidate it was, if one's."""
    seed: int
    """Of the training that was scored."""
    session: str
    """Who asked."""
    evaluation: Evaluation
    used_at: datetime


def record_holdout_use(ledger: Ledger, use: HoldoutUse) -> int:
    """Write a use down under the next number, and return that number.

    Raises:
        LedgerError: it is another study's, or git refuses; then the score must not be told.
    """
    if use.study != ledger.study:
        raise LedgerError(
            f"The ledger of study {ledger.study!r} was given a use of the holdout split by study "
            f"{use.study!r}."
        )
    taken = [number_of(ref) for ref in ledger.plumbing.refs(f"{ledger.refs.root}/{_KIND}")]
    number = max(taken, default=-1) + 1
    light = use.model_copy(update={"evaluation": use.evaluation.model_copy(update={"log": ""})})
    name = f"nightlab/{ledger.study}/{_KIND}/{number:04d}"
    tag = ledger.plumbing.write_tag(name, use.commit, to_json(light))
    ledger.plumbing.transaction([f"create refs/{name} {tag}"])
    return number


def holdout_uses(ledger: Ledger) -> tuple[HoldoutUse, ...]:
    """Every use so far, in order.

    Raises:
        LedgerError: one is unreadable, or was written by a newer Nightlab.
    """
    return tuple(from_json(HoldoutUse, message_of(tag), ref) for ref, tag in ledger.tags(_KIND))
