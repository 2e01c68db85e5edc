"""The kernels of some training steps by torch's profiler: a program that bench/gpu.py starts.

    PYTHONPATH=trainer python bench/gpu_profile.py ORDER.json FOUND.json

It runs a train.py as it is, outside the sandbox, and is its host: what the file asks of
``runtime`` it gets from here, with random tokens. The batches end once some steps were timed
and as many profiled. On a CPU the operators take the kernels' place.
"""

import json
import runpy
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from socket import socketpair
from typing import Any

import numpy as np
import runtime
import torch
from torch.profiler import ProfilerActivity, profile

TOP = 20
LONGEST_SECONDS = 3600.0
"""The budget that a schedule follows; whoever starts this program bounds its real time."""


class ProfiledRun(runtime.Run):
    """A training of some steps, timed and profiled."""

    def __init__(self, order: dict[str, Any]) -> None:
        own, self._host = socketpair()
        start = {"seed": 0, "budget_seconds": LONGEST_SECONDS, "checkpoint": "unused"}
        super().__init__(runtime.Frames(own), {"spec": order["spec"], **start})
        self._steps: int = order["steps"]
        self._num_tokens: int = order["num_tokens"]
        self._on_gpu = self.spec.device == "cuda"
        self._tokens_per_step: int | None = None
        self._warm_ups = [time.monotonic()]
        self.found: dict[str, Any] = {}

    def synthetic_batch(self, batch_size: int, sequence_length: int | None = None) -> runtime.Batch:
        """Note when each step of the warm-up begins: the first one compiles."""
        self._warm_ups.append(self._now())
        return super().synthetic_batch(batch_size, sequence_length)

    def rehearse_save(self, model: torch.nn.Module) -> None:
        """Save nothing."""
        self._warm_ups.append(self._now())

    def save(self, model: torch.nn.Module) -> None:
        """Save nothing."""

    def report(
        self,
        step: int,
        loss: float,
        tokens: int,
        learning_rate: float | None = None,
        flops_per_token: float | None = None,
        num_params: int | None = None,
    ) -> None:
        """Learn how many tokens are a step."""
        self._tokens_per_step = tokens // step

    def batches(
        self, batch_size: int, sequence_length: int | None = None
    ) -> Iterator[runtime.Batch]:
        """Yield batches: those of the first steps, of the timed ones, and of the profiled ones."""
        given = super().batches(batch_size, sequence_length)
        yield from self._first_steps(given)
        per_step = (self._tokens_per_step or 1) // (batch_size * (sequence_length or self._length))
        batches = self._steps * max(1, per_step)
        began = self._now()
        for _ in range(batches):
            yield next(given)
        seconds = (self._now() - began) / self._steps
        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * self._on_gpu
        with profile(activities=activities, acc_events=True) as profiler:
            for _ in range(batches):
                yield next(given)
            self._now()
        self._tell(seconds, top_kernels(profiler.key_averages(), self._on_gpu, self._steps))

    @property
    def _length(self) -> int:
        return self.spec.sequence_length

    def _first_steps(self, given: Iterator[runtime.Batch]) -> Iterator[runtime.Batch]:
        """Yield whole steps until a report has said how large they are.

        Reports come a step late, at a step's end: the batches after one begin a step.
        """
        while self._tokens_per_step is None:
            yield next(given)

    def _tell(self, seconds: float, kernels: tuple[list[dict[str, Any]], float]) -> None:
        begun, first, *later = self._warm_ups
        self.found = {
            "build_seconds": first - begun,
            "first_step_seconds": (later[0] - first) if later else None,
            "step_milliseconds": 1000 * seconds,
            "kernels_milliseconds": kernels[1],
            "kernels": kernels[0],
        }

    def _pass_gate(self) -> np.ndarray:
        self._started = time.monotonic()
        random = np.random.default_rng(0)
        return random.integers(0, self.spec.vocab_size, self._num_tokens).astype("<u2")

    def _now(self) -> float:
        if self._on_gpu:
            torch.cuda.synchronize()
        return time.monotonic()


def top_kernels(
    events: Iterable[Any], on_gpu: bool, steps: int
) -> tuple[list[dict[str, Any]], float]:
    """What takes most of a step.

    Args:
        events: averages of the profiler.
        on_gpu: whether the kernels of a GPU count, or else the operators of the CPU.
        steps: how many were profiled.

    Returns:
        The first ``TOP``, and the milliseconds a step of all.
    """
    if on_gpu:
        # Annotations ("Optimizer.step#…") span kernels that stand in the list themselves.
        kernels = [each for each in events if each.device_type.name == "CUDA"]
        kernels = [each for each in kernels if not each.is_user_annotation]
        taken = [(each.self_device_time_total, each) for each in kernels]
    else:
        taken = [(each.self_cpu_time_total, each) for each in events]
    whole = sum(microseconds for microseconds, _ in taken)
    first = sorted(taken, key=lambda each: -each[0])[:TOP]
    rows = [
        {
            "name": each.key,
            "calls": each.count / steps,
            "milliseconds": microseconds / 1000 / steps,
            "share": microseconds / whole,
        }
        for microseconds, each in first
        if microseconds > 0
    ]
    return rows, whole / 1000 / steps


def main() -> None:
    """Run the train.py that the order names and write down what was found."""
    order = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    run = ProfiledRun(order)
    runtime.connect = lambda: run
    runpy.run_path(order["source"], run_name="__main__")
    Path(sys.argv[2]).write_text(json.dumps(run.found), encoding="utf-8")


if __name__ == "__main__":
    main()
