"""What a real study keeps: edits that change nothing, and one that is known to be good.

    .venv/bin/python bench/keeps.py                  # both studies at the quick preset: an hour
    .venv/bin/python bench/keeps.py --only nothing --trials 10
    .venv/bin/python bench/keeps.py --only good --budget-tokens 160000   # where speed wanders

*Nothing*: a scripted model answers with comments only, so every trial trains identical code.
*Good*: the baseline's matrix learning rate is a quarter of what the trainer has, and among
comments one answer puts it right. All parts are real: trainer, sandbox, audit, Prefect, git.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from model_endpoint import edit, model_endpoint

from nightlab.ledger import Ledger
from nightlab.records import Replicate
from nightlab.settings import Places

STUDY = "keeps"
KNOB = "  # 0.005..0.3 log; Muon: matrices inside the blocks"
RIGHT, WRONG = f"MATRIX_LEARNING_RATE = 0.05{KNOB}", f"MATRIX_LEARNING_RATE = 0.0125{KNOB}"
GOOD_PLACE = 3
"""The trial that is the good one."""


def main() -> None:
    """Run the studies and print what became of each trial."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("nothing", "good"))
    parser.add_argument("--trials", type=int, default=30, help="of the study of nothing")
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--budget-tokens", help="what a training sees, in place of its seconds")
    arguments = parser.parse_args()
    sizes = ["--preset", arguments.preset]
    if arguments.budget_tokens is not None:
        sizes += ["--budget-tokens", arguments.budget_tokens]
    if arguments.only in (None, "nothing"):
        run_study("Nothing", sizes, arguments.trials, comments(), lambda text: text)
    if arguments.only in (None, "good"):
        run_study("Good", sizes, 5, with_a_good_one(), spoiled)


def comments() -> Iterator[str]:
    """Answers that add a comment and nothing else."""
    number = 0
    while True:
        number += 1
        line = "import math"
        yield edit(f"Comment {number}", line, f"# Thought {number}.\n{line}")


def with_a_good_one() -> Iterator[str]:
    """Comments, and in their midst the learning rate as it should be."""
    for number, answer in enumerate(comments(), start=1):
        yield edit("Learning rate times four", WRONG, RIGHT) if number == GOOD_PLACE else answer


def spoiled(source: str) -> str:
    """The trainer with a quarter of its learning rate."""
    if source.count(RIGHT) != 1:
        sys.exit(f"keeps: trainer/train.py needs one line with {RIGHT!r} for this measurement.")
    return source.replace(RIGHT, WRONG)


def run_study(
    name: str,
    sizes: Sequence[str],
    trials: int,
    answers: Iterator[str],
    change: Callable[[str], str],
) -> None:
    """Run one study in a throw-away clone and print its trials."""
    with tempfile.TemporaryDirectory(prefix="nightlab-bench-") as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", Places.find().root, clone], check=True)
        trainer = clone / "trainer" / "train.py"
        trainer.write_text(change(trainer.read_text(encoding="utf-8")), encoding="utf-8")
        author = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
        commit = ["commit", "--quiet", "--allow-empty", "-am", "The baseline of a measurement"]
        subprocess.run(["git", "-C", clone, *author, *commit], check=True)
        command = [sys.executable, "-m", "flows.command_line", "research", "--study", STUDY]
        command += ["--trials", str(trials), *sizes, "--model", "openai/bench"]
        with model_endpoint(answers) as address:
            environment = {**os.environ, "OPENAI_API_KEY": "none", "PYTHONPATH": str(clone)}
            command += ["--api-base", address]
            subprocess.run(command, cwd=clone, env=environment, check=True)
        print_study(name, Ledger(clone, STUDY))


def print_study(name: str, ledger: Ledger) -> None:
    """Print a line for every trial, then the sums."""
    records = ledger.records()
    print(f"\n{name}:")
    for record in records:
        print(f"  {record.number:3} {record.reason.value:<12} {record.title}")
        print(f"      {record.decision.sentence}")
        print(f"      tokens per second: {rates(record.replicates)}", end="")
        of_incumbent = rates(record.incumbent_replicates)
        print(f"; of the incumbent: {of_incumbent}" if of_incumbent else "")
    tried = [record for record in records if record.number > 0]
    kept = [record.number for record in tried if record.verdict.value == "keep"]
    own = sum(len(record.replicates) for record in tried)
    anew = sum(len(record.incumbent_replicates) for record in tried)
    print(f"  kept: {kept or 'none'} of {len(tried)} trials; {own} trainings, {anew} of incumbents")


def rates(replicates: Sequence[Replicate]) -> str:
    """The speed of each training: whether the machine's changed shows here."""
    return ", ".join(f"{each.training.tokens_per_second or 0:.0f}" for each in replicates)


if __name__ == "__main__":
    main()
