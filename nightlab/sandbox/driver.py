"""The NVIDIA driver of this machine, and why torch cannot use the GPU that it drives."""

import os
import re
from pathlib import Path

MACHINE = Path("/")

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Names the GPUs that programs see, by number or identifier: the driver's own variable."""

# The oldest driver that runs programs made for a major version of CUDA: NVIDIA, "CUDA
# Compatibility", minor version compatibility.
_OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}

# The builds of torch to choose from, with the oldest driver of each, newest first: 2.13 is
# published for CUDA 12.6, 13.0 and 13.2 (PyTorch's RELEASE.md). The first has kernels for
# cards from Turing to Blackwell, the last for those from Maxwell to Hopper.
_NEW, _OLD = ("cu130", 580), ("cu126", 525)


def has_gpu(machine: Path = MACHINE) -> bool:
    """Whether an NVIDIA GPU is in the machine, may this process use it or not."""
    return bool(device_nodes(machine)) or any((machine / "proc/driver/nvidia/gpus").glob("*"))


def may_have_gpu(machine: Path = MACHINE) -> bool:
    """Whether asking torch for a GPU can be worth the seconds that it takes.

    Windows' subsystem for Linux and AMD's driver show theirs under names of their own.
    """
    others = (machine / "dev" / name for name in ("dxg", "kfd"))
    return has_gpu(machine) or any(other.exists() for other in others)


def are_hidden() -> bool:
    """Whether every GPU is hidden on purpose: by an empty list, or one that begins with -1.

    Where the list begins with anything else that is no GPU, or names one twice, the driver shows
    none either, and that is a mistake.
    """
    first = os.environ.get(VISIBLE, "0").partition(",")[0].strip()
    return not first or re.fullmatch(r"-\d+", first) is not None


def device_nodes(machine: Path = MACHINE) -> dict[int, str]:
    """The device nodes of GPUs, by minor number."""
    names = (path.name.removeprefix("nvidia") for path in (machine / "dev").glob("nvidia[0-9]*"))
    return {int(name): f"/dev/nvidia{name}" for name in sorted(names) if name.isdigit()}


def minor_number(uuid: str, bus_address: str | None = None, machine: Path = MACHINE) -> int | None:
    """The minor number of a GPU's device node, or None where the driver does not tell it.

    Args:
        uuid: the GPU's identifier, which a card that is not initialised may hide.
        bus_address: where it is on the PCI bus, as in ``0000:3b:00.0``; a part of a GPU (MIG)
            has its card's.
        machine: the root of the files that tell of the driver.
    """
    for information in (machine / "proc/driver/nvidia/gpus").glob("*/information"):
        text = information.read_text(encoding="utf-8", errors="replace")
        found = dict(re.findall(r"^(GPU UUID|Device Minor):\s*(\S+)", text, re.MULTILINE))
        is_it = information.parent.name == bus_address or (
            found.get("GPU UUID", "").lower() == uuid.lower()
        )
        if is_it and "Device Minor" in found:
            return int(found["Device Minor"])
    return None


def driver_version(machine: Path = MACHINE) -> str | None:
    """The version of the kernel's driver, such as ``580.65.06``."""
    path = machine / "proc/driver/nvidia/version"
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    found = re.search(r"\b\d{3,}\.\d+(?:\.\d+)?\b", text)
    return found[0] if found else None


def why_unusable(
    problem: str, *, torch_version: str, cuda: str | None, machine: Path = MACHINE
) -> str:
    """One sentence: why torch cannot use the machine's GPU, and what mends it.

    Args:
        problem: what torch says.
        torch_version: such as ``2.13.0+cu130``.
        cuda: the version of CUDA that torch was made for; None for a build without.
        machine: the root of the files that tell of the driver.
    """
    version = driver_version(machine)
    driver = int(version.partition(".")[0]) if version else None
    needed = _OLDEST_DRIVER.get(int(cuda.partition(".")[0]), 0) if cuda else 0
    if cuda is None:
        reason, remedy = f"torch {torch_version} is a build for CPUs", _fitting(driver)
    elif driver is not None and driver < needed:
        reason = (
            f"its driver {version} is too old for torch {torch_version}, which was made for CUDA "
            f"{cuda} and needs driver {needed} or later"
        )
        remedy = _fitting(driver)
    else:
        reason = f"torch {torch_version} says {problem!r}"
        remedy = _remedy(problem, cuda, machine)
    return (
        f"This machine has an NVIDIA GPU that torch cannot use, because {reason}: {remedy}, or "
        "train on the CPU on purpose with `--device cpu` (`make run DEVICE=cpu`)."
    )


def _fitting(driver: int | None) -> str:
    """What brings driver and torch together, as a clause."""
    (new, newest), (old, oldest) = _NEW, _OLD
    if driver is None:
        return (
            f"run `make setup TORCH={new}` with driver {newest} or later, `make setup TORCH={old}` "
            f"with {oldest} or later"
        )
    if driver >= newest:
        return f"run `make setup TORCH={new}`"
    update = f"update the driver to {newest} or later"
    if driver < oldest:
        return f"{update} and run `make setup TORCH={new}`"
    return f"run `make setup TORCH={old}`, or for a card of the Blackwell generation {update}"


def _remedy(problem: str, cuda: str, machine: Path) -> str:
    visible = os.environ.get(VISIBLE)
    if "no kernel image" in problem:
        other, _ = _OLD if int(cuda.partition(".")[0]) > 12 else _NEW
        return f"run `make setup TORCH={other}`, the build for other generations of cards"
    if "out of memory" in problem or "busy" in problem:
        return "free it (`nvidia-smi` shows who uses it), or choose another with --device cuda:N"
    if not device_nodes(machine):
        return "give this container the GPU, as by `docker run --gpus all`"
    if visible is not None and "No CUDA GPUs" in problem:
        return (
            f"unset {VISIBLE}, which is {visible!r}, or have it name GPUs that `nvidia-smi -L` "
            "lists, each once"
        )
    return "check what `nvidia-smi` says"
