"""The consolidations of a study: which kept changes its incumbent could do without.

    refs/nightlab/<study>/consolidations/<NNNN>   annotated tag on the incumbent's commit, or on
                                                  the one that is offered in its place
    refs/heads/nightlab/<study>-consolidated      that commit, for people

A consolidation's ref is moved forward after every round of trainings, until it is finished; so a
kill costs one round at most, and a copy that got further is recognised by its progress. The branch
is made from the record of a finished one, which therefore carries its commit to other clones.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from nightlab.errors import LedgerError
from nightlab.judging.consolidating import MOST_PAIRS, Outcome
from nightlab.ledger.documents import from_json, light, message_of, to_json
from nightlab.ledger.names import BRANCHES, StudyRefs
from nightlab.ledger.store import Ledger
from nightlab.records import SCHEMA_VERSION, Frozen, Replicate

_KIND = "consolidations"


class LeftOut(Frozen):
    """One kept change, and the incumbent without it."""

    trial: int
    """The trial that it was kept in."""
    commit: str
    """Of that trial."""
    parent: str
    title: str
    saves_code: bool = False
    """Whether it made the code clearly less."""
    replicates: tuple[Replicate, ...] = ()
    """Of the incumbent without the change, scored on ``val``. Without logs and curves."""
    outcome: Outcome | None = None
    """None while another pair is to tell."""
    sentence: str = ""
    """What came out, for people."""
    difference_bpb: float | None = None
    """Mean difference of the fresh pairs, with the change less without it; negative where the
    change helps."""
    interval_bpb: tuple[float, float] | None = None
    """95 % credible interval of the difference, by these pairs and those that it was kept by."""
    probability_helps: float | None = None
    """Likewise, 0 to 1."""


class Together(Frozen):
    """The incumbent without all passengers that could be taken out."""

    trials: tuple[int, ...]
    """Whose changes are out, in the order in which they were taken out."""
    left_in: tuple[int, ...] = ()
    """Passengers that could not be taken out beside the others."""
    replicates: tuple[Replicate, ...] = ()
    """Scored on ``val``. Without logs and curves."""
    holds: bool | None = None
    """Whether this code can be offered; None while another pair is to tell."""
    sentence: str = ""
    """What came out, for people."""
    difference_bpb: float | None = None
    """Mean difference of the pairs, without the passengers less with them; negative is better."""
    probability_no_worse: float | None = None
    """Of being worse by one pair's noise at most."""


class ConsolidationRecord(Frozen):
    """What became of an incumbent's kept changes when each was left out."""

    schema_version: int = SCHEMA_VERSION
    study: str
    number: int
    incumbent_commit: str
    incumbent_trial: int
    place: str
    """Where all of its trainings are made: only those make pairs."""
    most_pairs: int = MOST_PAIRS
    """Of one code, after which a change is left undecided."""
    changes: tuple[LeftOut, ...]
    incumbent_replicates: tuple[Replicate, ...] = ()
    """One for each seed, shared by all that is paired with it; scored on ``val``."""
    together: Together | None = None
    consolidated_commit: str | None = None
    """The code that is offered; None where nothing is."""
    sentence: str = ""
    """What came out, for people."""
    session: str = ""
    settings: dict[str, Any] = Field(default_factory=dict)
    engine_version: str = ""
    started_at: datetime
    finished_at: datetime | None = None

    @property
    def progress(self) -> tuple[bool, int, int, bool]:
        """How far it is; of two copies the greater one is the later."""
        trained = len(self.incumbent_replicates) + sum(len(c.replicates) for c in self.changes)
        together = len(self.together.replicates) if self.together is not None else 0
        finished, settled = self.finished_at is not None, self.together is not None
        return finished, trained + together, self.most_pairs, settled


def write_consolidation(ledger: Ledger, record: ConsolidationRecord) -> None:
    """Create or move forward a consolidation.

    Raises:
        LedgerError: it is another study's, or git refuses.
    """
    if record.study != ledger.study:
        raise LedgerError(
            f"The ledger of study {ledger.study!r} was given a consolidation of {record.study!r}."
        )
    name = f"nightlab/{ledger.study}/{_KIND}/{record.number:04d}"
    commit = record.consolidated_commit or record.incumbent_commit
    tag = ledger.plumbing.write_tag(name, commit, to_json(_without_bulk(record)))
    ledger.plumbing.transaction([f"update refs/{name} {tag}"])


def consolidations(ledger: Ledger) -> tuple[ConsolidationRecord, ...]:
    """All consolidations, in order.

    Raises:
        LedgerError: one is unreadable, or was written by a newer Nightlab.
    """
    return tuple(read_consolidation(tag, ref) for ref, tag in ledger.tags(_KIND))


def read_consolidation(tag: bytes, where: str) -> ConsolidationRecord:
    """Read one from its tag object."""
    return from_json(ConsolidationRecord, message_of(tag), where)


def offered_commits(ledger: Ledger) -> tuple[str, ...]:
    """All commits that consolidations of the study have offered: the branch may leave these."""
    commits = (record.consolidated_commit for record in consolidations(ledger))
    return tuple(commit for commit in commits if commit is not None)


def offer_branch(ledger: Ledger, commit: str) -> str | None:
    """Let the branch of the consolidated code stand at a commit.

    A branch that a person made, or that a study was begun on, is left as it is.

    Returns:
        Why it does not stand there, as a sentence; None where it does.
    """
    refs, plumbing = ledger.refs, ledger.plumbing
    branch = refs.consolidated.removeprefix("refs/heads/")
    standing = plumbing.resolve(refs.consolidated)
    if standing == commit:
        return None
    where = plumbing.line("for-each-ref", "--format=%(worktreepath)", refs.consolidated)
    begun = plumbing.refs(StudyRefs(refs.consolidated.removeprefix(BRANCHES)).root)
    if begun or standing not in (None, *offered_commits(ledger)):
        what = "was not made by a consolidation of this study, or went on since"
    elif where:
        what = f"is checked out in {Path(where)}"
    else:
        verb = "create" if standing is None else "update"
        plumbing.transaction([f"{verb} {refs.consolidated} {commit}"])
        return None
    return (
        f"Branch {branch} {what}, so it stays as it is: `git branch NAME {commit[:12]}` gives the "
        "consolidated code another name."
    )


def _without_bulk(record: ConsolidationRecord) -> ConsolidationRecord:
    """The record without logs and curves."""
    changes = tuple(
        each.model_copy(update={"replicates": tuple(map(light, each.replicates))})
        for each in record.changes
    )
    together = record.together
    if together is not None:
        together = together.model_copy(
            update={"replicates": tuple(map(light, together.replicates))}
        )
    return record.model_copy(
        update={
            "changes": changes,
            "incumbent_replicates": tuple(map(light, record.incumbent_replicates)),
            "together": together,
        }
    )
