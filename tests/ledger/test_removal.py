"""A study's refs, counted and removed."""

import pytest

from nightlab.errors import RemoteError, StudyBusy, UsageError
from nightlab.ledger import (
    ConsolidationRecord,
    Ledger,
    Remote,
    add_suggestion,
    delete_study,
    hold_session,
    offer_branch,
    refs_in_words,
    remote_refs,
    standing_refs,
    studies,
    write_consolidation,
)
from nightlab.records import Verdict, utc_now


@pytest.fixture
def pushed(ledger, root, remote_address, make):
    """A study here and on a remote, beside another one whose name begins alike."""
    for each in (ledger, Ledger(root, "first-light-2")):
        each.create()
        commit = each.incumbent()
        record = make.record(0, commit, commit, Verdict.KEEP, study=each.study)
        each.finish(record, make.evidence())
        Remote(root, "origin", each.study).push()
    return Remote(root, "origin", "first-light")


def offer(ledger):
    """A consolidation that offers a commit of its own."""
    start = ledger.incumbent()
    commit = ledger.write_candidate(start, "DEPTH = 1\n", "Without")
    record = ConsolidationRecord(
        study=ledger.study,
        number=0,
        incumbent_commit=start,
        incumbent_trial=0,
        place="here",
        changes=(),
        consolidated_commit=commit,
        started_at=utc_now(),
    )
    write_consolidation(ledger, record)
    assert offer_branch(ledger, commit) is None


def refs(git, folder):
    return git(folder, "for-each-ref", "--format=%(refname)").splitlines()


def test_all_of_one_study_goes_and_nothing_else(pushed, ledger, root, remote_address, git, make):
    add_suggestion(ledger, "an idea")
    ledger.mark(make.mark(1, ledger.incumbent(), ledger.incumbent()))
    offer(ledger)
    pushed.push()
    git(root, "push", "-q", "origin", "nightlab/first-light-consolidated")
    standing = standing_refs(ledger.plumbing, "first-light")
    assert refs_in_words("first-light", standing) == (
        "the branch, the consolidated branch, 1 trial, 1 trial in flight, 1 suggestion, "
        "1 consolidation"
    )
    assert remote_refs(pushed) == {ref: oid for ref, oid in standing.items()}
    delete_study(ledger, pushed)
    assert refs_in_words("first-light", standing_refs(ledger.plumbing, "first-light")) == "nothing"
    assert studies(root) == ("first-light-2",)
    for folder in (root, remote_address):
        left = [name for name in refs(git, folder) if "nightlab" in name and "remotes" not in name]
        assert left == [
            "refs/heads/nightlab/first-light-2",
            "refs/nightlab/first-light-2/evidence/0000",
            "refs/nightlab/first-light-2/trials/0000",
        ]
    git(root, "fsck", "--strict")


OFFERED = "refs/heads/nightlab/first-light-consolidated"


def whose(git, folder):
    """The refs of each study that stand in a repository."""
    names = [name for name in refs(git, folder) if "nightlab" in name and "remotes" not in name]
    return {name for name in names if "first-light-2" not in name}


@pytest.mark.parametrize("where", ["here", "there"])
@pytest.mark.parametrize("how", ["a branch alone", "with records", "went on from what was offered"])
def test_a_study_whose_name_ends_like_an_offer_stays(
    pushed, ledger, root, remote_address, git, make, how, where
):
    """Just begun, or long at work, or begun on what a consolidation of the other one offered."""
    other = Ledger(root, "first-light-consolidated")
    if how == "went on from what was offered":
        offer(ledger)
    else:
        other.create("DEPTH = 9\n")
    if how != "a branch alone":
        commit = other.incumbent()
        record = make.record(0, commit, commit, Verdict.KEEP, study=other.study)
        other.finish(record, make.evidence())
    for each in (ledger, other):
        Remote(root, "origin", each.study).push()
    folder = root if where == "here" else remote_address
    kept = {name for name in whose(git, folder) if "first-light-consolidated" in name}
    assert OFFERED in kept
    delete_study(ledger, pushed if where == "there" else None)
    assert whose(git, folder) == kept


