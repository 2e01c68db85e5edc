"""How much of a session's wall clock is training, and where the rest goes.

    .venv/bin/python bench/overhead.py                  # runs a quick session in a throw-away clone
    .venv/bin/python bench/overhead.py --study NAME     # reads a session that was already run

Times come from the trial records in git, so they are what the session itself measured. The
whole is the wall clock of the session's process where it is run here; for a study that is
only read, it is the time from its first trial's start to its last record.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from wall_clock import WallClock

from nightlab.ledger import Ledger
from nightlab.settings import Places

STUDY = "overhead"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--study", help="read this study instead of running a session")
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--budget-seconds", type=float, default=20)
    arguments = parser.parse_args()
    root = Places.find().root
    if arguments.study:
        records = Ledger(root, arguments.study).records()
        if not records:
            sys.exit(f"overhead: study {arguments.study!r} has no trial: `nightlab studies`.")
        wall = (records[-1].finished_at - records[0].started_at).total_seconds()
        WallClock(name=arguments.study, records=records, wall_seconds=wall).print_table()
        return
    with tempfile.TemporaryDirectory(prefix="nightlab-bench-") as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(root), str(clone)], check=True)
        wall = run_session(clone, arguments.trials, arguments.budget_seconds)
        records = Ledger(clone, STUDY).records()
        WallClock(name=STUDY, records=records, wall_seconds=wall).print_table()


def run_session(clone: Path, trials: int, budget_seconds: float) -> float:
    """Run a session in ``clone`` with this environment; return its wall-clock seconds."""
    command = [sys.executable, "-m", "flows.command_line", "research", "--study", STUDY]
    command += ["--trials", str(trials), "--budget-seconds", str(budget_seconds)]
    began = time.monotonic()
    subprocess.run(command, cwd=clone, check=True)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
