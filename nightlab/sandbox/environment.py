"""The environment and the limits that a job gets, the same on every rung."""

import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nightlab.sandbox.job import CHECKPOINT_MAX_BYTES, Job, Layout
from nightlab.sandbox.protocol import Pair

OPEN_FILES = 4096
MACHINES_SHARE = 4
"""All processes of a job together may open this part of the files that the machine may have open,
and a process of it half of what ours may: so many descriptors a user may have under way at once."""
PENDING_SIGNALS = 1024
"""Signals and timers, which the kernel counts for the user."""
SCRATCH_FILES = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a job may use; None for no limit.

    ``data_bytes``, ``file_bytes``, ``processes`` and ``open_files`` are the kernel's to
    hold, by resource limits that every process of the job inherits. The kernel holds the
    others where it can (a cgroup, sized temporary file systems), and ``watch`` everywhere.
    """

    data_bytes: int | None
    """Private memory of each process: past it an allocation fails, which a program can say.
    Shared memory is not in it."""
    memory_bytes: int | None
    """Memory of all processes together, of every kind."""
    file_bytes: int
    """Size of any one file, memory files too."""
    processes: int
    """Processes and threads together."""
    open_files: int
    """Open files of each process."""
    pending_signals: int
    """Signals and timers of all processes together."""
    scratch_bytes: int
    """Disk space of the work folder; the same again for the temporary file systems."""
    scratch_files: int
    """Names in the work folder; the same again in the temporary file systems."""
    cpus: tuple[int, ...]
    """The cores it may use: all that the engine has. How many it computes on at once is told by
    the environment; on a CPU its budget counts them all (see training/clock.py)."""
    gpu: str | None
    """The GPU it computes on, by identifier or number."""

    @classmethod
    def of(cls, job: Job) -> "Limits":
        """The limits of a job."""
        memory_bytes = job.memory_mb * 2**20 if job.memory_mb else None
        on_gpu = job.device.kind == "cuda"
        scratch_bytes = job.scratch_mb * 2**20
        cpus = tuple(sorted(os.sched_getaffinity(0)))
        # torch.compile starts a worker a core, each with a thread pool of its own.
        processes = _within_hard_limit(resource.RLIMIT_NPROC, 256 + 128 * len(cpus))
        return cls(
            # Drivers of GPUs reserve private address space far beyond what they use. The
            # address space itself is never limited, for the same reason.
            data_bytes=(
                None
                if on_gpu or memory_bytes is None
                else _within_hard_limit(resource.RLIMIT_DATA, memory_bytes)
            ),
            memory_bytes=memory_bytes,
            file_bytes=_within_hard_limit(
                resource.RLIMIT_FSIZE, min(CHECKPOINT_MAX_BYTES, scratch_bytes)
            ),
            processes=processes,
            open_files=_open_files(processes),
            pending_signals=_within_hard_limit(resource.RLIMIT_SIGPENDING, PENDING_SIGNALS),
            scratch_bytes=scratch_bytes,
            scratch_files=SCRATCH_FILES,
            cpus=cpus,
            gpu=job.device.selector if on_gpu else None,
        )


def job_environment(job: Job, layout: Layout, pair: Pair) -> Mapping[str, str]:
    """Environment variables of a job, without those that find the interpreter.

    Nothing of the engine's own environment is in it, which may hold keys.
    """
    threads = str(job.device.threads)
    environment = {
        "NIGHTLAB_SOCKET": str(pair.candidate),
        "HOME": layout.work,
        "USER": "candidate",
        "LOGNAME": "candidate",
        "LANG": "C.UTF-8",
        "PATH": "/usr/bin:/bin",
        "PYTHONHASHSEED": "0",
        "TORCHINDUCTOR_CACHE_DIR": f"{layout.work}/inductor",
        "TRITON_CACHE_DIR": f"{layout.work}/triton",
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        # Spinning threads lose an order of magnitude where cores are shared.
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "0",
        "KMP_BLOCKTIME": "0",
    }
    if not job.compiles:
        environment["NIGHTLAB_COMPILES"] = "0"
    if job.device.kind == "cuda":
        environment["CUDA_VISIBLE_DEVICES"] = job.device.selector
        environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    else:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return environment


def interpreter_environment() -> dict[str, str]:
    """What the engine's own helpers need to start, and no more: no key is in it."""
    return {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}


def _open_files(processes: int) -> int:
    half = _within_hard_limit(resource.RLIMIT_NOFILE, 2 * OPEN_FILES) // 2
    try:
        machine = int(Path("/proc/sys/fs/file-max").read_text(encoding="ascii"))
    except OSError:  # a kernel without that limit
        return half
    return min(half, machine // MACHINES_SHARE // processes)


def _within_hard_limit(kind: int, wanted: int) -> int:
    """What may be asked for without a right to raise limits."""
    _, hard = resource.getrlimit(kind)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
