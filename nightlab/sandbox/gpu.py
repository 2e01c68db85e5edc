"""Who computes on a GPU, by the driver's own word: `nvidia-smi`.

Two jobs on one GPU spoil each other's measurements, and the driver takes a while to give
back what a killed process held. So a job starts only where no other job of this engine
computes, and ends only when the GPU has let go of it. Processes of others are noted:
they are not ours to judge.

Graphics memory is not limited by any of this: a job may take all of it.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Collection
from dataclasses import dataclass

from nightlab.errors import SandboxError
from nightlab.sandbox.process_tree import tree_of

RELEASE_SECONDS = 30.0
_POLL_SECONDS = 0.2
_ANSWER_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeProcess:
    """A process that computes on a GPU."""

    pid: int
    memory_mb: int | None
    """Graphics memory that it holds; None where the driver does not tell."""


def compute_processes(gpu: str) -> tuple[ComputeProcess, ...]:
    """Ask who computes on a GPU. In a container the driver may show nobody.

    Args:
        gpu: its identifier or number.

    Raises:
        SandboxError: `nvidia-smi` is missing, refuses, or answers something else.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        raise SandboxError(
            "A job on a GPU needs nvidia-smi, and it is not on PATH: install the driver's tools "
            "(in a container, NVIDIA_DRIVER_CAPABILITIES=compute,utility)."
        )
    query = ["--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits", "-i", gpu]
    try:
        done = subprocess.run(
            [program, *query],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stdout", None) or str(error)).strip().splitlines()
        raise SandboxError(
            f"Asking who computes on GPU {gpu} failed ({said[-1]}): try `nvidia-smi -i {gpu}`."
        ) from error
    return tuple(_parse(line) for line in done.stdout.splitlines() if line.strip())


def require_vacant(gpu: str) -> tuple[ComputeProcess, ...]:
    """Refuse a GPU on which another job of this engine computes.

    Returns:
        Processes of others there, which will share the GPU with the job.

    Raises:
        SandboxError: a job of this engine is there, or nobody can tell.
    """
    there = compute_processes(gpu)
    ours = set(tree_of(os.getpid()))
    if jobs := [process for process in there if process.pid in ours]:
        raise SandboxError(
            f"A job needs GPU {gpu} to itself, and another job of this engine computes there "
            f"({_named(jobs)}): run one at a time, or choose another GPU with --device cuda:N."
        )
    return there


def wait_until_released(
    gpu: str, pids: Collection[int], *, timeout_seconds: float = RELEASE_SECONDS
) -> None:
    """Wait until a GPU has let go of processes that have ended.

    Args:
        gpu: its identifier or number.
        pids: every process that the job had.
        timeout_seconds: the longest to wait.

    Raises:
        SandboxError: it has not by then, or nobody can tell.
    """
    end = time.monotonic() + timeout_seconds
    while squatters := [process for process in compute_processes(gpu) if process.pid in pids]:
        if time.monotonic() > end:
            raise SandboxError(
                f"GPU {gpu} still holds what a job left ({_named(squatters)}) "
                f"{timeout_seconds:g} s after its end: look with `nvidia-smi -i {gpu}`, and end "
                "the process or reset the GPU."
            )
        time.sleep(_POLL_SECONDS)


def _parse(line: str) -> ComputeProcess:
    pid, _, memory = (part.strip() for part in line.partition(","))
    if not pid.isdigit():
        raise SandboxError(
            f"nvidia-smi was asked for process ids and answered {line!r}: its driver may be "
            "broken; try `nvidia-smi`."
        )
    return ComputeProcess(pid=int(pid), memory_mb=int(memory) if memory.isdigit() else None)


def _named(processes: Collection[ComputeProcess]) -> str:
    return ", ".join(
        f"process {process.pid}"
        + ("" if process.memory_mb is None else f" with {process.memory_mb:,} MB")
        for process in processes
    )
