"""What a sandbox shows: the interpreter, torch with its requirements, system libraries.

Whatever is not listed here does not exist for a candidate. The interpreter and the
packages appear under ``/nightlab``, wherever they really lie: they often lie in a home
folder of mode 0700, which the candidate's user could not enter.
"""

import glob
import re
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from nightlab.device import Device
from nightlab.errors import SandboxUnavailable

PYTHON_HOME = "/nightlab/python"
PACKAGES = "/nightlab/packages"

# Parts of the standard library that hold text or wheels to learn from and that torch
# does not need; `site-packages` holds whatever the machine's owner has installed.
_HIDDEN_LIBRARY = ("site-packages", "dist-packages", "test", "ensurepip", "idlelib", "lib2to3")

_SYSTEM = ("/usr/lib", "/usr/lib64", "/usr/lib32", "/usr/bin", "/usr/include", "/usr/libexec")
_SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives")
_SYSTEM_LINKS = ("/lib", "/lib64", "/lib32", "/bin")
"""Symbolic links into /usr on most systems, folders of their own on some."""

_GPU_NODES = (
    "/dev/nvidia[0-9]*",
    "/dev/nvidiactl",
    "/dev/nvidia-uvm",
    "/dev/nvidia-uvm-tools",
    "/dev/nvidia-modeset",
    "/dev/nvidia-caps",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mounts:
    """What is mounted read-only, as (path on the host, path in the sandbox), and how."""

    read_only: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """Symbolic links: (target, path in the sandbox)."""
    hidden: tuple[str, ...] = ()
    """Folders inside the others that are covered with an empty one."""
    devices: tuple[str, ...] = ()
    """Device nodes, at the same path in the sandbox."""
    library_folders: tuple[str, ...] = ()
    """Where the dynamic linker looks besides its cache."""

    def __add__(self, other: "Mounts") -> "Mounts":
        return Mounts(
            read_only=self.read_only + other.read_only,
            links=self.links + other.links,
            hidden=self.hidden + other.hidden,
            devices=self.devices + other.devices,
            library_folders=self.library_folders + other.library_folders,
        )


def standard_mounts() -> Mounts:
    """Everything that every job needs, whatever its device."""
    return system() + interpreter() + packages(torch_closure())


def python_path() -> str:
    """The interpreter's path in the sandbox."""
    return f"{PYTHON_HOME}/bin/{_real_interpreter().name}"


def interpreter() -> Mounts:
    """The interpreter that runs now, and its standard library."""
    base = Path(sys.base_prefix)
    library = Path(sysconfig.get_path("stdlib"))
    home = f"{PYTHON_HOME}/lib/{library.name}"
    mounted = [(str(_real_interpreter()), python_path()), (str(library), home)]
    headers = Path(sysconfig.get_path("include"))
    if headers.is_dir():  # what torch.compile makes for a CPU includes Python.h
        mounted.append((str(headers), f"{PYTHON_HOME}/include/{headers.name}"))
    # A Python of the system finds its shared libraries in /usr/lib; another one (pyenv,
    # conda, a stand-alone build) keeps them beside itself.
    pattern = "libpython*.so*" if base.is_relative_to("/usr") else "*.so*"
    for file in sorted((base / "lib").glob(pattern)):
        if file.resolve().is_file():
            mounted.append((str(file.resolve()), f"{PYTHON_HOME}/lib/{file.name}"))
    hidden = tuple(f"{home}/{name}" for name in _HIDDEN_LIBRARY if (library / name).is_dir())
    return Mounts(read_only=tuple(mounted), hidden=hidden, library_folders=(f"{PYTHON_HOME}/lib",))


def torch_closure() -> tuple[str, ...]:
    """The installed distributions that torch needs, itself and numpy among them, sorted.

    Requirements of extras are left out; those with other conditions count when they are
    installed, so that CUDA's and Triton's packages are found by themselves.
    """
    found: set[str] = set()
    waiting = ["torch", "numpy"]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            requirements = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
        for requirement in requirements:
            word = re.match(r"[A-Za-z0-9._-]+", requirement)
            if word is not None and not re.search(r";.*\bextra\b", requirement):
                waiting.append(re.sub(r"[-_.]+", "-", word.group()).lower())
    return tuple(sorted(found))


def packages(distributions: Iterable[str]) -> Mounts:
    """The top-level files and folders of installed distributions.

    Raises:
        SandboxUnavailable: torch or numpy is not installed.
    """
    names = set(distributions)
    if not {"torch", "numpy"} <= names:
        raise SandboxUnavailable(
            f"The sandbox shows candidates torch and numpy, and {sys.executable} does not have "
            "both: run `make setup`."
        )
    mounted: dict[str, str] = {}
    for name in sorted(names):
        distribution = metadata.distribution(name)
        tops = {file.parts[0] for file in distribution.files or ()}
        for top in tops - {"..", "__pycache__"}:
            path = Path(str(distribution.locate_file(top)))
            if path.exists():
                mounted[f"{PACKAGES}/{top}"] = str(path)
    return Mounts(read_only=tuple((source, place) for place, source in sorted(mounted.items())))


def system() -> Mounts:
    """System libraries, and the compiler that torch.compile calls."""
    mounted = [(path, path) for path in (*_SYSTEM, *_SYSTEM_FILES) if _is_real(path)]
    links = []
    for path in (*_SYSTEM_LINKS, *_SYSTEM):
        place = Path(path)
        if place.is_symlink():
            links.append((str(place.readlink()), path))
        elif path in _SYSTEM_LINKS and place.is_dir():
            mounted.append((path, path))
    hidden: list[str] = []
    for library in [Path("/usr/lib/python3"), *Path("/usr/lib").glob("python3.*")]:
        inner = _HIDDEN_LIBRARY if library.name != "python3" else ("dist-packages",)
        hidden += [str(library / name) for name in inner if (library / name).is_dir()]
    return Mounts(read_only=tuple(mounted), links=tuple(links), hidden=tuple(hidden))


def gpu(device: Device) -> Mounts:
    """Device nodes and driver libraries of a GPU; nothing for the CPU."""
    if device.kind != "cuda":
        return Mounts()
    shown = ("/usr/lib", "/usr/lib64", "/lib", "/lib64")
    folders = tuple(
        folder
        for folder in device.driver_folders
        if not any(Path(folder).is_relative_to(place) for place in shown)
    )
    nodes = sorted(node for pattern in _GPU_NODES for node in glob.glob(pattern))
    return Mounts(
        read_only=(("/sys", "/sys"), *((folder, folder) for folder in folders)),
        devices=tuple(nodes),
        library_folders=folders,
    )


def _real_interpreter() -> Path:
    # In a virtual environment sys.executable is a link to the interpreter it was made with.
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def _is_real(path: str) -> bool:
    return Path(path).exists() and not Path(path).is_symlink()
