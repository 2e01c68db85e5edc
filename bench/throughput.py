"""How much of a session's wall clock is training, with and without asking ahead.

    .venv/bin/python bench/throughput.py                       # ten trials of 300 s: over two hours
    .venv/bin/python bench/throughput.py --budget-seconds 30 --answer-seconds 30

The trainer is a stub that sleeps instead of computing; everything else is real: Prefect, git,
MLflow, the sandbox, the audited evaluation, and a model's endpoint on loopback that takes so
many seconds to answer. Two sessions run in turn, one that asks for the next idea while the
present trial trains, and one that asks when it is needed. Every edit makes the stub's model
worse, so every trial ends after one training, as most trials do.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from model_endpoint import edit, model_endpoint
from wall_clock import WallClock

from nightlab.ledger import Ledger
from nightlab.settings import Places

STUDY = "throughput"
STUB = '''"""A stand-in for a trainer: sleeps for its budget, then saves random logits."""

import time

import runtime
import torch

SPREAD = 0.10


class Unigram(torch.nn.Module):
    """Gives the same random logits in every position."""

    def __init__(self, vocab_size):
        super().__init__()
        self.logits = torch.nn.Parameter(SPREAD * torch.randn(vocab_size))

    def forward(self, tokens):
        return self.logits.expand(*tokens.shape, -1) + 0.0


def build_model(spec):
    return Unigram(spec.vocab_size)


def main():
    run = runtime.connect()
    torch.manual_seed(run.seed)
    model = build_model(run.spec)
    run.rehearse_save(model)
    seen = 0
    for step, (inputs, _) in enumerate(run.batches(4), start=1):
        time.sleep(0.2)
        seen += inputs.numel()
        run.report(step, 5.0, seen)
    run.save(model)


if __name__ == "__main__":
    main()
'''


def main() -> None:
    """Run both sessions and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--budget-seconds", type=float, default=300)
    parser.add_argument("--answer-seconds", type=float, default=30)
    parser.add_argument("--only", choices=("ahead", "in turn"))
    parser.add_argument("--picture", type=Path, help="where to draw what is not training")
    arguments = parser.parse_args()
    arms = []
    for name, option in (("ahead", "--prefetch"), ("in turn", "--no-prefetch")):
        if arguments.only in (None, name):
            with model_endpoint(worse_models(), arguments.answer_seconds) as address:
                arms.append(run_session(name, option, address, arguments))
            arms[-1].print_table()
    if len(arms) == 2:
        print(f"\nwall clock, ahead / in turn: {arms[0].wall_seconds / arms[1].wall_seconds:.3f}")
    if arguments.picture is not None:
        draw(arms, arguments.picture)


def worse_models() -> Iterator[str]:
    """Answers that each make the stub's model worse by far, so that no verdict is in doubt."""
    for tenths in itertools.count(10):
        spread = tenths / 10
        yield edit(f"Spread {spread}", "SPREAD = 0.10", f"SPREAD = {spread}")


def run_session(name: str, option: str, address: str, arguments: argparse.Namespace) -> WallClock:
    """Run a session on the stub in a throw-away clone."""
    with tempfile.TemporaryDirectory(prefix="nightlab-bench-") as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", Places.find().root, clone], check=True)
        (clone / "trainer" / "train.py").write_text(STUB, encoding="utf-8")
        commit = ["-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit"]
        subprocess.run(["git", "-C", clone, *commit, "--quiet", "-am", "Stub"], check=True)
        command = [sys.executable, "-m", "flows.command_line", "research", "--study", STUDY]
        command += ["--trials", str(arguments.trials), option, "--confirm-replicates", "0"]
        command += ["--budget-seconds", str(arguments.budget_seconds)]
        # The stub's losses are all alike, which pruning would take for hopeless.
        command += ["--preflight-seconds", "1", "--no-prune"]
        command += ["--model", "openai/bench", "--api-base", address]
        environment = {**os.environ, "OPENAI_API_KEY": "none", "PYTHONPATH": str(clone)}
        began = time.monotonic()
        subprocess.run(command, cwd=clone, env=environment, check=True)
        wall = time.monotonic() - began
        records = Ledger(clone, STUDY).records()
        told = f"ideas asked for {name}"
        return WallClock(name=told, records=records, wall_seconds=wall)


def draw(arms: list[WallClock], file: Path) -> None:
    """Draw what is not training, in seconds a trial, a bar for each session."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.2 + 0.9 * len(arms)), layout="constrained")
    axes = figure.subplots()
    names = list(dict.fromkeys(step for arm in arms for step in arm.other_seconds()))
    left = [0.0] * len(arms)
    for name in names:
        widths = [max(0.0, arm.other_seconds().get(name, 0.0)) / len(arm.records) for arm in arms]
        axes.barh([arm.name for arm in arms], widths, left=left, label=name)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for place, arm in enumerate(arms):
        axes.text(left[place], place, f"  training {arm.share:.1%}", va="center", fontsize=9)
    axes.set(xlabel="seconds a trial that are not training", xlim=(0, 1.25 * max(left)))
    axes.invert_yaxis()
    axes.legend(frameon=False, fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.3))
    figure.savefig(file, dpi=130)


if __name__ == "__main__":
    main()
