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
from collections import defaultdict
from pathlib import Path

from nightlab.ledger import Ledger
from nightlab.records import TrialRecord
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
        print_table(records, wall)
        return
    with tempfile.TemporaryDirectory(prefix="nightlab-bench-") as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(root), str(clone)], check=True)
        wall = run_session(clone, arguments.trials, arguments.budget_seconds)
        print_table(Ledger(clone, STUDY).records(), wall)


def run_session(clone: Path, trials: int, budget_seconds: float) -> float:
    """Run a session in ``clone`` with this environment; return its wall-clock seconds."""
    command = [sys.executable, "-m", "flows.command_line", "research", "--study", STUDY]
    command += ["--trials", str(trials), "--budget-seconds", str(budget_seconds)]
    began = time.monotonic()
    subprocess.run(command, cwd=clone, check=True)
    return time.monotonic() - began


def print_table(records: tuple[TrialRecord, ...], wall_seconds: float) -> None:
    """Print the share of training, then seconds per replicate and trial by step."""
    steps: defaultdict[str, float] = defaultdict(float)
    for record in records:
        for step, seconds in record.step_seconds.items():
            steps[step] += seconds
    inside = steps.pop("total")
    steps["within trials, other"] = inside - sum(steps.values())
    steps["outside trials"] = wall_seconds - inside
    training = steps.pop("train", 0.0)
    print(f"trials                 {len(records)}")
    print(f"trainings              {sum(len(record.replicates) for record in records)}")
    print(f"wall clock             {wall_seconds:8.1f} s")
    print(
        f"training               {training:8.1f} s   {training / wall_seconds:6.1%} of wall clock"
    )
    print("\nanything else          seconds a trial     share of wall clock")
    for step, seconds in sorted(steps.items(), key=lambda item: -item[1]):
        print(f"  {step:<22} {seconds / len(records):10.2f} {seconds / wall_seconds:18.1%}")


if __name__ == "__main__":
    main()
