"""A person's word on kept changes: until it is given they wait beside the study's branch.

    refs/heads/nightlab/<study>               the last approved keep
    refs/nightlab/<study>/trials/<NNNN>       a keep that waits: its record says so
    refs/nightlab/<study>/approvals/<NNNN>    annotated tag on its commit: the word, written once

The study's incumbent is the last of the keeps that wait one on top of the other, the first of them
on the branch. It has no ref of its own, so a word that takes it back has nothing to move: what
stands on a refused keep stands nowhere any more. Of an approval the branch is the truth, which
moves with it in one transaction and never goes back.
"""

from collections.abc import Sequence
from datetime import datetime

from nightlab.ledger.documents import from_json, message_of
from nightlab.ledger.names import StudyRefs, number_of
from nightlab.ledger.plumbing import Plumbing
from nightlab.records import (
    SCHEMA_VERSION,
    Approval,
    Frozen,
    Reason,
    TrialRecord,
    Verdict,
)


class Word(Frozen):
    """What a person said of a keep that waited."""

    schema_version: int = SCHEMA_VERSION
    study: str
    approved: bool
    host: str
    """Where it was said."""
    said_at: datetime

    def sentence(self) -> str:
        """For people."""
        verb = "Approved" if self.approved else "Refused"
        return f"{verb} on {self.host} at {self.said_at:%Y-%m-%d %H:%M:%S %Z}."


def read_word(tag: bytes, where: str) -> Word:
    """Read one from its tag object."""
    return from_json(Word, message_of(tag), where)


def needs_word(record: TrialRecord) -> bool:
    """Whether a record, as written, is of a keep that a person is to approve."""
    return record.verdict is Verdict.KEEP and record.approval is not None


def waiting_chain(records: Sequence[TrialRecord], head: str | None) -> tuple[TrialRecord, ...]:
    """The keeps that wait one on top of the other.

    Of two on the same commit, which two machines kept without seeing each other, the first counts.

    Args:
        records: those that may wait, in order.
        head: where the branch stands.
    """
    on = {record.parent: record for record in reversed(records)}
    chain = []
    while head is not None and (record := on.pop(head, None)) is not None:
        chain.append(record)
        head = record.commit
    return tuple(chain)


def as_approved(
    plumbing: Plumbing, refs: StudyRefs, records: tuple[TrialRecord, ...]
) -> tuple[TrialRecord, ...]:
    """Records as they are to be read, once it is known what became of the keeps among them.

    Args:
        plumbing: the repository.
        refs: the study.
        records: all of it, as written, in order.
    """
    if not any(map(needs_word, records)):
        return records
    found = plumbing.refs(refs.branch, f"{refs.root}/approvals")
    head = found.pop(refs.branch, None)
    tags = plumbing.contents(list(found.values()))
    words = {number_of(ref): read_word(tag, ref) for ref, tag in zip(found, tags, strict=True)}
    if head is not None:
        approved = set(plumbing.line("rev-list", head, "--not", records[0].parent).split())
    else:  # removed by hand: where it stood is known by the words
        yes = {number for number, word in words.items() if word.approved}
        approved = {record.commit for record in records if record.number in yes}
    refused = {number for number, word in words.items() if not word.approved}
    open_ones = [
        record
        for record in records
        if needs_word(record) and record.commit not in approved and record.number not in refused
    ]
    waiting = {record.number for record in waiting_chain(open_ones, head)}

    def read(record: TrialRecord) -> TrialRecord:
        if not needs_word(record) or record.number in waiting:
            return record
        if record.commit in approved:
            return record.model_copy(update={"approval": Approval.APPROVED})
        if record.number in refused:
            return _refused(record, words[record.number])
        return _stranded(record)

    return tuple(map(read, records))


def _refused(record: TrialRecord, word: Word) -> TrialRecord:
    said = f"{word.sentence()} It was said: {record.decision.sentence}"
    update = {"verdict": Verdict.DISCARD, "reason": Reason.REFUSED, "sentence": said}
    decision = record.decision.model_copy(update=update)
    return record.model_copy(update={"decision": decision, "approval": Approval.REFUSED})


def _stranded(record: TrialRecord) -> TrialRecord:
    """What was built on a refused keep was never compared with what stands instead."""
    sentence = (
        "Kept on top of a change that the study went on without: "
        f"`nightlab retry {record.study} {record.number}` tries it on what stands now. "
        f"It was said: {record.decision.sentence}"
    )
    update = {"verdict": Verdict.FAILED, "reason": Reason.INTERRUPTED, "sentence": sentence}
    decision = record.decision.model_copy(update=update)
    return record.model_copy(
        update={"decision": decision, "approval": Approval.STRANDED, "val_bpb": None}
    )
