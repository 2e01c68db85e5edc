"""Giving a person's word on the keeps of a study: here, and on its remote."""

import platform
from collections.abc import Sequence

from nightlab.errors import StudyBusy, UsageError
from nightlab.ledger.approvals import Word
from nightlab.ledger.documents import to_json
from nightlab.ledger.fetching import fetch_study
from nightlab.ledger.remote import Remote
from nightlab.ledger.store import Ledger
from nightlab.records import Approval, TrialRecord, utc_now

WORDS = ("branch", "approvals")
"""The kinds of refs that a person's word changes."""


def give_word(
    ledger: Ledger, remote: Remote | None, number: int, *, approve: bool
) -> tuple[TrialRecord, ...]:
    """Approve or refuse a keep that waits, while its study's session goes on wherever it runs.

    What it stands on is approved with it, since a branch is a straight line; what stands on a
    refused one stands nowhere any more. Given twice, a word changes nothing.

    Args:
        ledger: the study's.
        remote: where to fetch it from before, and where the word is pushed.
        number: the trial that was kept.
        approve: whether it is wanted.

    Returns:
        The trials that are approved, or not kept any more, by this.

    Raises:
        UsageError: the trial does not wait for a word, or its branch is checked out here.
        RemoteError: the remote did not answer or refused; the word then waits here.
    """
    if remote is not None:
        try:
            fetch_study(ledger.root, ledger.study, remote.where)
        except StudyBusy:  # a session here keeps the rest of the clone as the remote is
            remote.fetch(WORDS)
    record, waiting = ledger.record(number), ledger.waiting()
    given = Approval.APPROVED if approve else Approval.REFUSED
    concerned: Sequence[TrialRecord] = ()
    if record.approval is not given:
        _require_waiting(ledger, record, waiting)
        place = [each.number for each in waiting].index(number)
        concerned = waiting[: place + 1] if approve else waiting[place:]
        _write(ledger, concerned if approve else concerned[:1], approve=approve)
    if remote is not None:
        remote.push(kinds=WORDS)
    return tuple(ledger.record(each.number) for each in concerned)


def _write(ledger: Ledger, records: Sequence[TrialRecord], *, approve: bool) -> None:
    """Write the words and, for an approval, move the branch first: of that it is the truth."""
    word = Word(study=ledger.study, approved=approve, host=platform.node(), said_at=utc_now())
    commands = []
    if approve:
        ledger.require_free_branch()
        commands.append(f"update {ledger.refs.branch} {records[-1].commit} {records[0].parent}")
    for record in records:
        ref = ledger.refs.numbered("approvals", record.number)
        tag = ledger.plumbing.write_tag(ref.removeprefix("refs/"), record.commit, to_json(word))
        commands.append(f"create {ref} {tag}")
    ledger.plumbing.transaction(commands)


def _require_waiting(ledger: Ledger, record: TrialRecord, waiting: Sequence[TrialRecord]) -> None:
    if record.approval is Approval.WAITS:
        return
    numbers = ", ".join(str(each.number) for each in waiting) or "none"
    what = f"has the verdict {record.verdict.value} and needs no word"
    if record.approval is Approval.APPROVED:
        what = (
            f"is approved and on branch {ledger.branch}, which never goes back (`git revert "
            f"{record.commit[:12]}` takes it out of yours)"
        )
    elif record.approval is Approval.REFUSED:
        what = (
            f"was refused (`git cherry-pick {record.commit[:12]}` brings its change all the same)"
        )
    elif record.approval is Approval.STRANDED:
        what = (
            "was kept on top of a change that the study went on without (`nightlab retry "
            f"{ledger.study} {record.number}` tries it on what stands now)"
        )
    raise UsageError(
        f"Trial {record.number} of study {ledger.study!r} {what}; waiting for a word: {numbers}."
    )
