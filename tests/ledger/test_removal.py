"""A study's refs, counted and removed."""

import pytest

from nightlab.errors import RemoteError, StudyBusy, UsageError
from nightlab.ledger import (
    Ledger,
    Remote,
    add_suggestion,
    delete_study,
    hold_session,
    refs_in_words,
    standing_refs,
    studies,
)
from nightlab.records import Verdict


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


def refs(git, folder):
    return git(folder, "for-each-ref", "--format=%(refname)").splitlines()


def test_all_of_one_study_goes_and_nothing_else(pushed, ledger, root, remote_address, git, make):
    add_suggestion(ledger, "an idea")
    ledger.mark(make.mark(1, ledger.incumbent(), ledger.incumbent()))
    git(root, "branch", "nightlab/first-light-consolidated", "main")
    git(root, "push", "-q", "origin", "nightlab/first-light-consolidated")
    standing = standing_refs(ledger.plumbing, "first-light")
    assert refs_in_words("first-light", standing) == (
        "the branch, the consolidated branch, 1 trial, 1 trial in flight, 1 suggestion"
    )
    assert refs_in_words("first-light", pushed.all_refs()) == (
        "the branch, the consolidated branch, 1 trial"
    )
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
    git(root, "branch", "nightlab/first-light-consolidated", "main")
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