def test_what_a_consolidation_offers_is_not_deleted_as_a_study_of_that_name(
    pushed, ledger, root, remote_address, git
):
    offer(ledger)
    git(root, "push", "-q", "origin", OFFERED)
    before = whose(git, root), whose(git, remote_address)
    other = Remote(root, "origin", "first-light-consolidated")
    assert standing_refs(ledger.plumbing, "first-light-consolidated") == {}
    assert remote_refs(other) == {}
    delete_study(Ledger(root, "first-light-consolidated"), other)
    assert (whose(git, root), whose(git, remote_address)) == before


def test_a_study_that_was_begun_on_what_was_offered_goes_whole(pushed, ledger, root, git, make):
    offer(ledger)
    other = Ledger(root, "first-light-consolidated")
    commit = other.incumbent()
    record = make.record(0, commit, commit, Verdict.KEEP, study=other.study)
    other.finish(record, make.evidence())
    delete_study(other, None)
    assert not other.exists()
    assert ledger.exists()


@pytest.mark.parametrize("name", ["first", "first-light-", "first-light-20", "first-ligh", "x"])
def test_names_that_begin_alike_are_others(pushed, ledger, root, remote_address, git, name):
    before = refs(git, root), refs(git, remote_address)
    assert standing_refs(ledger.plumbing, name) == {}
    delete_study(Ledger(root, name), Remote(root, "origin", name))
    assert (refs(git, root), refs(git, remote_address)) == before


def test_what_only_ends_like_a_studys_ref_stays_at_the_remote(pushed, ledger, remote_address, git):
    backup = f"refs/original/{ledger.refs.branch}"
    git(remote_address, "update-ref", backup, ledger.refs.branch)
    delete_study(ledger, pushed)
    assert backup in refs(git, remote_address)


def test_here_alone_leaves_the_remote(pushed, ledger, remote_address, git):
    before = refs(git, remote_address)
    delete_study(ledger, None)
    assert not ledger.exists()
    assert refs(git, remote_address) == before


def test_what_was_begun_on_a_consolidated_branch_is_another_study(
    pushed, ledger, root, remote_address, git, make
):
    other = Ledger(root, "first-light-consolidated")
    other.create()
    commit = other.incumbent()
    other.finish(make.record(0, commit, commit, study=other.study), make.evidence())
    Remote(root, "origin", other.study).push()
    delete_study(ledger, pushed)
    assert other.exists()
    assert len(other.records()) == 1
    assert "refs/heads/nightlab/first-light-consolidated" in refs(git, remote_address)


def test_a_study_without_a_branch_can_be_deleted(pushed, ledger, root, git):
    git(root, "update-ref", "-d", ledger.refs.branch)
    delete_study(ledger, None)
    assert standing_refs(ledger.plumbing, "first-light") == {}


def test_a_study_in_use_stays(pushed, ledger, root, second_root, remote_address, git):
    before = refs(git, root), refs(git, remote_address)
    second = Ledger(second_root, "first-light")
    remote = Remote(second_root, "origin", "first-light")
    with hold_session(second, remote, "there"), pytest.raises(StudyBusy, match="there is working"):
        delete_study(ledger, pushed)
    with hold_session(ledger, None, "here"), pytest.raises(StudyBusy, match="here is working"):
        delete_study(ledger, None)
    assert (refs(git, root), refs(git, remote_address)) == before


@pytest.mark.parametrize("branch", ["first-light", "first-light-consolidated"])
def test_a_branch_that_is_checked_out_stays(pushed, ledger, root, git, branch):
    offer(ledger)
    git(root, "checkout", "-q", f"nightlab/{branch}")
    before = refs(git, root)
    with pytest.raises(UsageError, match=rf"nightlab/{branch} .* checked out in .*git switch"):
        delete_study(ledger, None)
    assert refs(git, root) == before


def test_a_remote_that_refuses_changes_nothing_here(pushed, ledger, root, remote_address, git):
    hook = remote_address / "hooks" / "update"
    hook.write_text('#!/bin/sh\ncase "$1" in */trials/*) exit 1;; esac\n')
    hook.chmod(0o755)
    before = refs(git, root)
    with pytest.raises(RemoteError):
        delete_study(ledger, pushed)
    assert refs(git, root) == before
    hook.unlink()
    delete_study(ledger, pushed)
    assert [name for name in refs(git, root) if name.startswith("refs/nightlab/first-light/")] == []
