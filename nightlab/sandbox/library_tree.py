"""Makes the tree of files that a candidate may read: see ``library`` for what it is for.

The tree has three parts::

    home/       the interpreter with its standard library: PYTHONHOME
    packages/   torch, numpy and what they require: PYTHONPATH
    root/       system files at their paths: shared libraries, the compiler, headers

Shared libraries and programs are hard links to the machine's own where that works, else
copies. Python files are stripped (``bytecode``), headers lose their comments, text that
nothing reads at run time is left out.
"""

import os
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from nightlab.errors import SandboxUnavailable
from nightlab.sandbox.headers import without_comments
from nightlab.sandbox.shared_objects import is_binary, loader_of, needed_libraries
from nightlab.sandbox.toolchain import Toolchain, find_toolchain

LAUNCHERS = ("/usr/bin/prlimit", "/usr/bin/setpriv")
"""What rung 1 starts a job's interpreter with."""
LOADER_CACHE = "/etc/ld.so.cache"
_SYSTEM_FOLDERS = ("/usr/lib", "/lib")
"""And those that begin like them: lib64, lib32. Other libraries go to the interpreter's own."""
_LINKS = ("/lib", "/lib64", "/lib32", "/bin", "/sbin")
"""Symbolic links into /usr on most systems, folders of their own on some."""

