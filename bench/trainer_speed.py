"""Two versions of train.py on this CPU: tokens a processor second, and bpb at equal tokens.

    .venv/bin/python bench/trainer_speed.py --json speed.json          # about half an hour
    .venv/bin/python bench/trainer_speed.py --runs 2 --tokens 20000 --seeds 0      # a minute

One is trainer/train.py as it stands in this clone, the other as it was in a commit; both run with
this clone's runtime at a preset's sizes on the embedded corpus. Speed: the versions train by turns,
in processes without a sandbox, and processor time is counted from the first batch to the last, so
that other work on the machine and start-up matter little. Quality: both train with the same seeds,
in the sandbox, and the differences of their scores on ``val`` are told with a standard error.
The precision is set, for each training would measure and choose it anew.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from bare_trials import BareTrials
from embedded_corpus import embedded_corpus

from nightlab.presets import PRESETS
from nightlab.proposers import set_knobs
from nightlab.settings import TRAINER_FILE, Places

BEFORE = "e2a01b2"
"""The last commit without the loss by hand and the order of norm and rotation as they are."""
LONGEST_TRAINING_SECONDS = 1800.0
COUNTING = """
import os
import sys

import runtime

give_batches = runtime.Run.batches


def counted(run, *sizes):
    begun, tokens = sum(os.times()[:4]), 0
    for inputs, targets in give_batches(run, *sizes):
        tokens += inputs.numel()
        yield inputs, targets
    print(tokens / (sum(os.times()[:4]) - begun), file=sys.stderr)


runtime.Run.batches = counted
runtime.main()
"""
"""Runs a training by hand, and ends with its rate; times are the process's and its children's."""


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--commit", default=BEFORE, help="where the other version is")
    parser.add_argument("--preset", choices=("quick", "laptop"), default="quick")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--runs", type=int, default=10, help="of each version and thread count")
    parser.add_argument("--tokens", type=int, default=100_000, help="of a run for speed")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--seeds", type=int, default=8, help="pairs of trainings for quality")
    parser.add_argument("--budget-tokens", type=int, default=240_000, help="of each of those")
    parser.add_argument("--json", type=Path, help="where to write all numbers")
    arguments = parser.parse_args()
    sources = {
        version: settled(text, arguments.preset, arguments.precision)
        for version, text in versions(arguments.commit).items()
    }
    found: dict[str, Any] = {"arguments": {**vars(arguments), "json": None}, "speed": {}}
    with tempfile.TemporaryDirectory(prefix="nightlab-bench-") as folder:
        for threads in arguments.threads:
            rates = speeds(sources, threads, arguments, Path(folder))
            found["speed"][threads] = rates
            print_speeds(rates, threads)
        if arguments.seeds > 0:
            found["quality"] = qualities(sources, arguments, Path(folder))
            print_qualities(found["quality"])
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def versions(commit: str) -> dict[str, str]:
    """The text of train.py in a commit, and as it stands."""
    root = Places.find().root
    command = ["git", "-C", str(root), "show", f"{commit}:{TRAINER_FILE}"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    if shown.returncode != 0:
        sys.exit(f"trainer_speed: no {TRAINER_FILE} in {commit!r}: {shown.stderr.strip()}")
    return {"before": shown.stdout, "after": (root / TRAINER_FILE).read_text(encoding="utf-8")}


def settled(source: str, preset: str, precision: str) -> str:
    """Give a version the preset's constants and one precision."""
    precisions = dict.fromkeys(("TRAINING_PRECISION", "ORTHOGONAL_PRECISION"), precision)
    return set_knobs(source, {**PRESETS[preset].knobs, **precisions})


def speeds(
    sources: dict[str, str], threads: int, arguments: argparse.Namespace, folder: Path
) -> dict[str, list[float]]:
    """Tokens a processor second of every run, by version; the versions take turns."""
    rates: dict[str, list[float]] = {version: [] for version in sources}
    for run in range(arguments.runs):
        order = list(sources) if run % 2 == 0 else list(sources)[::-1]
        for version in order:
            (folder / "train.py").write_text(sources[version], encoding="utf-8")
            rates[version].append(one_rate(folder, threads, run, arguments))
    return rates


