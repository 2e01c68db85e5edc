"""Keeps that wait for a person's word: here, after a kill, in two clones and a bare remote."""

import itertools

import pytest

from nightlab.errors import RemoteError, UsageError
from nightlab.ledger import Ledger, Remote, give_word, hold_session, study_summary
from nightlab.records import Approval, Reason, Verdict

WAITS = {"verdict": Verdict.KEEP, "approval": Approval.WAITS}


@pytest.fixture
def begun(ledger, make):
    """A study with a baseline, and three keeps that wait one on top of the other."""
    ledger.create()
    make.trial(ledger, Verdict.KEEP)
    for _ in range(3):
        make.trial(ledger, **WAITS)
    return ledger


@pytest.fixture
def remote(root, remote_address, begun):
    there = Remote(root, "origin", begun.study)
    there.push()
    return there


@pytest.fixture
def desk(second_root, remote):
    return Ledger(second_root, "first-light")


@pytest.fixture
def desk_remote(second_root, remote):
    return Remote(second_root, "origin", "first-light")


def head(ledger):
    return ledger.plumbing.resolve(ledger.refs.branch)


def commits(ledger):
    return [record.commit for record in ledger.records()]


def states(ledger):
    return [(each.verdict.value, each.approval) for each in ledger.records()]


def test_what_waits_is_the_incumbent_and_not_on_the_branch(begun, root, check_health):
    before, *waiting = commits(begun)
    assert head(begun) == before
    assert begun.incumbent() == waiting[-1] == study_summary(begun).incumbent_commit
    assert [each.number for each in begun.waiting()] == [1, 2, 3]
    with hold_session(begun, None, "another session", quiet_seconds=0.0) as session:
        assert session.recovery.moved_to is None
    assert head(begun) == before
    check_health(root)


def test_an_approval_brings_what_it_stands_on(begun, root, check_health):
    approved = give_word(begun, None, 2, approve=True)
    assert [each.number for each in approved] == [1, 2]
    assert {each.approval for each in approved} == {Approval.APPROVED}
    assert head(begun) == commits(begun)[2]
    assert [each.number for each in begun.waiting()] == [3]
    assert begun.incumbent() == commits(begun)[3]
    assert give_word(begun, None, 1, approve=True) == ()
    check_health(root)


def test_a_refusal_takes_the_study_back(begun, make, root, check_health):
    before = head(begun)
    gone = give_word(begun, None, 2, approve=False)
    assert [each.number for each in gone] == [2, 3]
    assert [each.reason for each in gone] == [Reason.REFUSED, Reason.INTERRUPTED]
    assert states(begun)[1:] == [
        ("keep", Approval.WAITS),
        ("discard", Approval.REFUSED),
        ("failed", Approval.STRANDED),
    ]
    assert head(begun) == before
    assert begun.incumbent() == commits(begun)[1]
    assert give_word(begun, None, 2, approve=False) == ()
    make.trial(begun, **WAITS)
    assert [each.number for each in begun.waiting()] == [1, 4]
    give_word(begun, None, 4, approve=True)
    assert head(begun) == commits(begun)[4]
    check_health(root)


def test_what_was_built_on_a_keep_while_it_was_refused_is_recorded(begun, make):
    parent = begun.incumbent()
    commit = begun.write_candidate(parent, "DEPTH = 9\n", "Deeper")
    begun.mark(make.mark(4, parent, commit))
    give_word(begun, None, 1, approve=False)
    record = make.record(4, parent, commit, **WAITS)
    begun.finish(record, make.evidence())
    assert states(begun)[4] == ("failed", Approval.STRANDED)
    assert begun.record(4) == begun.records()[4]
    assert begun.incumbent() == head(begun)


def test_of_one_without_a_word_to_give_the_sentence_says_what_can_be_done(begun, make):
    make.trial(begun)
    give_word(begun, None, 1, approve=True)
    give_word(begun, None, 2, approve=False)
    for number, approve, said in (
        (0, True, r"verdict keep and needs no word; waiting for a word: none\."),
        (4, True, "verdict discard and needs no word"),
        (1, False, "is approved and on branch nightlab/first-light, which never .*git revert"),
        (2, True, "was refused .*git cherry-pick"),
        (3, True, "went on without .`nightlab retry first-light 3`"),
        (9, True, "no record of a trial 9"),
    ):
        with pytest.raises(UsageError, match=said):
            give_word(begun, None, number, approve=approve)


def test_a_branch_that_is_checked_out_is_not_moved(begun, root, git):
    git(root, "switch", "-q", begun.branch)
    with pytest.raises(UsageError, match="needs to be free to move"):
        give_word(begun, None, 1, approve=True)
    assert len(begun.waiting()) == 3


@pytest.mark.parametrize("applied", range(4))
def test_every_first_part_of_an_approval_can_be_gone_on_from(begun, root, applied, check_health):
    order = [begun.refs.branch, *(begun.refs.numbered("approvals", each) for each in (1, 2))]
    before = begun.plumbing.refs(*order)
    give_word(begun, None, 2, approve=True)
    undo(begun, order[applied:], before)
    with hold_session(begun, None, "the next session", quiet_seconds=0.0):
        pass
    assert head(begun) == commits(begun)[2 if applied else 0]
    assert give_word(begun, None, 3, approve=True)
    assert head(begun) == commits(begun)[3]
    assert states(begun)[1:] == [("keep", Approval.APPROVED)] * 3
    check_health(root)


