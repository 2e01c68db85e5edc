"""A study at a glance."""

import pytest

from nightlab.errors import LedgerError
from nightlab.ledger import answer_names, study_summary
from nightlab.records import Evidence, Exchange, Proposal, Verdict


def test_a_study_in_the_middle(ledger, make):
    start = ledger.create()
    make.trial(ledger, Verdict.KEEP)
    make.trial(ledger, Verdict.CRASH, val_bpb=None)
    again = {"incumbent_replicates": (make.replicate(5, val_bpb=1.6),), "val_bpb": 1.38}
    kept = make.trial(ledger, Verdict.KEEP, replicates=(make.replicate(4, val_bpb=1.48),), **again)
    ledger.mark(make.mark(3, kept.commit, kept.commit))
    summary = study_summary(ledger)
    assert summary.trials == 3
    assert summary.verdicts == {
        Verdict.KEEP: 2,
        Verdict.DISCARD: 0,
        Verdict.CRASH: 1,
        Verdict.FAILED: 0,
    }
    # What its pairs put it at, whatever its own training scored.
    assert (summary.baseline_bpb, summary.incumbent_bpb) == (1.5, 1.38)
    assert summary.expected_false_keeps == 0
    assert (summary.incumbent_trial, summary.incumbent_commit) == (2, kept.commit)
    assert summary.inflight == (3,)
    assert start != kept.commit


def test_a_study_that_has_just_begun(ledger):
    with pytest.raises(LedgerError, match="no branch"):
        study_summary(ledger)
    ledger.create()
    summary = study_summary(ledger)
    assert summary.trials == 0
    assert summary.baseline_bpb is None
    assert summary.incumbent_bpb is None
    assert summary.started_at is None


def test_answers_are_named_in_the_order_in_which_they_came(ledger, make, git, root):
    start = ledger.create()
    assert answer_names(ledger, 0) == ()
    said = tuple(Exchange(prompt="?", answer=f"answer {number}") for number in range(1, 12))
    idea = Proposal(title="Wider", proposer="command", exchanges=said)
    ledger.finish(make.record(0, start, start), Evidence(proposal=idea))
    names = answer_names(ledger, 0)
    assert [git(root, "show", name) for name in names] == [each.answer for each in said]