def one_rate(folder: Path, threads: int, seed: int, arguments: argparse.Namespace) -> float:
    """Train ``folder/train.py`` once by hand; give tokens a processor second."""
    corpus, sizes = embedded_corpus(arguments.preset), PRESETS[arguments.preset]
    command = [sys.executable, "-c", COUNTING, "--corpus", str(corpus.path("train").parent)]
    command += ["--tokens", str(arguments.tokens), "--seed", str(seed)]
    command += ["--sequence-length", str(sizes.sequence_length), "--output", str(folder)]
    command.append(str(folder / "train.py"))
    environment = {
        **os.environ,
        "PYTHONPATH": str(Places.find().root / "trainer"),
        "OMP_NUM_THREADS": str(threads),
        # As in the sandbox; threads that spin while they wait would be counted as work.
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "0",
    }
    done = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LONGEST_TRAINING_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"trainer_speed: the training failed:\n{done.stderr[-2000:]}")
    return float(done.stderr.split()[-1])


def print_speeds(rates: dict[str, list[float]], threads: int) -> None:
    """Print a thread count's rates and the ratio of neighbouring runs."""
    ratios = [after / before for before, after in zip(*rates.values(), strict=True)]
    print(f"\n{threads} thread{'s' * (threads > 1)}, tokens a processor second")
    for version, values in rates.items():
        middle = statistics.median(values)
        print(f"  {version:7s} {middle:9,.0f}   {min(values):,.0f} to {max(values):,.0f}")
    middle, (low, high) = statistics.median(ratios), quartiles(ratios)
    print(
        f"  ratio   {middle:9.3f}   quartiles {low:.3f} and {high:.3f}, "
        f"{min(ratios):.3f} to {max(ratios):.3f}",
        flush=True,
    )


def quartiles(values: list[float]) -> tuple[float, float]:
    """The first and the third; of a single value it twice."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, method="inclusive")
    return low, high


def qualities(
    sources: dict[str, str], arguments: argparse.Namespace, folder: Path
) -> list[dict[str, float]]:
    """Scores and last training losses of both versions, a pair for each seed."""
    trials = BareTrials(
        folder, LONGEST_TRAINING_SECONDS, arguments.budget_tokens, preset=arguments.preset
    )
    pairs = []
    for seed in range(arguments.seeds):
        pair: dict[str, float] = {"seed": seed}
        for version, source in sources.items():
            trained, scored = trials.measure(source, 1000 + seed)
            # Both are honest: what they claim is free of the noise that the audit's draws add.
            if scored is None or scored.claimed_bpb is None:
                sys.exit(f"trainer_speed: {version}, seed {seed}: {trained.message}")
            losses = [point.loss for point in trained.curve if point.loss is not None]
            pair[f"{version} bpb"] = scored.claimed_bpb
            pair[f"{version} loss"] = statistics.mean(losses[-max(1, len(losses) // 10) :])
        pairs.append(pair)
        print(f"  {pair}", flush=True)
    return pairs


def print_qualities(pairs: list[dict[str, float]]) -> None:
    """Print means and paired differences."""
    print(f"\nat equal tokens, {len(pairs)} pairs of seeds")
    for kind, told in (("bpb", "bpb on val"), ("loss", "training loss, last tenth, nats a token")):
        before = statistics.mean(pair[f"before {kind}"] for pair in pairs)
        differences = [pair[f"after {kind}"] - pair[f"before {kind}"] for pair in pairs]
        error = "unknown"
        if len(pairs) > 1:
            error = f"{statistics.stdev(differences) / len(pairs) ** 0.5:.5f}"
        mean = statistics.mean(differences)
        print(f"  {told}: {before:.5f} before, {mean:+.5f} after (standard error {error})")


if __name__ == "__main__":
    main()
