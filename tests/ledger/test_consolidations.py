"""A consolidation in git: moved forward, carried to a remote, and the branch that it offers."""

from datetime import UTC, datetime

import pytest

from nightlab.errors import LedgerError
from nightlab.judging.consolidating import Outcome
from nightlab.ledger import (
    ConsolidationRecord,
    Ledger,
    LeftOut,
    Remote,
    Together,
    consolidations,
    offer_branch,
    offered_commits,
    write_consolidation,
)
from nightlab.records import Verdict

BEGAN = datetime(2026, 1, 2, tzinfo=UTC)
BRANCH = "refs/heads/nightlab/first-light-consolidated"


def begun(ledger, **more):
    commit = ledger.incumbent()
    values = {
        "study": ledger.study,
        "number": 0,
        "incumbent_commit": commit,
        "incumbent_trial": 3,
        "place": "here",
        "changes": (LeftOut(trial=3, commit=commit, parent=commit, title="Wider"),),
        "started_at": BEGAN,
        **more,
    }
    return ConsolidationRecord(**values)


def offered(ledger, number=0):
    """A finished one with a commit to offer."""
    commit = ledger.write_candidate(ledger.incumbent(), f"DEPTH = {number}\n", "Take out")
    record = begun(ledger, number=number, consolidated_commit=commit, finished_at=BEGAN)
    write_consolidation(ledger, record)
    return commit


def test_it_is_moved_forward_and_read_back_without_logs(ledger, make):
    ledger.create()
    record = begun(ledger)
    write_consolidation(ledger, record)
    replicate = make.replicate(5)
    assert replicate.training.log
    (change,) = record.changes
    grown = record.model_copy(
        update={
            "incumbent_replicates": (replicate,),
            "changes": (change.model_copy(update={"replicates": (replicate,)}),),
            "together": Together(trials=(3,), replicates=(replicate,)),
        }
    )
    write_consolidation(ledger, grown)
    (found,) = consolidations(ledger)
    kept = (
        *found.incumbent_replicates,
        *found.changes[0].replicates,
        *found.together.replicates,
    )
    assert [each.val_bpb for each in kept] == [replicate.val_bpb] * 3
    assert [each.training.log for each in kept] == [""] * 3
    assert found.progress > record.progress


def test_another_studys_is_refused(ledger):
    ledger.create()
    with pytest.raises(LedgerError, match="other"):
        write_consolidation(ledger, begun(ledger, study="other"))


def test_the_copy_that_got_further_wins_on_either_side_and_brings_its_commit(
    ledger, root, second_root, remote_address, make, check_health
):
    ledger.create()
    make.trial(ledger, Verdict.KEEP)
    here = Remote(root, "origin", "first-light")
    there = Remote(second_root, "origin", "first-light")
    record = begun(ledger)
    write_consolidation(ledger, record)
    here.push()
    there.fetch()
    other = Ledger(second_root, "first-light")
    (change,) = record.changes
    trained = change.model_copy(
        update={"replicates": (make.replicate(1),), "outcome": Outcome.PASSENGER}
    )
    further = record.model_copy(update={"changes": (trained,)})
    write_consolidation(other, further)
    there.push()

    here.push()  # Behind: it must not take back what the other did.
    assert not here.pending()
    here.fetch()
    assert consolidations(ledger) == consolidations(other)

    commit = offered(other)
    there.push()
    here.fetch()
    assert offered_commits(ledger) == (commit,)
    assert offer_branch(ledger, commit) is None
    assert ledger.plumbing.resolve(BRANCH) == commit
    check_health(root)


def test_the_branch_follows_the_studys_own_offers_and_the_study_stays(ledger):
    ledger.create()
    stands = ledger.incumbent()
    first = offered(ledger)
    assert offer_branch(ledger, first) is None
    assert offer_branch(ledger, first) is None
    second = offered(ledger, 1)
    assert offer_branch(ledger, second) is None
    assert ledger.plumbing.resolve(BRANCH) == second
    assert ledger.incumbent() == stands


def test_a_branch_that_is_somebody_elses_is_left(ledger, git, root, make, tmp_path):
    ledger.create()
    first = offered(ledger)
    git(root, "branch", "nightlab/first-light-consolidated", "main")
    said = offer_branch(ledger, first)
    assert "was not made by a consolidation" in said
    assert f"git branch NAME {first[:12]}" in said
    git(root, "branch", "-D", "nightlab/first-light-consolidated")

    # A study was begun on what was offered: it keeps its branch.
    assert offer_branch(ledger, first) is None
    going_on = Ledger(root, "first-light-consolidated")
    going_on.mark(
        make.mark(
            0,
            first,
            first,
        ).model_copy(update={"study": going_on.study})
    )
    second = offered(ledger, 1)
    assert "went on since" in offer_branch(ledger, second)
    assert going_on.incumbent() == first
    going_on.plumbing.transaction([f"delete {going_on.refs.inflight(0)}"])

    git(root, "worktree", "add", "-q", str(tmp_path / "there"), "nightlab/first-light-consolidated")
    assert "is checked out in" in offer_branch(ledger, second)
    git(root, "worktree", "remove", str(tmp_path / "there"))
    assert offer_branch(ledger, second) is None


def test_the_branch_on_a_remote_is_replaced_by_the_same_rule(
    ledger, root, second_root, remote_address, git, make
):
    ledger.create()
    remote = Remote(root, "origin", "first-light")
    first = offered(ledger)
    assert remote.push_consolidated(first, offered_commits(ledger))
    assert remote.push_consolidated(first, ())
    second = offered(ledger, 1)
    assert not remote.push_consolidated(second, ())
    assert remote.push_consolidated(second, offered_commits(ledger))
    assert git(remote_address, "rev-parse", BRANCH) == second

    # On another machine a study goes on from it.
    git(second_root, "fetch", "-q", "origin", f"{BRANCH}:{BRANCH}")
    going_on = Ledger(second_root, "first-light-consolidated")
    going_on.mark(make.mark(0, second, second).model_copy(update={"study": going_on.study}))
    Remote(second_root, "origin", "first-light-consolidated").push()
    third = offered(ledger, 2)
    assert not remote.push_consolidated(third, offered_commits(ledger))
    assert git(remote_address, "rev-parse", BRANCH) == second


def test_a_lock_that_a_killed_git_left_on_the_branch_is_removed(ledger, root):
    ledger.create()
    commit = offered(ledger)
    lock = root / ".git" / f"{BRANCH}.lock"
    lock.write_text("")
    with pytest.raises(LedgerError):
        offer_branch(ledger, commit)
    assert ledger.recover(quiet_seconds=0.0).locks == (lock.name,)
    assert offer_branch(ledger, commit) is None
