"""The device that candidates train on, found by asking torch in a process of its own.

The engine itself never imports torch: it takes seconds, and on a GPU it would hold a
context in the memory that candidates are measured with.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from nightlab.errors import UsageError
from nightlab.events import Notice, publish
from nightlab.records import Frozen
from nightlab.records.counting import counted
from nightlab.sandbox.driver import MACHINE, VISIBLE, are_hidden, has_gpu, why_unusable
from nightlab.sandbox.peaks import peak_flops

PROBE_SECONDS = 120

Precision = Literal["float32", "bfloat16"]

# Written for `python -c`: prints one line of JSON. CUDA is initialised on purpose: the
# driver then makes the unified-memory device nodes, which no sandboxed process could
# make, and /proc/self/maps tells where the driver's libraries lie. A small sum on the GPU
# says whether this build of torch has kernels for it. bfloat16 is taken where the GPU has it,
# and on a CPU where a product takes at most half the time of one in float32, as in train.py,
# but timed far longer: on a machine that does other work, the best of four wanders by half.
_PROBE = """
import json, os, sys, time
wanted, threads = sys.argv[1], int(sys.argv[2])
found = {"torch": None, "gpus": [], "driver_folders": []}

def look_at_gpus():
    torch.cuda.init()
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found["gpus"].append({
            "name": properties.name,
            "memory_mb": properties.total_memory / 2**20,
            "uuid": str(getattr(properties, "uuid", "")),
            "bus_address": "{:04x}:{:02x}:{:02x}.0".format(*(
                getattr(properties, name, 0)
                for name in ("pci_domain_id", "pci_bus_id", "pci_device_id")
            )),
        })
    with open("/proc/self/maps") as maps:
        files = {line.split()[-1] for line in maps if "/" in line}
    names = ("libcuda.so", "libnvidia-")
    found["driver_folders"] = sorted(
        {os.path.dirname(f) for f in files if os.path.basename(f).startswith(names)}
    )
    index = int(wanted.partition(":")[2] or 0)
    if index < len(found["gpus"]):
        torch.cuda.set_device(index)
        torch.ones(8, device="cuda").sum().item()
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
        found["precision"] = "bfloat16" if fast else "float32"

def times_faster():
    pairs = [torch.ones(2, 256, 256, dtype=t).unbind() for t in (torch.float32, torch.bfloat16)]
    best = [float("inf"), float("inf")]
    end = time.perf_counter() + 1
    for _ in range(200):
        for which, pair in enumerate(pairs):
            begin = time.perf_counter()
            torch.mm(*pair)
            best[which] = min(best[which], time.perf_counter() - begin)
        if time.perf_counter() > end:
            break
    return best[0] / best[1]

try:
    import torch
except ImportError as error:
    found["error"] = str(error)
else:
    found["torch"], found["cuda"] = torch.__version__, torch.version.cuda
    if wanted != "cpu":
        try:
            look_at_gpus()
        except (AssertionError, RuntimeError, torch.cuda.DeferredCudaCallError) as error:
            found["problem"] = (str(error).splitlines() or [repr(error)])[0]
    if not found["gpus"]:
        torch.set_num_threads(threads)
        found["precision"] = "bfloat16" if times_faster() >= 2 else "float32"
print("\\n" + json.dumps(found))
"""


class Device(Frozen):
    """A device, and what the sandbox and the bookkeeping need to know about it."""

    name: str
    """``cpu`` or ``cuda:N``."""
    description: str
    """The model of the processor or GPU, for people and for the study's record."""
    threads: int
    """Threads that a job's torch may compute with: on a CPU one, since every job has one core."""
    peak_flops: float | None = None
    """Peak FLOP/s that ``mfu_percent`` is a share of; None where it is not known."""
    memory_mb: float | None = None
    """Memory of the GPU; None for a CPU."""
    precision: Precision | None = None
    """What matrix products are best computed in; None where it was not measured."""
    uuid: str | None = None
    """The GPU's identifier, which picks it whatever the order inside the sandbox."""
    bus_address: str | None = None
    """Where the GPU is on the PCI bus, as in ``0000:3b:00.0``."""
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

    @property
    def identity(self) -> str:
        """What it is called on this machine, whoever asks and whatever GPUs are visible to them."""
        return self.uuid or self.name


