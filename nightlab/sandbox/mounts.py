"""What a sandbox with a file system of its own shows of the machine's files.

Whatever is not listed here does not exist for a candidate. The interpreter and the
packages appear under ``/nightlab``, wherever they really lie: they often lie in a home
folder of mode 0700, which the candidate's user could not enter.
"""

import glob
from dataclasses import dataclass
from pathlib import Path

from nightlab.device import Device
from nightlab.sandbox.library import Library, prepare_library
from nightlab.sandbox.library_tree import real_interpreter

PYTHON_HOME = "/nightlab/python"
PACKAGES = "/nightlab/packages"
DRIVER = "/nightlab/driver"

_GPU_NODES = (
    "/dev/nvidia[0-9]*",
    "/dev/nvidiactl",
    "/dev/nvidia-uvm",
    "/dev/nvidia-uvm-tools",
    "/dev/nvidia-modeset",
    "/dev/nvidia-caps",
)
_DRIVER_FILES = ("libcuda.so*", "libnvidia-*.so*", "libcudadebugger.so*", "libnvcuvid.so*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounts:
    """What is mounted read-only, as (path on the host, path in the sandbox), and how."""

    read_only: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """Symbolic links: (target, path in the sandbox)."""
    devices: tuple[str, ...] = ()
    """Device nodes, at the same path in the sandbox."""
    library_folders: tuple[str, ...] = ()
    """Where the dynamic linker looks besides its cache."""

    def __add__(self, other: "Mounts") -> "Mounts":
        return Mounts(
            read_only=self.read_only + other.read_only,
            links=self.links + other.links,
            devices=self.devices + other.devices,
            library_folders=self.library_folders + other.library_folders,
        )


def standard_mounts() -> Mounts:
    """Everything that every job needs, whatever its device.

    Raises:
        SandboxUnavailable: the stripped copy of Python and torch cannot be made.
    """
    return library(prepare_library())


def python_path() -> str:
    """The interpreter's path in the sandbox."""
    return f"{PYTHON_HOME}/bin/{real_interpreter().name}"


def library(tree: Library) -> Mounts:
    """A stripped copy of Python and torch, and its system files at their usual paths."""
    mounted = [(str(tree.home), PYTHON_HOME), (str(tree.packages), PACKAGES)]
    links = []
    for path in sorted(tree.root.iterdir()):
        if path.is_symlink():
            links.append((str(path.readlink()), f"/{path.name}"))
        else:
            mounted.append((str(path), f"/{path.name}"))
    return Mounts(
        read_only=tuple(mounted),
        links=tuple(links),
        library_folders=(f"{PYTHON_HOME}/lib",),
    )


def gpu(device: Device) -> Mounts:
    """Device nodes and driver libraries of a GPU; nothing for the CPU."""
    if device.kind != "cuda":
        return Mounts()
    files = {
        path.name: str(path.resolve())
        for folder in device.driver_folders
        for pattern in _DRIVER_FILES
        for path in sorted(Path(folder).glob(pattern))
    }
    nodes = sorted(node for pattern in _GPU_NODES for node in glob.glob(pattern))
    return Mounts(
        read_only=(
            ("/sys", "/sys"),
            *((source, f"{DRIVER}/{name}") for name, source in sorted(files.items())),
        ),
        devices=tuple(nodes),
        # The second is for a sandbox without a file system of its own.
        library_folders=(DRIVER, *device.driver_folders),
    )
