"""A confirmation in git: moved forward, carried to a remote, taken up from there."""

from datetime import UTC, datetime

import pytest

from nightlab.errors import LedgerError
from nightlab.ledger import (
    ConfirmationRecord,
    Ledger,
    Remote,
    confirmations,
    write_confirmation,
)

BEGAN = datetime(2026, 1, 2, tzinfo=UTC)


def begun(ledger, **more):
    commit = ledger.incumbent()
    values = {
        "study": ledger.study,
        "number": 0,
        "baseline_commit": commit,
        "incumbent_commit": commit,
        "incumbent_trial": 3,
        "wanted": 2,
        "claimed_gain_bpb": 0.1,
        "started_at": BEGAN,
        **more,
    }
    return ConfirmationRecord(**values)


def test_it_is_moved_forward_and_read_back_without_logs(ledger, make, git, root):
    ledger.create()
    record = begun(ledger)
    write_confirmation(ledger, record)
    replicate = make.replicate(5)
    assert replicate.training.log
    grown = record.model_copy(update={"baseline_replicates": (replicate,)})
    write_confirmation(ledger, grown)
    (found,) = confirmations(ledger)
    assert found.baseline_replicates[0].val_bpb == replicate.val_bpb
    assert found.baseline_replicates[0].training.log == ""
    assert git(root, "for-each-ref", "refs/nightlab/first-light/confirmations").count("\n") <= 1


def test_another_studys_is_refused(ledger):
    ledger.create()
    with pytest.raises(LedgerError, match="other"):
        write_confirmation(ledger, begun(ledger, study="other"))


def test_the_copy_that_got_further_wins_on_either_side(
    ledger, root, second_root, remote_address, make
):
    ledger.create()
    here, there = (
        Remote(root, "origin", "first-light"),
        Remote(second_root, "origin", "first-light"),
    )
    record = begun(ledger)
    write_confirmation(ledger, record)
    here.push()
    there.fetch()
    other = Ledger(second_root, "first-light")
    further = record.model_copy(update={"incumbent_replicates": (make.replicate(1),)})
    write_confirmation(other, further)
    there.push()

    here.push()  # Behind: it must not take back what the other did.
    assert not here.pending()
    here.fetch()
    assert [len(each.incumbent_replicates) for each in confirmations(ledger)] == [1]

    finished = further.model_copy(update={"finished_at": BEGAN, "holds": True, "sentence": "Yes."})
    write_confirmation(ledger, finished)
    here.push()
    there.fetch()
    assert confirmations(other)[0].holds
