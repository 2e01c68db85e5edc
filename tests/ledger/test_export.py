"""The original project's table."""

from nightlab.ledger import results_tsv
from nightlab.records import Verdict

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_the_columns_are_the_originals(make):
    kept = make.record(0, COMMIT, COMMIT, Verdict.KEEP, title="Base\tline\nat last")
    crash = make.record(1, COMMIT, COMMIT, Verdict.CRASH, val_bpb=None, replicates=())
    failed = make.record(2, COMMIT, COMMIT, Verdict.FAILED, val_bpb=None, replicates=())
    assert results_tsv([kept, crash, failed]).splitlines() == [
        "commit\tval_bpb\tmemory_gb\tstatus\tdescription",
        "0123456\t1.500000\t2.0\tkeep\tBase line at last",
        "0123456\t\t\tcrash\tTrial 1",
        "0123456\t\t\tfailed\tTrial 2",
    ]


def test_a_study_without_trials_has_a_header():
    assert results_tsv([]) == "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
