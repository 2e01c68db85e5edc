"""What a person sees who runs the first command: twenty first runs, each from nothing.

    .venv/bin/python bench/first_run.py                  # twenty runs: about two hours
    .venv/bin/python bench/first_run.py --runs 3 --minutes 30 --budget-seconds 20

Every run is `make run` after its set-up, in a throw-away clone and with a seed of its own: no
model, no network, every part real. A line for each run, then the sums: how many end with a
gain that is confirmed on the holdout split, the gain, the minutes, and how many trainings
went to the incumbent.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from nightlab.judging.scores import find_baseline
from nightlab.ledger import Ledger, confirmations
from nightlab.records import Verdict
from nightlab.settings import Places

STUDY = "first-light"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstRun:
    """How one run ended."""

    seed: int
    minutes: float
    trials: int
    trainings: int
    of_incumbent: int
    kept: tuple[str, ...]
    """Titles, with what each was found to gain."""
    gain_percent: float | None
    """Confirmed on holdout, of the baseline's score; None where nothing was confirmed."""
    sentence: str


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--budget-seconds", type=float, default=10, help="of a training")
    parser.add_argument("--minutes", type=float, help="a limit in place of the number of trials")
    parser.add_argument("--json", type=Path, help="also write the runs here")
    arguments = parser.parse_args()
    limit = ["--trials", str(arguments.trials)]
    if arguments.minutes is not None:
        limit = ["--hours", str(arguments.minutes / 60)]
    limit += ["--budget-seconds", str(arguments.budget_seconds)]
    runs = []
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.runs):
        runs.append(first_run(seed, limit))
        print_run(runs[-1])
        if arguments.json is not None:
            arguments.json.write_text(json.dumps([asdict(run) for run in runs], indent=2))
    print_sums(runs)


def first_run(seed: int, limit: list[str]) -> FirstRun:
    """Run one session in a new clone."""
    with tempfile.TemporaryDirectory(prefix="nightlab-bench-") as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", Places.find().root, clone], check=True)
        command = [sys.executable, "-m", "flows.command_line", "research", "--study", STUDY]
        command += ["--preset", "quick", *limit, "--seed", str(seed)]
        environment = {**os.environ, "PYTHONPATH": str(clone)}
        began = time.monotonic()
        with (Path(folder) / "output").open("wb") as output:
            subprocess.run(command, cwd=clone, env=environment, stdout=output, check=True)
        return read_run(seed, (time.monotonic() - began) / 60, Ledger(clone, STUDY))


def read_run(seed: int, minutes: float, ledger: Ledger) -> FirstRun:
    """What a study's records say of its run."""
    records = ledger.records()
    baseline = find_baseline(records)
    tried = [record for record in records if record is not baseline]
    kept = [record for record in tried if record.verdict is Verdict.KEEP]
    told = [each for each in confirmations(ledger) if each.finished_at is not None]
    held = [each for each in told if each.holds]
    gain = None
    if held and held[-1].gain_bpb is not None:
        scores = [each.val_bpb for each in held[-1].baseline_replicates if each.val_bpb]
        gain = 100 * held[-1].gain_bpb / (sum(scores) / len(scores))
    return FirstRun(
        seed=seed,
        minutes=minutes,
        trials=len(tried),
        trainings=sum(
            len(record.replicates) + len(record.incumbent_replicates) for record in records
        ),
        of_incumbent=sum(len(record.incumbent_replicates) for record in tried),
        kept=tuple(
            f"{record.title} ({-(record.decision.difference_bpb or 0.0):+.4f})" for record in kept
        ),
        gain_percent=gain,
        sentence=told[-1].sentence if told else "Nothing was confirmed.",
    )


def print_run(run: FirstRun) -> None:
    """A line, and what was kept."""
    kept = ", ".join(run.kept) or "nothing"
    gain = "nothing confirmed" if run.gain_percent is None else f"{run.gain_percent:.1f} %"
    print(
        f"seed {run.seed:3}: {run.minutes:4.1f} min, {run.trials} trials, {run.trainings} "
        f"trainings ({run.of_incumbent} of the incumbent), {gain}; kept {kept}",
        flush=True,
    )


def print_sums(runs: list[FirstRun]) -> None:
    """What all runs came to."""
    gains = [run.gain_percent for run in runs if run.gain_percent is not None]
    print(f"\n{len(gains)} of {len(runs)} runs end with a confirmed gain", end="")
    print(f", {median(gains):.1f} % in the median" if gains else "", end="")
    print(
        f"; {median(run.minutes for run in runs):.1f} minutes in the median, "
        f"{max(run.minutes for run in runs):.1f} at most; the incumbent was trained "
        f"{sum(run.of_incumbent for run in runs) / max(sum(run.trials for run in runs), 1):.2f} "
        "times a trial."
    )


if __name__ == "__main__":
    main()
