"""What a sandbox with a file system of its own shows of the machine's files.

Whatever is not listed here does not exist for a candidate. The interpreter and the
packages appear under ``/nightlab``, wherever they really lie: they often lie in a home
folder of mode 0700, which the candidate's user could not enter.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nightlab.errors import SandboxUnavailable
from nightlab.sandbox.device import Device
from nightlab.sandbox.driver import MACHINE, device_nodes, minor_number
from nightlab.sandbox.library import Library
from nightlab.sandbox.library_tree import real_interpreter

PYTHON_HOME = "/nightlab/python"
PACKAGES = "/nightlab/packages"
DRIVER = "/nightlab/driver"

# What every GPU needs besides its own node; the last only a part of a GPU (MIG).
_CONTROL_NODES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
_PARTS_NODE = "nvidia-caps"
_DRIVER_FILES = ("libcuda.so*", "libnvidia-*.so*", "libcudadebugger.so*", "libnvcuvid.so*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounts:
    """What is mounted, as (path outside, path in the sandbox), and how."""

    read_only: tuple[tuple[str, str], ...] = ()
    writable: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """Symbolic links: (target, path in the sandbox)."""
    devices: tuple[str, ...] = ()
    """Device nodes, at the same path in the sandbox."""
    library_folders: tuple[str, ...] = ()
    """Where the dynamic linker looks besides its cache."""

    def __add__(self, other: "Mounts") -> "Mounts":
        return Mounts(
            read_only=self.read_only + other.read_only,
            writable=self.writable + other.writable,
            links=self.links + other.links,
            devices=self.devices + other.devices,
            library_folders=self.library_folders + other.library_folders,
        )


def python_path() -> str:
    """The interpreter's path in the sandbox."""
    return f"{PYTHON_HOME}/bin/{real_interpreter().name}"


def library(tree: Library, *, small: str, large: str, large_files: Iterable[str]) -> Mounts:
    """A stripped copy of Python and torch, and its system files at their usual paths.

    Args:
        tree: what it has.
        small: the folder of a copy of it in which large files are empty.
        large: the folder in which they are whole.
        large_files: their paths in either.
    """
    places = {"home": PYTHON_HOME, "packages": PACKAGES}
    links = []
    for path in sorted(tree.root.iterdir()):
        if path.is_symlink():
            links.append((str(path.readlink()), f"/{path.name}"))
        else:
            places[f"root/{path.name}"] = f"/{path.name}"
    mounted = [(f"{small}/{part}", place) for part, place in places.items()]
    for file in large_files:
        part = next(part for part in places if file.startswith(f"{part}/"))
        mounted.append((f"{large}/{file}", places[part] + file.removeprefix(part)))
    return Mounts(
        read_only=tuple(mounted),
        links=tuple(links),
        library_folders=(f"{PYTHON_HOME}/lib",),
    )


def gpu(device: Device, machine: Path = MACHINE) -> Mounts:
    """Device nodes and driver libraries of one GPU, and no other's; nothing for the CPU.

    Args:
        device: what the job computes on.
        machine: the root of the files that tell of the machine's GPUs.

    Raises:
        SandboxUnavailable: the machine has several, and which is the device's is not told.
    """
    if device.kind != "cuda":
        return Mounts()
    files = {
        path.name: str(path.resolve())
        for folder in device.driver_folders
        for pattern in _DRIVER_FILES
        for path in sorted(Path(folder).glob(pattern))
    }
    return Mounts(
        read_only=(
            ("/sys", "/sys"),
            *((source, f"{DRIVER}/{name}") for name, source in sorted(files.items())),
        ),
        devices=_nodes(device, machine),
        # The second is for a sandbox without a file system of its own.
        library_folders=(DRIVER, *device.driver_folders),
    )


def driver_variables(device: Device, *, in_place: bool = False) -> dict[str, str]:
    """Environment variables that lead to a GPU's driver as a job sees it.

    Without it Triton asks /sbin/ldconfig, on Ubuntu a shell script, which no sandbox shows.

    Args:
        device: what the job computes on.
        in_place: whether the sandbox has no file system of its own.
    """
    for folder in device.driver_folders:
        if any(Path(folder).glob("libcuda.so*")):
            return {"TRITON_LIBCUDA_PATH": folder if in_place else DRIVER}
    return {}


def _nodes(device: Device, machine: Path) -> tuple[str, ...]:
    """The device nodes that a job on a GPU needs, as far as the machine has them."""
    selector = device.selector
    cards = device_nodes(machine)
    own = list(cards.values())
    if len(cards) > 1:
        minor = minor_number(selector, device.bus_address, machine)
        if minor not in cards:
            raise SandboxUnavailable(
                f"a job is shown its own GPU only, and which of {', '.join(own)} is {selector} "
                "cannot be read in /proc/driver/nvidia/gpus",
                "start Nightlab in a container that is given this GPU alone, or take another "
                "with --device cuda:N",
            )
        own = [cards[minor]]
    shared = (*_CONTROL_NODES, *((_PARTS_NODE,) if selector.startswith("MIG-") else ()))
    return (*own, *(f"/dev/{name}" for name in shared if (machine / "dev" / name).exists()))
