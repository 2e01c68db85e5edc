"""A session in a process of its own, for tests that kill it.

Usage: python worker.py work|hold ROOT [REMOTE]. Says "ready" when it can be killed.
"""

import random
import sys
import threading
from pathlib import Path

from conftest import STUDY, make_evidence, make_record, run_trial

from nightlab.ledger import Ledger, Remote, hold_session
from nightlab.records import Verdict


def main() -> None:
    task, root = sys.argv[1], Path(sys.argv[2])
    ledger = Ledger(root, STUDY)
    remote = Remote(root, sys.argv[3], STUDY) if len(sys.argv) > 3 else None
    if task == "hold":
        with hold_session(ledger, remote, "the first"):
            say_ready()
            threading.Event().wait()
    say_ready()
    with hold_session(ledger, remote, "worker", quiet_seconds=0.1):
        work_for_ever(ledger)


def say_ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def work_for_ever(ledger: Ledger) -> None:
    """Resume what is in flight, then go on."""
    if not ledger.exists():
        ledger.create()
    for mark in ledger.marks():
        record = make_record(mark.number, mark.parent, mark.commit, Verdict.FAILED)
        ledger.finish(record, make_evidence())
    while True:
        later = random.choice((Verdict.KEEP, Verdict.DISCARD, Verdict.CRASH))
        run_trial(ledger, later if ledger.next_number() else Verdict.KEEP)


if __name__ == "__main__":
    main()
