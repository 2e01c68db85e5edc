"""Who computes on a GPU, by the driver's own word: `nvidia-smi`.

Two jobs on one GPU spoil each other's measurements, and the driver takes a while to give
back what a killed process held. So a job starts only where no other job of this engine
computes, and ends only when the GPU has let go of it. What others do there is noted in the
training's record: it is not ours to judge.

Graphics memory is not limited by any of this: a job may take all of it.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Collection
from dataclasses import dataclass

from nightlab.errors import SandboxError
from nightlab.records import OtherWork
from nightlab.sandbox.process_tree import tree_of

RELEASE_SECONDS = 30.0
QUIET_MB = 1024
"""Memory of a GPU that drivers and desktops take by themselves: more of it is somebody's work."""
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
    answer = _ask("--query-compute-apps=pid,used_memory", gpu)
    return tuple(_parse(line) for line in answer.splitlines() if line.strip())


def other_work(gpu: str, there: Collection[ComputeProcess]) -> OtherWork | None:
    """What else is on a GPU on which no job of this engine computes; None where it is nothing.

    Args:
        gpu: its identifier or number.
        there: who computes there, where the driver shows it: in a container it may show nobody,
            and its memory tells all the same.
    """
    used_mb, busy_percent = _load(gpu)
    known = [process.memory_mb for process in there if process.memory_mb is not None]
    if not there and (used_mb is None or used_mb < QUIET_MB):
        return None
    return OtherWork(
        processes=len(there),
        memory_mb=sum(known) if known else used_mb,
        utilization_percent=busy_percent,
    )


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


def _load(gpu: str) -> tuple[float | None, float | None]:
    """Memory in use and how busy a GPU is; None for what the driver does not tell, as of a part."""
    try:
        answer = _ask("--query-gpu=memory.used,utilization.gpu", gpu)
    except SandboxError:
        return None, None
    words = [word.strip() for word in answer.partition("\n")[0].split(",")]
    numbers = [float(word) if word.isdigit() else None for word in words]
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (None, None)


def _ask(query: str, gpu: str) -> str:
    """What the driver's tool answers about a GPU. Raises ``SandboxError``."""
    program = shutil.which("nvidia-smi")
    if program is None:
        raise SandboxError(
            "A job on a GPU needs nvidia-smi, and it is not on PATH: install the driver's tools "
            "(in a container, NVIDIA_DRIVER_CAPABILITIES=compute,utility)."
        )
    try:
        done = subprocess.run(
            [program, query, "--format=csv,noheader,nounits", "-i", gpu],
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
    return done.stdout


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
