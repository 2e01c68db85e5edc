"""The device that candidates train on, found by asking torch in a process of its own.

The engine itself never imports torch: it takes seconds, and on a GPU it would hold a
context in the memory that candidates are measured with.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from nightlab.errors import UsageError
from nightlab.records import Frozen

PROBE_SECONDS = 120

# Dense bf16 tensor-core peaks from NVIDIA's data sheets, in FLOP/s; the first name that
# stands as whole words in torch's name for the device counts: closer names come first.
PEAK_FLOPS: Mapping[str, float] = {
    "B200": 2250e12,
    "H200": 989e12,
    "GH200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}

# Written for `python -c`: prints one line of JSON. CUDA is initialised on purpose: the
# driver then makes the unified-memory device nodes, which no sandboxed process could
# make, and /proc/self/maps tells where the driver's libraries lie.
_PROBE = """
import json, os, sys
wanted = sys.argv[1]
found = {"torch": None, "gpus": [], "driver_folders": []}
try:
    import torch
except ImportError as error:
    found["error"] = str(error)
else:
    found["torch"] = torch.__version__
    if wanted != "cpu" and torch.cuda.is_available():
        torch.cuda.init()
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            found["gpus"].append({
                "name": properties.name,
                "memory_mb": properties.total_memory / 2**20,
                "uuid": str(getattr(properties, "uuid", "")),
            })
        with open("/proc/self/maps") as maps:
            files = {line.split()[-1] for line in maps if "/" in line}
        names = ("libcuda.so", "libnvidia-")
        found["driver_folders"] = sorted(
            {os.path.dirname(f) for f in files if os.path.basename(f).startswith(names)}
        )
print("\\n" + json.dumps(found))
"""


class Device(Frozen):
    """A device, and what the sandbox and the bookkeeping need to know about it."""

    name: str
    """``cpu`` or ``cuda:N``."""
    description: str
    """The model of the processor or GPU, for people and for the study's record."""
    threads: int
    """Threads that torch may compute with."""
    peak_flops: float | None = None
    """Peak FLOP/s that ``mfu_percent`` is a share of; None where it is not known."""
    uuid: str | None = None
    """The GPU's identifier, which picks it whatever the order inside the sandbox."""
    driver_folders: tuple[str, ...] = ()
    """Where the GPU driver's libraries lie."""

    @property
    def kind(self) -> Literal["cpu", "cuda"]:
        """What ``Spec.device`` says in train.py: the sandbox shows one GPU only."""
        return "cuda" if self.name.startswith("cuda") else "cpu"

    @property
    def selector(self) -> str:
        """What names the GPU to its driver and tools: its identifier, else its number."""
        return self.uuid or self.name.partition(":")[2]


class _Gpu(Frozen):
    name: str
    memory_mb: float
    uuid: str


class _Found(Frozen):
    torch: str | None
    gpus: tuple[_Gpu, ...]
    driver_folders: tuple[str, ...]
    error: str | None = None


def detect_device(wanted: str = "auto", *, threads: int | None = None) -> Device:
    """Find the device that was asked for.

    Args:
        wanted: ``auto`` (the first GPU, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
        threads: for torch; by default every core that this process may use.

    Raises:
        UsageError: torch is missing, or there is no such device here.
    """
    kind, _, number = wanted.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (
        number and not (kind == "cuda" and number.isdigit())
    ):
        raise UsageError(
            f"A device is 'auto', 'cpu', 'cuda' or 'cuda:N', and {wanted!r} was asked for: "
            "set --device to one of them."
        )
    found = _ask_torch(kind)
    threads = threads or len(os.sched_getaffinity(0))
    if kind == "cpu" or (kind == "auto" and not found.gpus):
        description = f"{_processor_name()}, {threads} threads"
        return Device(name="cpu", description=description, threads=threads)
    index = int(number or 0)
    if index >= len(found.gpus):
        raise UsageError(
            f"The device {wanted!r} was asked for, and torch {found.torch} sees "
            f"{len(found.gpus)} CUDA devices: check `nvidia-smi` and that torch is a CUDA build, "
            "or use --device cpu."
        )
    gpu = found.gpus[index]
    return Device(
        name=f"cuda:{index}",
        description=f"{gpu.name}, {gpu.memory_mb / 1024:.0f} GiB",
        threads=threads,
        peak_flops=peak_flops(gpu.name),
        uuid=f"GPU-{gpu.uuid.removeprefix('GPU-')}" if gpu.uuid else None,
        driver_folders=found.driver_folders,
    )


def peak_flops(gpu_name: str) -> float | None:
    """Peak bf16 FLOP/s of a GPU by its name, or None where it is not known."""
    for name, peak in PEAK_FLOPS.items():
        if re.search(rf"\b{re.escape(name)}\b", gpu_name, re.IGNORECASE):
            return peak
    return None


def _ask_torch(kind: str) -> _Found:
    command = [sys.executable, "-c", _PROBE, kind]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=True
        )
        found = _Found.model_validate_json(done.stdout.strip().rpartition("\n")[2])
    except (OSError, subprocess.SubprocessError, ValidationError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise UsageError(
            f"Nightlab needs a torch that can be imported, and trying it in {sys.executable} "
            f"failed ({str(said).strip().splitlines()[-1]}): run `make setup`."
        ) from error
    if found.torch is None:
        raise UsageError(
            f"Nightlab needs torch, and {sys.executable} does not have it ({found.error}): "
            "run `make setup`."
        )
    return found


def _processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return os.uname().machine
