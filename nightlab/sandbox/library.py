"""What a candidate can read: an interpreter, torch and a compiler, and no text to learn from.

Start-up is outside of the training budget. A candidate could spend it on training with
whatever text its sandbox shows, and Python's and torch's own sources are much like the
default corpus. So candidates do not get the installed packages but a stripped copy of
them, which runs and says little: code compiled, documentation and comments gone, nothing
of the machine's that torch does not need.

The copy belongs to the installed set and is made once for it, by ``make setup`` or on
first use. It lies in the virtual environment, in the user's cache folder where that is
not writable, or in the temporary folder where root's candidates, who are other users,
could not enter either.
"""

import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import filelock
import platformdirs

from nightlab.errors import SandboxUnavailable
from nightlab.sandbox.library_tree import (
    LOADER_CACHE,
    build,
    python_headers,
    real_interpreter,
)
from nightlab.sandbox.toolchain import COMPILER, PYTHON_HEADER
from nightlab.sandbox.torch_closure import torch_closure

FOLDER = "nightlab-library"
KEPT_SECONDS = 3 * 24 * 3600
"""A tree of another installed set is removed when nobody has asked for it for so long:
a session that began before an upgrade may still read it."""

_DESCRIPTION = "library.json"
_MAKERS = ("bytecode.py", "headers.py", "library_tree.py", "shared_objects.py", "toolchain.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """A stripped tree, complete and ready."""

    folder: Path
    system_files: tuple[str, ...]
    """Files of the machine that the tree's programs need: shared libraries, the compiler."""
    has_compiler: bool
    """Whether torch.compile can work on a CPU, and Triton on a GPU."""
    header_folders: Mapping[str, tuple[str, ...]]
    """Where the compilers search for headers, by environment variable of theirs."""

    @property
    def home(self) -> Path:
        """PYTHONHOME: the interpreter with its standard library."""
        return self.folder / "home"

    @property
    def packages(self) -> Path:
        """On PYTHONPATH: torch, numpy and what they require."""
        return self.folder / "packages"

    @property
    def root(self) -> Path:
        """System files at their own paths, for a sandbox with a file system of its own."""
        return self.folder / "root"

    @property
    def python(self) -> str:
        """The interpreter's path on the host."""
        return str(self.home / "bin" / real_interpreter().name)

    @property
    def library_folders(self) -> tuple[str, ...]:
        """Where the dynamic loader must look besides its cache."""
        return (str(self.home / "lib"),)

    def headers_in_place(self) -> dict[str, str]:
        """Environment variables that lead the compilers to the tree's headers, on the host.

        A sandbox that shows the tree's root as its own has no need of them.
        """
        return {
            variable: ":".join(f"{self.root}{folder}" for folder in folders)
            for variable, folders in self.header_folders.items()
            if folders
        }

    def readable_in_place(self) -> tuple[str, ...]:
        """Every path that a job must be able to read where the tree is used on the host.

        Without a file system of its own its programs look for their shared libraries, and
        the compiler for its parts, at the machine's own paths.
        """
        headers = {
            f"{self.root}{folder}"
            for folders in self.header_folders.values()
            for folder in folders
            if Path(f"{self.root}{folder}").is_dir()
        }
        return (str(self.home), str(self.packages), *self.system_files, *sorted(headers))


def prepare_library(tell: Callable[[str], None] = lambda _: None) -> Library:
    """Find the tree of the installed set, or make it.

    Args:
        tell: called with one sentence when it must be made, which takes a while.

    Raises:
        SandboxUnavailable: no place can be written to, the disk is full, or this Python
            or torch cannot be copied.
    """
    key = _key()
    place = _place()
    library = _load(place / key)
    if library is not None:
        return library
    with filelock.FileLock(place / ".lock", thread_local=False):
        library = _load(place / key)  # Somebody else may have made it meanwhile.
        if library is None:
            tell(
                "Making the stripped copy of Python and torch that candidates see: once for "
                "this installation, in about a minute."
            )
            library = _make(place, key)
        _remove_old(place, key)
    return library


def _make(place: Path, key: str) -> Library:
    new = Path(tempfile.mkdtemp(prefix=".new-", dir=place))
    try:
        tree = build(new, torch_closure())
        variables = {"c++": "CPLUS_INCLUDE_PATH", "c": "C_INCLUDE_PATH"}
        described = {
            "system": sorted(tree.system),
            "has_compiler": tree.has_compiler,
            "header_folders": {
                variables[language]: [str(folder) for folder in folders]
                for language, folders in tree.header_folders.items()
            },
        }
        (new / _DESCRIPTION).write_text(json.dumps(described, indent=1), encoding="utf-8")
        new.rename(place / key)
    except OSError as error:
        raise SandboxUnavailable(
            f"Candidates need a stripped copy of Python and torch, and making it in {place} failed "
            f"({error}): free about a gigabyte there."
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    made = _load(place / key)
    if made is None:
        raise SandboxUnavailable(f"The stripped copy in {place / key} vanished: try again.")
    return made


def _load(folder: Path) -> Library | None:
    try:
        described = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
        os.utime(folder)
    except FileNotFoundError:
        return None
    except PermissionError:
        pass  # Made by another user: it is theirs to keep.
    return Library(
        folder=folder,
        system_files=tuple(described["system"]),
        has_compiler=described["has_compiler"],
        header_folders={
            variable: tuple(folders) for variable, folders in described["header_folders"].items()
        },
    )


def _key() -> str:
    """Names the installed set: another Python, package, compiler or C library is another."""
    words = [sys.version, *map(_state, (real_interpreter(), Path(LOADER_CACHE)))]
    words += [_state(Path(path)) for path in _compiler()]
    words += [_state(folder / PYTHON_HEADER) for folder in python_headers()]
    for name in torch_closure():
        distribution = metadata.distribution(name)
        record = distribution.read_text("RECORD") or ""
        words += [name, distribution.version, hashlib.sha256(record.encode()).hexdigest()]
    here = Path(__file__).parent
    words += [hashlib.sha256((here / name).read_bytes()).hexdigest() for name in _MAKERS]
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def _state(path: Path) -> str:
    """A file's identity for as long as nobody replaces it."""
    try:
        found = path.resolve().stat()
    except FileNotFoundError:
        return f"{path} absent"
    return f"{path} {found.st_size} {found.st_mtime_ns}"


def _compiler() -> list[str]:
    found = shutil.which(COMPILER, path="/usr/bin:/bin")
    return [found] if found else []


def _place() -> Path:
    """The first place that can be written to and that candidates can reach."""
    places = [Path(sys.prefix) / FOLDER, platformdirs.user_cache_path("nightlab") / "library"]
    as_root = os.geteuid() == 0
    if as_root:
        places.append(Path(tempfile.gettempdir()) / FOLDER)
    for place in places:
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        ours = place.stat().st_uid == os.geteuid() and not place.is_symlink()
        if ours and os.access(place, os.W_OK) and (not as_root or _is_reachable(place)):
            return place
    raise SandboxUnavailable(
        "Candidates need a stripped copy of Python and torch, and no place for it was found that "
        f"is ours to write{' and open to other users' if as_root else ''}: tried "
        f"{', '.join(map(str, places))}; set TMPDIR or XDG_CACHE_HOME to such a folder."
    )


def _is_reachable(place: Path) -> bool:
    """Whether any user can enter a folder: root's candidates run as users of their own."""
    place.chmod(0o755)
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (place, *place.parents))


def _remove_old(place: Path, key: str) -> None:
    for path in place.iterdir():
        if path.is_dir() and path.name != key:
            age = time.time() - path.stat().st_mtime
            if path.name.startswith(".new-") or age > KEPT_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
