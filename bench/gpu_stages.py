"""The stages of bench/gpu.py that the engine's own parts do: rungs, trainings, an evaluation."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nightlab.evaluation.evaluation import evaluate
from nightlab.presets import PRESETS, Preset
from nightlab.sandbox import Sandbox, choose_sandbox
from nightlab.sandbox.device import Device
from nightlab.sandbox.driver import driver_version
from nightlab.sandbox.exercise import GPU_LAYERS, try_layers
from nightlab.sandbox.gpu import compute_processes
from nightlab.training.token_file import TokenFile
from nightlab.training.training import TrainingOrder, train_replicate

ROOT = Path(__file__).resolve().parents[1]
TRAINER = ROOT / "trainer"
CPU_LAYERS = ("start", "product", "compiler", "attention")

HOLDER = """
import json, sys
import torch
torch.ones(1, device=sys.argv[1])
cudnn = torch.backends.cudnn.version() if torch.version.cuda else None
print(json.dumps({"torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": cudnn}))
sys.stdout.flush()
sys.stdin.read()
"""

Facts = dict[str, Any]
"""What a stage found, as JSON values; names carry units."""


class StageFailed(Exception):  # noqa: N818 - what a stage found, not an error of the code
    """A stage did not get what it was to measure; the message is one sentence."""


@dataclass(slots=True, kw_only=True)
class Bench:
    """What the stages share, and what earlier ones leave to later ones."""

    device: Device
    preset: str
    source: str
    """train.py with the preset's constants, as a new study on this device begins with it."""
    folder: Path
    train_seconds: float
    trial_seconds: float
    num_tokens: int
    """Random tokens to train on."""
    evaluation_tokens: int
    profiled_steps: int
    end: float = 0.0
    """When the stage under way is ended, on the monotonic clock."""
    sandbox: Sandbox | None = None
    """The strongest rung that held."""
    rates: dict[str, float] = field(default_factory=dict)
    """Tokens per second of each training."""
    trained: tuple[TrainingOrder, Sandbox, Path] | None = None
    """The first training that left weights."""

    @property
    def sizes(self) -> Preset:
        """The preset's sizes."""
        return PRESETS[self.preset]

    @property
    def seconds_left(self) -> float:
        """Of the stage under way."""
        return max(0.0, self.end - time.monotonic())


def look_at_machine(bench: Bench) -> Facts:
    """What computes here, and what nvidia-smi shows of a process that holds the GPU."""
    device = bench.device
    command = [sys.executable, "-c", HOLDER, device.name]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as holder:
        try:
            line = holder.stdout.readline() if holder.stdout else ""
            if not line:
                said = holder.stderr.read() if holder.stderr else ""
                last = (said.strip().splitlines() or ["it said nothing"])[-1]
                raise StageFailed(f"A process could not hold {device.name} ({last}).")
            facts = {
                "device": device.description,
                "precision": device.precision,
                "cpu_cores": len(os.sched_getaffinity(0)),
                "python": sys.version.partition(" ")[0],
                **json.loads(line),
            }
            if device.kind == "cuda":
                facts |= {"driver": driver_version(), "peak_tflops": _peak_tflops(device)}
                facts |= smi_facts(device.selector, holder.pid)
        finally:
            holder.kill()
    return facts


def smi_facts(gpu: str, pid: int) -> Facts:
    """How fast nvidia-smi answers, and whether it shows a process of this container.

    Args:
        gpu: what names the GPU to the driver.
        pid: of a process that computes there.
    """
    began = time.monotonic()
    there = compute_processes(gpu)
    return {
        "nvidia_smi_seconds": time.monotonic() - began,
        "nvidia_smi_processes": len(there),
        "nvidia_smi_shows_ours": pid in {process.pid for process in there},
    }


def try_rung(bench: Bench, rung: str) -> Facts:
    """Do in a rung what jobs will do there, as `nightlab doctor` does."""
    sandbox = choose_sandbox(only=rung, device=bench.device)  # on a GPU it tries the layers
    layers: Sequence[str] = GPU_LAYERS
    if bench.device.kind == "cpu":
        layers = CPU_LAYERS
        fault = try_layers(sandbox, layers, bench.device)
        if fault is not None:
            raise StageFailed(f"The layer {fault.layer!r} failed: {fault.said}")
    bench.sandbox = bench.sandbox or sandbox
    held = sum(escape.held for escape in sandbox.escapes)
    return {
        "escapes_held": f"{held} of {len(sandbox.escapes)}",
        "layers": " ".join(layers),
    }


