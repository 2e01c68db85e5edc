"""The environment and the limits that a job gets, the same on every rung."""

import resource
from collections.abc import Mapping
from dataclasses import dataclass

from nightlab.protocol import Pair
from nightlab.sandbox.job import CHECKPOINT_MAX_BYTES, Job, Layout

OPEN_FILES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Resource limits of each process of a job; None for no limit."""

    data_bytes: int | None
    file_bytes: int
    processes: int
    """Processes and threads of the user together."""
    open_files: int

    @classmethod
    def of(cls, job: Job) -> "Limits":
        """The limits of a job."""
        # The address space itself is never limited: CUDA reserves it hugely.
        return cls(
            data_bytes=job.memory_mb * 2**20 if job.memory_mb else None,
            file_bytes=CHECKPOINT_MAX_BYTES,
            # torch.compile starts a worker a core, each with a thread pool of its own.
            processes=256 + 128 * job.device.threads,
            open_files=_within_hard_limit(OPEN_FILES),
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
    if job.device.kind == "cuda":
        index = job.device.name.partition(":")[2]
        environment["CUDA_VISIBLE_DEVICES"] = job.device.uuid or index
        environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    else:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return environment


def _within_hard_limit(wanted: int) -> int:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