# Neither torch nor a trainer imports these; they hold text to learn from, or wheels of it.
_FOLDERS_LEFT_OUT = frozenset(
    (
        *("test", "tests", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip"),
        *("pydoc_data", "site-packages", "dist-packages", "__pycache__", "include"),
        *("share", "doc", "docs", "examples", "cmake", "pkgconfig"),
    )
)
_ONLY_PROGRAM = {"torch/bin": "torch_shm_manager"}
"""Of a folder of programs, the one that is started at run time; the others are tests."""
_EXTENSIONS_LEFT_OUT = ("_test", "_ctypes_test", "_tkinter", "xxlimited", "_xxtestfuzz")
_DATA = frozenset((".jinja", ".bc"))
"""Templates that torch's compiler fills in; Triton's library of device functions."""
_TRITON_DRIVER = "triton/backends"
_COMPILED_BY_TRITON = frozenset((".c", ".h"))
_EMPTIED = {".json": "{}", ".txt": ""}
"""Opened by some module or other, but only for the wording of messages or to show a use."""
_MOST_WORKERS = 4


def build(folder: Path, distributions: Iterable[str]) -> "Tree":
    """Fill an empty folder.

    Raises:
        SandboxUnavailable: the interpreter or the packages cannot be shown to a candidate.
    """
    interpreter = real_interpreter()
    loader = loader_of(interpreter)
    tree = Tree(folder)
    tree.take(interpreter, f"home/bin/{interpreter.name}")
    _take_standard_library(tree)
    names = tuple(distributions)
    for name in names:
        _take_distribution(tree, name)
    tools = find_toolchain(
        torch=_folder_of("torch"),
        python_headers=python_headers(),
        triton=_folder_of("triton") if "triton" in names else None,
    )
    if tools is not None:
        _take_toolchain(tree, tools)
    programs = [Path(path) for path in LAUNCHERS if Path(path).is_file()]
    if "triton" in names and Path("/sbin/ldconfig").is_file():
        programs.append(Path("/sbin/ldconfig"))  # It asks for the driver's place.
    for path in programs:
        tree.take_system(path)
    outermost = [*tree.binaries, *programs]
    for library in needed_libraries(loader, outermost):
        tree.take_library(library)
    if Path(LOADER_CACHE).is_file():
        tree.take_system(Path(LOADER_CACHE))
    tree.finish()
    return tree


class Tree:
    """A tree in the making.

    Attributes:
        binaries: programs and shared libraries in it, by where they came from.
        system: files of the machine's own that it shows at their own paths.
        has_compiler: whether a compiler is in it.
        header_folders: where its compilers search: of C++ and of C.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.binaries: list[Path] = []
        self.system: set[str] = set()
        self.has_compiler = False
        self.header_folders: dict[str, tuple[Path, ...]] = {}
        self._sources: list[tuple[Path, Path]] = []
        self._placed: dict[Path, Path] = {}
        self._beside_python: set[Path] = set()

    def take(self, source: Path, place: str) -> None:
        """Put a file into the tree as it is, as a hard link if that can be."""
        real, target = source.resolve(), self._room_for(place)
        if target.exists():
            return
        # A second name of the same file costs no second copy.
        first = self._placed.setdefault(real, real)
        if not _link(first, target):
            shutil.copyfile(real, target)
            target.chmod(0o755 if os.access(real, os.X_OK) else 0o644)
            self._placed[real] = target
        if is_binary(target):
            self.binaries.append(source)
            if not place.startswith("root/"):
                self._beside_python.add(real)

    def take_python(self, source: Path, place: str) -> None:
        """Put a Python file into the tree, stripped, when ``finish`` is called."""
        self._sources.append((source, self._room_for(place)))

    def take_system(self, path: Path) -> None:
        """Put a system file into the tree, at its path."""
        # The folder's real path: /lib is a link on most systems. The file's own name: it is
        # what the loader and the linker ask for.
        place = Path(os.path.realpath(path.parent), path.name)
        self.take(path, f"root{place}")
        self.system.add(str(path.resolve()))

    def take_library(self, path: Path) -> None:
        """Put a shared library where the loader will find it, unless it is there."""
        if path.resolve() in self._beside_python:
            return
        real = os.path.realpath(path.parent) + "/"
        if real.startswith(_SYSTEM_FOLDERS):
            self.take_system(path)
        else:
            self.take(path, f"home/lib/{path.name}")

    def take_header(self, path: Path, place: str) -> None:
        """Put a header into the tree, without its comments."""
        target = self._room_for(place)
        text = path.read_bytes().decode("latin-1")
        target.write_bytes(without_comments(text).encode("latin-1"))

    def write(self, place: str, text: str) -> None:
        """Put a text into the tree."""
        self._room_for(place).write_text(text, encoding="utf-8")

    def link(self, target: str, place: str) -> None:
        """Put a symbolic link into the tree."""
        self._room_for(place).symlink_to(target)

    def finish(self) -> None:
        """Strip Python files, add the links of the file system's root, open all to read."""
        _strip(self._sources)
        for path in map(Path, _LINKS):
            if path.is_symlink() and (self.folder / f"root{path.resolve()}").is_dir():
                self.link(str(path.readlink()), f"root{path}")
        for folder, _, names in os.walk(self.folder):
            os.chmod(folder, 0o755)
            for name in names:
                _open_to_read(Path(folder, name))

    def _room_for(self, place: str) -> Path:
        target = self.folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


def real_interpreter() -> Path:
    """The program that runs now: in a virtual environment sys.executable is a link to it."""
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def standard_library_place() -> str:
    """Where the standard library lies beneath PYTHONHOME."""
    return f"{sys.platlibdir}/python{sys.version_info.major}.{sys.version_info.minor}"


def _take_standard_library(tree: Tree) -> None:
    home = f"home/{standard_library_place()}"
    for library in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}:
        for path in _files(Path(library)):
            place = path.relative_to(library)
            if place.parts[0].startswith("config-") or path.name.startswith(_EXTENSIONS_LEFT_OUT):
                continue
            _take(tree, path, f"{home}/{place}")


def _take_distribution(tree: Tree, name: str) -> None:
    distribution = metadata.distribution(name)
    if distribution.files is None:
        raise SandboxUnavailable(
            f"The sandbox shows candidates the files of {name}, and its installation has no list "
            "of them (RECORD): install it with pip from a wheel, or run `make setup`."
        )
    tops = {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}
    for top in sorted(tops):
        path = Path(str(distribution.locate_file(top)))
        if path.suffix == ".dist-info":
            _take_metadata(tree, distribution, top)
        elif path.is_dir():
            for file in _files(path):
                _take(tree, file, f"packages/{top}/{file.relative_to(path)}")
        elif path.is_file():
            _take(tree, path, f"packages/{top}")