def train_sandboxed(bench: Bench) -> Facts:
    """Train for a while in the strongest sandbox that holds."""
    bench.sandbox = bench.sandbox or choose_sandbox(device=bench.device)
    rung = bench.sandbox.confinement.rung
    return {"rung": rung, **_train(bench, bench.sandbox, "sandboxed")}


def train_unconfined(bench: Bench) -> Facts:
    """Train as long outside of it, and compare."""
    facts = _train(bench, choose_sandbox(trust_candidate=True), "unconfined")
    inside = bench.rates.get("sandboxed")
    if inside is not None:
        facts["sandboxed_share_of_rate"] = inside / bench.rates["unconfined"]
    return facts


def _train(bench: Bench, sandbox: Sandbox, name: str) -> Facts:
    sizes = bench.sizes
    order = TrainingOrder(
        vocab_size=sizes.vocab_size,
        sequence_length=sizes.sequence_length,
        device=bench.device,
        seed=0,
        budget_seconds=bench.train_seconds,
        startup_seconds=max(
            1.0, min(sizes.startup_seconds, bench.seconds_left - bench.train_seconds - 10)
        ),
        memory_mb=sizes.memory_mb,
        scratch_mb=sizes.scratch_mb,
    )
    checkpoint = bench.folder / f"{name}.pt"
    path = bench.folder / "random.bin"
    if not path.exists():
        path.write_bytes(random_tokens(sizes.vocab_size, bench.num_tokens).tobytes())
    with TokenFile.from_path(path) as tokens:
        result = train_replicate(
            order, bench.source, tokens, sandbox, checkpoint, lambda: None, lambda _: None
        )
    if result.failure is not None:
        raise StageFailed(f"The training ended by {result.failure.value}: {result.message}")
    if not result.curve or not result.curve[-1].seconds or result.training_seconds is None:
        raise StageFailed("The training reported no step, so there is no rate.")
    bench.trained = bench.trained or (order, sandbox, checkpoint)
    last, whole = result.curve[-1], result.training_seconds
    # To the last step: in a budget this short, saving would weigh more than it does in a study.
    bench.rates[name] = rate = (last.tokens or 0) / last.seconds
    mfu = result.mfu_percent
    return {
        "tokens_per_second": rate,
        "mfu_percent": None if mfu is None else mfu * whole / last.seconds,
        "peak_memory_mb": result.peak_memory_mb,
        "startup_seconds": result.startup_seconds,
        "save_seconds": whole - last.seconds,
        "training_seconds": whole,
        "steps": result.num_steps,
        "parameters": result.num_params,
    }


class RandomText:
    """A corpus without a text: random tokens of one byte each."""

    def __init__(self, vocab_size: int, num_tokens: int) -> None:
        self._vocab_size = vocab_size
        self._num_tokens = num_tokens

    def token_bytes(self) -> npt.NDArray[np.integer[Any]]:
        """One for every token: [vocab_size]."""
        return np.ones(self._vocab_size, dtype=np.int64)

    def tokens(self, split: str) -> npt.NDArray[np.uint16]:
        """The same for every split: [num_tokens]."""
        return random_tokens(self._vocab_size, self._num_tokens)


def evaluate_checkpoint(bench: Bench) -> Facts:
    """Score the weights of the first training as a trial's are, on fewer tokens."""
    if bench.trained is None:
        raise StageFailed("There are no weights to evaluate: a training has to come before.")
    order, sandbox, checkpoint = bench.trained
    width = order.sequence_length + 1
    rows = bench.evaluation_tokens // order.sequence_length
    found = evaluate(
        bench.source,
        checkpoint,
        RandomText(order.vocab_size, rows * width),
        "val",
        order,
        bench.evaluation_tokens,
        sandbox,
        screen_positions=bench.sizes.screen_positions,
        keep_below_bpb=None,
        timeout_seconds=max(1.0, bench.seconds_left - 5),
    )
    if found.failure is not None:
        raise StageFailed(f"The evaluation ended by {found.failure.value}: {found.message}")
    whole, audit = found.seconds or 0.0, found.audit_seconds or 0.0
    return {
        "tokens": bench.evaluation_tokens,
        "claims_seconds": whole - audit,
        "audit_seconds": audit,
        "seconds_per_million_tokens": whole / bench.evaluation_tokens * 1e6,
    }


def random_tokens(vocab_size: int, count: int) -> npt.NDArray[np.uint16]:
    """Tokens without a text: [count]."""
    return np.random.default_rng(0).integers(0, vocab_size, count).astype("<u2")


def _peak_tflops(device: Device) -> float | None:
    return None if device.peak_flops is None else device.peak_flops / 1e12
