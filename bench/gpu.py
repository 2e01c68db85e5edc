"""What only a GPU can tell, in one script of under eight minutes: a table and a JSON file.

    .venv/bin/python bench/gpu.py --json gpu.json        # on a machine with a GPU
    .venv/bin/python bench/gpu.py --only machine trial   # some stages
    .venv/bin/python bench/gpu.py --tiny                 # on a CPU, with budgets of seconds

The stages run in this order, as far as the time reaches: what the machine is; what doctor
tries, on each rung; a training of the h100 preset in the sandbox and one outside of it, on
random tokens; the evaluation of what was trained; the kernels that take a step's time; a
baseline and one trial by the engine, at the quick preset. A stage that fails says so, and the
others go on. docs/gpu.md says how to read the table.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import gpu_programs
import gpu_stages
from gpu_stages import Bench, Facts, StageFailed

from nightlab import __version__
from nightlab.errors import NightlabError, UsageError
from nightlab.sandbox.device import Device, detect_device
from nightlab.settings import SessionSettings
from nightlab.study.beginning import first_source

EXIT_MISTAKE = 2
NAME_CHARACTERS = 90


class OutOfTime(Exception):  # noqa: N818 - a state, not an error of the code
    """The time of a stage is up."""


FAILURES = (
    NightlabError,
    StageFailed,
    OutOfTime,
    OSError,
    subprocess.SubprocessError,
    LookupError,
    RuntimeError,
    ValueError,
)
"""What ends a stage and not the bench: minutes of a GPU are dear, and the other stages have
something to tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One thing to measure."""

    name: str
    needs_seconds: float
    """With less than that left it is not begun."""
    most_seconds: float
    """When it is ended, so that one stage that hangs leaves time for the others."""
    work: Callable[[Bench], Facts]


STAGES = (
    Stage(name="machine", needs_seconds=10, most_seconds=60, work=gpu_stages.look_at_machine),
    Stage(
        name="rung-1",
        needs_seconds=30,
        most_seconds=150,
        work=partial(gpu_stages.try_rung, rung="1"),
    ),
    Stage(
        name="rung-2",
        needs_seconds=30,
        most_seconds=150,
        work=partial(gpu_stages.try_rung, rung="2"),
    ),
    Stage(name="sandboxed", needs_seconds=80, most_seconds=240, work=gpu_stages.train_sandboxed),
    Stage(name="unconfined", needs_seconds=80, most_seconds=240, work=gpu_stages.train_unconfined),
    Stage(
        name="evaluation", needs_seconds=20, most_seconds=120, work=gpu_stages.evaluate_checkpoint
    ),
    Stage(name="kernels", needs_seconds=40, most_seconds=180, work=gpu_programs.profile_kernels),
    Stage(name="trial", needs_seconds=90, most_seconds=400, work=gpu_programs.run_trial),
)
NAMES = tuple(stage.name for stage in STAGES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What became of a stage."""

    stage: str
    outcome: Literal["done", "failed", "skipped"]
    seconds: float
    said: str = ""
    """Why it failed or was skipped, in one sentence."""
    facts: Facts = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The row's content for people: the sentence, or every fact that fits into a line."""
        flat = {name: value for name, value in self.facts.items() if _is_plain(value)}
        return self.said or ", ".join(f"{name} {number(value)}" for name, value in flat.items())


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print."""
    arguments = parse(words)
    began = time.monotonic()
    try:
        if arguments.json is not None and not os.access(arguments.json.parent, os.W_OK):
            raise UsageError(
                f"--json needs a folder to write to, and {arguments.json.parent} is none."
            )
        device = find_device(arguments)
        with tempfile.TemporaryDirectory(prefix="nightlab-bench-") as folder:
            bench = prepare(arguments, device, Path(folder))
            chosen = [stage for stage in STAGES if stage.name in arguments.only]
            rows: list[Row] = []
            for row in run_stages(chosen, bench, began + arguments.seconds):
                rows.append(row)
                print(
                    f"{row.stage:<11} {row.outcome:<8} {row.seconds:6.1f} s  {row.text}", flush=True
                )
                # Anew after each stage: what was measured stays, whatever ends the next one.
                write_json(arguments, bench, rows)
    except UsageError as error:
        print(f"gpu: {error}", file=sys.stderr)
        sys.exit(EXIT_MISTAKE)
    print_tables(rows)
    print(f"\nAll of it took {time.monotonic() - began:.0f} s.")
    if arguments.json is not None:
        print(f"Written to {arguments.json}.")


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=480, help="for all stages together")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="STAGE")
    parser.add_argument("--device", default="auto", help="auto, cuda or cuda:N")
    parser.add_argument("--json", type=Path, help="where to write what was found")
    parser.add_argument("--tiny", action="store_true", help="on a CPU, with budgets of seconds")
    return parser.parse_args(words)


def find_device(arguments: argparse.Namespace) -> Device:
    """The GPU to measure, or with --tiny the CPU.

    Raises:
        UsageError: there is no GPU, or torch cannot use it.
    """
    device = detect_device("cpu" if arguments.tiny else arguments.device)
    if device.kind == "cpu" and not arguments.tiny:
        raise UsageError(
            "This measures a GPU, and torch finds none here: run it on a machine that has one, or "
            "with --tiny to try the script itself on a CPU."
        )
    return device


def prepare(arguments: argparse.Namespace, device: Device, folder: Path) -> Bench:
    """The sizes of everything: large for a GPU, and seconds for a CPU."""
    tiny: bool = arguments.tiny
    preset: Literal["quick", "h100"] = "quick" if tiny else "h100"
    source = (gpu_stages.TRAINER / "train.py").read_text(encoding="utf-8")
    return Bench(
        device=device,
        preset=preset,
        source=first_source(source, SessionSettings(preset=preset), device),
        folder=folder,
        train_seconds=4 if tiny else 40,
        trial_seconds=4 if tiny else 8,
        num_tokens=2**18 if tiny else 2**26,
        evaluation_tokens=2**14 if tiny else 2**22,
        profiled_steps=2 if tiny else 5,
    )


def run_stages(stages: Sequence[Stage], bench: Bench, end: float) -> Iterator[Row]:
    """Run stages in turn, each as far as the time reaches; ``end`` is on the monotonic clock."""
    for stage in stages:
        left = end - time.monotonic()
        if left < stage.needs_seconds:
            said = (
                f"It takes {stage.needs_seconds:g} s at least, and {max(0, left):.0f} s are left."
            )
            yield Row(stage=stage.name, outcome="skipped", seconds=0.0, said=said)
        else:
            yield run_stage(stage, bench, min(left, stage.most_seconds))


def run_stage(stage: Stage, bench: Bench, seconds: float) -> Row:
    """Run one stage, for so long at most."""
    began = time.monotonic()
    bench.end = began + seconds
    try:
        with at_most(seconds):
            facts = stage.work(bench)
    except FAILURES as error:
        taken = time.monotonic() - began
        said = one_sentence(error)
        return Row(stage=stage.name, outcome="failed", seconds=taken, said=said)
    taken = time.monotonic() - began
    return Row(stage=stage.name, outcome="done", seconds=taken, facts=facts)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """End a block when its time is up, whatever it waits for.

    Raises:
        OutOfTime: it is.
    """

    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise OutOfTime(f"It was not done after {seconds:.0f} s, and was ended.")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def one_sentence(error: BaseException) -> str:
    """What an error says, on one line; with its kind where it is not meant for people."""
    said = " ".join(str(error).split()) or "nothing"
    if not isinstance(error, NightlabError | StageFailed | OutOfTime):
        said = f"{type(error).__name__}: {said}"
    return said if said.endswith(".") else f"{said}."


def number(value: Any) -> str:
    """A fact for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "unknown"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def print_tables(rows: Sequence[Row]) -> None:
    """Print what was found as tables for a document."""
    print("\n| stage | outcome | seconds | |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row.stage} | {row.outcome} | {row.seconds:.1f} | {row.text} |")
    for row in rows:
        if kernels := row.facts.get("kernels"):
            print("\n| the most of a step | calls | milliseconds | share |\n|---|---|---|---|")
            for kernel in kernels:
                name = kernel["name"][:NAME_CHARACTERS].replace("|", "\\|")
                calls, milliseconds = number(kernel["calls"]), number(kernel["milliseconds"])
                print(f"| `{name}` | {calls} | {milliseconds} | {kernel['share']:.1%} |")


def write_json(arguments: argparse.Namespace, bench: Bench, rows: Sequence[Row]) -> None:
    """Write everything that was found so far, where a file was named."""
    if arguments.json is None:
        return
    found = {
        "nightlab": __version__,
        "tiny": arguments.tiny,
        "preset": bench.preset,
        "device": bench.device.description,
        "train_seconds": bench.train_seconds,
        "stages": [asdict(row) for row in rows],
    }
    text = json.dumps(found, indent=1)
    arguments.json.write_text(f"{text}\n", encoding="utf-8")


def _is_plain(value: Any) -> bool:
    return not isinstance(value, list | dict)


if __name__ == "__main__":
    main()