@pytest.mark.parametrize("applied", range(4))
def test_every_first_part_of_a_keep_that_waits_is_mended(begun, make, applied):
    parent, before = begun.incumbent(), head(begun)
    commit = begun.write_candidate(parent, "DEPTH = 9\n", "Deeper")
    begun.mark(make.mark(4, parent, commit))
    order = [begun.refs.evidence(4), begun.refs.trial(4), begun.refs.inflight(4)]
    standing = begun.plumbing.refs(*order)
    begun.finish(make.record(4, parent, commit, **WAITS), make.evidence())
    undo(begun, order[applied:], standing)
    with hold_session(begun, None, "the next session", quiet_seconds=0.0):
        pass
    assert head(begun) == before
    assert begun.incumbent() == (commit if applied >= 2 else parent)
    assert [mark.number for mark in begun.marks()] == ([] if applied >= 2 else [4])


def undo(ledger, refs, before):
    """Leave refs, and their locks, as a git that was killed before it came to them."""
    for ref in refs:
        old = before.get(ref)
        ledger.plumbing.transaction([f"update {ref} {old}" if old else f"delete {ref}"])
        lock = ledger.plumbing.common_directory / f"{ref}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.write_text("")


def test_a_branch_that_is_gone_comes_back_with_what_was_approved(begun, git, root):
    give_word(begun, None, 2, approve=True)
    git(root, "branch", "-D", begun.branch)
    with pytest.raises(UsageError, match=commits(begun)[2][:12]):
        begun.require_branch_of_records()


def test_a_word_at_the_desk_reaches_a_session_at_work(
    begun, remote, desk, desk_remote, make, remote_address, git
):
    with hold_session(begun, remote, "the worker") as session:
        give_word(desk, desk_remote, 1, approve=True)
        assert git(remote_address, "rev-parse", begun.branch) == commits(begun)[1]
        make.trial(begun, **WAITS)  # the worker has not heard yet
        session.push()
        assert git(remote_address, "rev-parse", begun.branch) == commits(begun)[1]
        remote.fetch(("suggestions", "branch", "approvals"))
        assert [each.number for each in begun.waiting()] == [2, 3, 4]
        give_word(desk, desk_remote, 3, approve=False)
        remote.fetch(("suggestions", "branch", "approvals"))
        assert begun.incumbent() == commits(begun)[2]
        make.trial(begun, **WAITS)
        session.push()
    desk_remote.fetch()
    assert states(desk) == states(begun)
    assert [each.number for each in desk.waiting()] == [2, 5]


def test_of_two_words_on_one_keep_the_first_counts(begun, remote, desk, desk_remote):
    desk_remote.fetch()
    give_word(begun, remote, 1, approve=False)
    with pytest.raises(UsageError, match="was refused"):
        give_word(desk, desk_remote, 1, approve=True)
    assert head(desk) == commits(desk)[0]


@pytest.mark.parametrize("first", [True, False])
def test_an_approval_and_a_refusal_that_cross_are_an_approval(
    begun, remote, desk, desk_remote, first
):
    """Each was given without the remote: what is on a branch is approved, in every clone."""
    desk_remote.fetch()
    give_word(begun, None, 2, approve=first)
    give_word(desk, None, 2, approve=not first)
    for one in (remote, desk_remote, remote):
        one.fetch()
        one.push()
    remote.fetch()
    assert states(begun) == states(desk)
    assert states(begun)[2] == ("keep", Approval.APPROVED)
    assert begun.incumbent() == commits(begun)[3]


def test_two_machines_that_kept_apart_wait_for_one_word_each(
    begun, remote, desk, desk_remote, make
):
    """The one that was pushed first stands; if it is refused, the other one does."""
    desk_remote.fetch()
    make.trial(begun, title="Ours, discarded")
    make.trial(begun, title="Ours", **WAITS)
    make.trial(begun, title="Ours again", **WAITS)
    make.trial(desk, title="Theirs", **WAITS)
    desk_remote.push()
    remote.fetch()
    titles = [each.title for each in begun.records()[4:]]
    assert titles == ["Theirs", "Ours, discarded", "Ours", "Ours again"]
    assert [each.number for each in begun.waiting()] == [1, 2, 3, 4]
    give_word(begun, remote, 4, approve=False)
    assert [each.number for each in begun.waiting()] == [1, 2, 3, 6, 7]
    remote.push()
    desk_remote.fetch()
    assert states(desk) == states(begun)


def test_a_word_moves_with_the_trial_that_it_is_on(begun, remote, desk, desk_remote, make):
    desk_remote.fetch()
    make.trial(begun, title="Ours", **WAITS)
    give_word(begun, None, 4, approve=False)
    make.trial(desk, title="Theirs", **WAITS)
    desk_remote.push()
    remote.fetch()
    assert [(each.title, each.approval) for each in begun.records()[4:]] == [
        ("Theirs", Approval.WAITS),
        ("Ours", Approval.REFUSED),
    ]


def test_a_remote_that_refuses_leaves_the_word_here(begun, remote, remote_address):
    hook = remote_address / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(RemoteError, match="the next push sends it"):
        give_word(begun, remote, 1, approve=True)
    hook.unlink()
    assert give_word(begun, remote, 1, approve=True) == ()
    assert remote.study_refs()[begun.refs.branch] == head(begun) == commits(begun)[1]


def test_a_study_without_approvals_has_none(ledger, make):
    ledger.create()
    records = [make.trial(ledger, Verdict.KEEP) for _ in range(3)]
    assert {each.approval for each in ledger.records()} == {None}
    assert all(a.commit == b.parent for a, b in itertools.pairwise(records))
    assert head(ledger) == ledger.incumbent() == records[-1].commit
    assert ledger.waiting() == ()
