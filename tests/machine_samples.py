"""Machines with GPUs that are not here: the files of a driver, and a torch that tells of cards."""

from dataclasses import dataclass
from pathlib import Path

DRIVER_VERSION = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {version}  Release Build\n"
)
INFORMATION = (
    "Model: \t\t NVIDIA X\nIRQ:   \t\t 38\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}\n"
)


@dataclass(frozen=True)
class Card:
    """A card by torch's name for it and the memory that torch sees, and what follows."""

    name: str
    memory_mb: int
    tflops: float | None
    device_batch: int
    """Rows that the h100 preset starts with on it."""


CARDS = (
    Card("NVIDIA GeForce RTX 4090", 24_080, 165.2, 32),
    Card("NVIDIA GeForce RTX 5090", 32_109, 209.5, 32),
    Card("NVIDIA A100-SXM4-40GB", 40_326, 312, 64),
    Card("NVIDIA A100-SXM4-80GB", 81_152, 312, 128),
    Card("NVIDIA H100 80GB HBM3", 81_079, 989, 128),
    Card("NVIDIA H200", 143_167, 989, 128),
    Card("NVIDIA B200", 182_642, 2250, 128),
    Card("NVIDIA L4", 22_563, 121, 32),
    Card("NVIDIA A10", 22_502, 125, 32),
    Card("NVIDIA L40S", 45_488, 362, 64),
    Card("NVIDIA GeForce RTX 4080", 15_937, 97.5, 16),
    Card("NVIDIA RTX A1000", 8_192, None, 8),
)

# What the engine's look at torch calls, and nothing more.
_TORCH = """
import os
import time
from types import SimpleNamespace as Namespace

__version__ = {version!r}
version = Namespace(cuda={cuda!r})
float32, bfloat16 = "float32", "bfloat16"


class DeferredCudaCallError(Exception):
    pass


# The GPUs that CUDA_VISIBLE_DEVICES shows, by the driver's rules: a list of numbers or of
# identifiers, as it begins, that ends at what is none of them; one that is named twice spoils it.
def seen():
    here = {gpus!r}
    identifiers = [
        ("MIG-" if " MIG " in name else "GPU-") + f"0000-{{index}}"
        for index, (name, _) in enumerate(here)
    ]
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is None:
        return list(range(len(here)))
    by_number = not asked.startswith(("GPU-", "MIG-"))
    names = [str(index) for index in range(len(here))] if by_number else identifiers
    found = []
    for word in asked.split(","):
        if word.strip() not in names:
            break
        index = names.index(word.strip())
        if index in found:
            return []
        found.append(index)
    return found


def init():
    if {cuda!r} is None:
        raise AssertionError("Torch not compiled with CUDA enabled")
    if {start!r}:
        raise RuntimeError({start!r})
    if {gpus!r} and not seen():
        raise RuntimeError("No CUDA GPUs are available")


def properties(index):
    name, memory_mb = {gpus!r}[seen()[index]]
    return Namespace(name=name, total_memory=memory_mb * 2**20, uuid=f"0000-{{seen()[index]}}")


def ones(*size, device=None, dtype=None):
    if device is not None and {kernel!r}:
        raise RuntimeError({kernel!r})
    return Namespace(unbind=lambda: (dtype, dtype), sum=lambda: Namespace(item=lambda: 8.0))


def mm(left, right):
    time.sleep({bfloat16_seconds!r} if left == bfloat16 else 0.004)


def set_num_threads(count):
    pass


cuda = Namespace(
    DeferredCudaCallError=DeferredCudaCallError,
    init=init,
    device_count=lambda: len(seen()),
    get_device_properties=properties,
    set_device=lambda index: None,
    is_bf16_supported=lambda including_emulation: {has_bfloat16!r},
)
"""


def write_torch(
    folder: Path,
    *cards: tuple[str, int],
    cuda: str | None = "13.0",
    start: str = "",
    kernel: str = "",
    has_bfloat16: bool = True,
    bfloat16_seconds: float = 0.004,
) -> None:
    """Write a torch into a folder that is to stand on ``PYTHONPATH``.

    Args:
        folder: where to.
        cards: name and memory in MB of each GPU that it sees.
        cuda: the version that it was made for; None for a build without.
        start: what it says when CUDA is started, if that fails.
        kernel: what it says when something is computed on a GPU, if that fails.
        has_bfloat16: whether the GPU computes in bfloat16.
        bfloat16_seconds: what a product in bfloat16 takes on the CPU; 0.004 in float32.
    """
    text = _TORCH.format(
        version=f"2.13.0+{'cpu' if cuda is None else 'cu' + cuda.replace('.', '')}",
        cuda=cuda,
        start=start,
        kernel=kernel,
        gpus=cards,
        has_bfloat16=has_bfloat16,
        bfloat16_seconds=bfloat16_seconds,
    )
    (folder / "torch.py").write_text(text, encoding="utf-8")


def write_machine(
    root: Path, gpus: dict[int, str] | None = None, version: str | None = None
) -> Path:
    """Write the files that a driver would show; return their root.

    Args:
        root: where to.
        gpus: identifiers by minor number; each has a device node.
        version: the driver's.
    """
    (root / "dev").mkdir(parents=True)
    for minor, uuid in (gpus or {}).items():
        (root / "dev" / f"nvidia{minor}").touch()
        folder = root / "proc/driver/nvidia/gpus" / f"0000:0{9 - minor}:00.0"
        folder.mkdir(parents=True)
        (folder / "information").write_text(INFORMATION.format(uuid=uuid, minor=minor))
    if gpus:
        for name in ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"):
            (root / "dev" / name).touch()
        (root / "dev" / "nvidia-caps").mkdir()
    if version is not None:
        path = root / "proc/driver/nvidia/version"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(DRIVER_VERSION.format(version=version))
    return root