def _take_metadata(tree: Tree, distribution: metadata.Distribution, top: str) -> None:
    """Only what is asked at run time: which version it is, and what it offers as plug-ins."""
    name, version = distribution.metadata["Name"], distribution.version
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    tree.write(f"packages/{top}/METADATA", text)
    offered = distribution.read_text("entry_points.txt")
    if offered:
        tree.write(f"packages/{top}/entry_points.txt", offered)


def _take(tree: Tree, path: Path, place: str) -> None:
    if path.suffix == ".py":
        tree.take_python(path, place)
    elif path.suffix in _EMPTIED:
        tree.write(place, _EMPTIED[path.suffix])
    elif path.suffix in _COMPILED_BY_TRITON:
        if f"packages/{_TRITON_DRIVER}" in place:
            tree.take_header(path, place)
    elif path.suffix in _DATA or (".a" != path.suffix != ".o" and is_binary(path)):
        tree.take(path, place)


def _files(top: Path) -> Iterator[Path]:
    for folder, inner, names in os.walk(top):
        here = Path(folder)
        inner[:] = [name for name in inner if name not in _FOLDERS_LEFT_OUT]
        if _TRITON_DRIVER in folder and (here / "include").is_dir():
            inner.append("include")
        only = _ONLY_PROGRAM.get(f"{here.parent.name}/{here.name}")
        for name in names:
            path = here / name
            if name == (only or name) and path.is_file():
                yield path


def _take_toolchain(tree: Tree, tools: Toolchain) -> None:
    tree.has_compiler = True
    for path in (*tools.programs, *tools.linked):
        tree.take_system(path)
    tree.header_folders = {"c++": tools.header_folders, "c": tools.c_header_folders}
    torch, python = _folder_of("torch").parent, python_headers()
    for header in tools.headers:
        if header.is_relative_to(torch):
            tree.take_header(header, f"packages/{header.relative_to(torch)}")
            continue
        for folder in python:
            if header.is_relative_to(folder):
                tree.take_header(header, f"home/include/{folder.name}/{header.relative_to(folder)}")
                break
        if header.is_relative_to("/usr"):
            tree.take_header(header, f"root{header}")


def python_headers() -> tuple[Path, ...]:
    """Where the interpreter's own headers lie, if they are installed."""
    return tuple(
        sorted({Path(sysconfig.get_path("include")), Path(sysconfig.get_path("platinclude"))})
    )


def _folder_of(distribution: str) -> Path:
    return Path(str(metadata.distribution(distribution).locate_file(distribution)))


def _strip(sources: list[tuple[Path, Path]]) -> None:
    program = Path(__file__).with_name("bytecode.py")
    count = max(1, min(_MOST_WORKERS, len(os.sched_getaffinity(0))))
    # Sizes differ a thousandfold: dealt out in order of size, the hands come out even.
    ordered = sorted(sources, key=lambda pair: pair[0].stat().st_size)
    command = [str(real_interpreter()), "-I", "-S", "-B", str(program)]
    workers = []
    for index in range(count):
        text = "".join(f"{source}\n{place}\n" for source, place in ordered[index::count])
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        workers.append((worker, text))
    for worker, text in workers:
        if worker.stdin is not None:
            worker.stdin.write(text.encode())
            worker.stdin.close()
    if any([worker.wait() for worker, _ in workers]):
        raise SandboxUnavailable(
            "The sandbox needs a stripped copy of Python and torch, and compiling it failed: "
            f"see above, free disk space, or name another Python than {command[0]}."
        )


def _link(source: Path, target: Path) -> bool:
    # A candidate on rung 2 may be another user, whom a file closed to others would stop.
    if not source.stat().st_mode & stat.S_IROTH:
        return False
    try:
        os.link(source, target)
    except OSError:
        return False  # Another file system, or a file of another user's.
    return True


def _open_to_read(path: Path) -> None:
    if not path.is_symlink() and not path.stat().st_mode & stat.S_IROTH:
        path.chmod(0o644)