class _Gpu(Frozen):
    name: str
    memory_mb: float
    uuid: str
    bus_address: str | None = None

    @property
    def identifier(self) -> str | None:
        """What the driver and its tools call it: a part of a GPU has a prefix of its own."""
        prefix = "MIG-" if " MIG " in self.name else "GPU-"
        return f"{prefix}{self.uuid.removeprefix(prefix)}" if self.uuid else None


class _Found(Frozen):
    torch: str | None
    cuda: str | None = None
    gpus: tuple[_Gpu, ...]
    driver_folders: tuple[str, ...]
    precision: Precision | None = None
    problem: str | None = None
    """Why torch cannot use a GPU, in its own words."""
    error: str | None = None


def detect_device(
    wanted: str = "auto", *, threads: int | None = None, machine: Path = MACHINE
) -> Device:
    """Find the device that was asked for.

    Args:
        wanted: ``auto`` (the first GPU, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``: the GPU
            that comes N-th, from 0, of those that ``CUDA_VISIBLE_DEVICES`` shows.
        threads: for torch; by default 1 on a CPU, and beside a GPU one for each core.
        machine: the root of the files that tell of the machine's GPUs.

    Raises:
        UsageError: torch is missing, there is no such device here, or there is a GPU and
            torch cannot use it.
    """
    check_device_name(wanted)
    kind, _, number = wanted.partition(":")
    cores = len(os.sched_getaffinity(0))
    found = _ask_torch(wanted, threads or 1)
    hidden = kind == "auto" and are_hidden() and not found.gpus and has_gpu(machine)
    if hidden:
        text = f"{VISIBLE} is {os.environ[VISIBLE]!r} and hides every GPU: training on the CPU."
        publish(Notice(text=text))
    elif kind != "cpu" and found.problem and (found.gpus or has_gpu(machine)):
        raise UsageError(
            why_unusable(
                found.problem, torch_version=str(found.torch), cuda=found.cuda, machine=machine
            )
        )
    if kind == "cpu" or (kind == "auto" and not found.gpus):
        return Device(
            name="cpu",
            description=f"{_processor_name()}, {counted(cores, 'core')}",
            threads=threads or 1,
            precision=found.precision,
        )
    index = int(number or 0)
    if index >= len(found.gpus):
        raise UsageError(
            f"The device {wanted!r} was asked for, and torch {found.torch} sees "
            f"{counted(len(found.gpus), 'CUDA device')}{_shown_by()}: check `nvidia-smi` and that "
            "torch is a CUDA build, or use --device cpu."
        )
    gpu = found.gpus[index]
    return Device(
        name=f"cuda:{index}",
        description=f"{gpu.name}, {gpu.memory_mb / 1024:.0f} GiB",
        threads=threads or cores,
        peak_flops=peak_flops(gpu.name),
        memory_mb=gpu.memory_mb,
        precision=found.precision,
        uuid=gpu.identifier,
        bus_address=gpu.bus_address,
        driver_folders=found.driver_folders,
    )


def check_device_name(wanted: str) -> None:
    """Refuse what cannot be a device anywhere.

    Raises:
        UsageError: it is none of the four forms.
    """
    kind, colon, number = wanted.partition(":")
    is_numbered = kind == "cuda" and number.isascii() and number.isdigit()
    if kind not in ("auto", "cpu", "cuda") or (colon and not is_numbered):
        raise UsageError(
            f"A device is 'auto', 'cpu', 'cuda' or 'cuda:N', and {wanted!r} was asked for: "
            "set --device to one of them."
        )


def _shown_by() -> str:
    """What limits the GPUs that are seen, as a clause."""
    visible = os.environ.get(VISIBLE)
    return "" if visible is None else f" (with {VISIBLE}={visible!r}, whose first is cuda:0)"


def _ask_torch(wanted: str, threads: int) -> _Found:
    command = [sys.executable, "-c", _PROBE, wanted, str(threads)]
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
