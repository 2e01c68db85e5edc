"""What a session of many trials leaves with Prefect: a run for each, and the session's artifacts.

Run by bench/thousand_trials.py in a process that finds the server in its environment, with the
study's repository and name, and the report's picture. Prints one line of JSON: the session's run,
and the seconds that each trial took.
"""

import json
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from prefect import flow, task
from prefect.runtime import flow_run

from flows.session_page import show_session
from nightlab.ledger import Ledger
from nightlab.records import TrialRecord
from nightlab.study.session import Session


@dataclass
class Growing:
    """A ledger that has the first trials of another, so many as were told of."""

    whole: Ledger
    told: int = 0

    @cached_property
    def _records(self) -> tuple[TrialRecord, ...]:
        return self.whole.records()

    def records(self) -> tuple[TrialRecord, ...]:
        """Those that were told of."""
        return self._records[: self.told]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)


@task(task_run_name="record {number}")
def record(number: int) -> int:
    """The one task of a trial, for the timeline."""
    return number


@flow(name="trial", flow_run_name="trial {number}")
def trial(number: int) -> int:
    """A trial whose work was done before."""
    return record(number)


@flow(name="research", flow_run_name="{study}, a long night")
def night(root: str, study: str, picture: str) -> dict[str, object]:
    """Tell Prefect of all trials of a study, as a session does, one after another."""
    ledger = Growing(Ledger(Path(root), study))
    tracker = SimpleNamespace(study_url=lambda: "http://127.0.0.1/")
    session = cast("Session", SimpleNamespace(ledger=ledger, tracker=tracker))
    seconds = []
    for number in range(len(ledger.whole.records())):
        began = time.monotonic()
        trial(number)
        ledger.told += 1
        show_session(session)
        seconds.append(time.monotonic() - began)
    show_session(session, Path(picture))
    return {"run": flow_run.get_id(), "seconds": seconds}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(night(*sys.argv[1:4])) + "\n")
