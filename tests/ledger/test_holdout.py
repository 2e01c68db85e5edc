"""Every use of the holdout split stands in git, numbered."""

from datetime import UTC, datetime

import pytest

from nightlab.errors import LedgerError
from nightlab.ledger import HoldoutUse, Ledger, Remote, holdout_uses, record_holdout_use
from nightlab.records import Evaluation, Reason


def use(ledger, study=None, **values):
    return HoldoutUse(
        study=study or ledger.study,
        commit=ledger.incumbent(),
        seed=7,
        session="a session",
        evaluation=Evaluation(split="holdout", log="printed\n", **values),
        used_at=datetime(2026, 1, 2, tzinfo=UTC),
    )


def test_uses_are_numbered_and_read_back_failed_ones_too(root, git):
    ledger = Ledger(root, "first-light")
    commit = ledger.create()
    assert holdout_uses(ledger) == ()
    assert record_holdout_use(ledger, use(ledger, val_bpb=1.5, standard_error=0.01)) == 0
    failed = use(ledger, failure=Reason.AUDIT, claimed_bpb=0.4)
    assert record_holdout_use(ledger, failed) == 1
    first, second = holdout_uses(ledger)
    assert (first.commit, first.evaluation.val_bpb) == (commit, 1.5)
    assert first.evaluation.log == ""
    assert second.evaluation.failure is Reason.AUDIT
    tag = git(root, "rev-parse", "refs/nightlab/first-light/holdout/0001^{commit}")
    assert tag == commit
    assert ledger.records() == ()


def test_a_use_of_another_study_is_refused(root):
    ledger = Ledger(root, "first-light")
    ledger.create()
    with pytest.raises(LedgerError, match="another"):
        record_holdout_use(ledger, use(ledger, study="another"))
    assert holdout_uses(ledger) == ()


def test_uses_travel_with_the_study(root, second_root, remote_address):
    ledger = Ledger(root, "first-light")
    ledger.create()
    record_holdout_use(ledger, use(ledger, val_bpb=1.5))
    Remote(root, "origin", "first-light").push()
    Remote(second_root, "origin", "first-light").fetch()
    (told,) = holdout_uses(Ledger(second_root, "first-light"))
    assert told.evaluation.val_bpb == 1.5
