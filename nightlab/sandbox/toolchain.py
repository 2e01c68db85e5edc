"""The C++ compiler that torch.compile calls, taken apart: what it runs, links and includes.

Nothing is known here of any distribution's folders: the compiler is asked, and watched
while it links.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nightlab.sandbox.headers import follow, included_names

COMPILER = "g++"
"""What torch's compiler calls on Linux."""
PYTHON_HEADER = "Python.h"
INSTALL_COMPILER = (
    "install both (Debian and Ubuntu: `apt install g++ python3-dev`; Fedora: `dnf install gcc-c++ "
    "python3-devel`)"
)
_C_COMPILER = "gcc"
"""What Triton calls."""
_SEARCH_PATH = "/usr/bin:/bin"
"""The PATH of a job, which is where its compiler must be."""
_PROGRAMS = ("cc1plus", "collect2", "as", "ld")
_C_PROGRAMS = ("cc1",)
_HASHER = "openssl"
"""What torch's compiler calls for the checksum of the headers that it compiles ahead."""
_FILES = ("liblto_plugin.so", "libgomp.spec", "crtfastmath.o", "crtbegin.o", "crtbeginT.o")
_LINKED = "#include <cmath>\n#include <string>\nint main() { return std::string().size(); }\n"
_WAYS_TO_LINK = (("-shared", "-fPIC"), ())
_ALWAYS_INCLUDED = ("stdc-predef.h", "omp.h", "Python.h", "torch/csrc/inductor/cpp_prefix.h")
_C_ALWAYS_INCLUDED = ("stdc-predef.h", "Python.h")
_ASK_SECONDS = 60

_OPENED = re.compile(r"^attempt to open (/\S+) succeeded$", re.MULTILINE)
_SEARCHED = re.compile(r"^#include <\.\.\.> search starts here:\n(.*?)^End of search", re.M | re.S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """The files of a compiler, by the paths at which it looks for them."""

    programs: tuple[Path, ...] = ()
    linked: tuple[Path, ...] = ()
    """Start-up objects, archives, libraries and scripts that the linker reads."""
    header_folders: tuple[Path, ...] = ()
    """Where it searches for C++ headers, in its order."""
    c_header_folders: tuple[Path, ...] = ()
    headers: frozenset[Path] = field(default_factory=frozenset)
    """Headers that compiled models include, torch's and Python's among them."""


def find_toolchain(
    *, torch: Path, python_headers: Iterable[Path], triton: Path | None
) -> Toolchain | None:
    """Take the compiler apart.

    Args:
        torch: the installed package.
        python_headers: folders with ``Python.h`` and what it includes.
        triton: the installed package, which calls the C compiler too; None where there is none.

    Returns:
        None where there is no compiler that compiles and links, or no ``Python.h``, which all
        compiled models include: torch.compile works there no better outside of a sandbox.
    """
    linked = _linked_files()
    folders = tuple(python_headers)
    if linked is None or not any((folder / PYTHON_HEADER).is_file() for folder in folders):
        return None
    names = (COMPILER, *_PROGRAMS, _HASHER) + ((_C_COMPILER, *_C_PROGRAMS) if triton else ())
    programs = [_program(name) for name in names]
    files = [_asked(f"-print-file-name={name}") for name in _FILES]
    cxx_folders = _searched("c++")
    c_folders = _searched("c") if triton else ()
    own = (torch / "include", torch / "include/torch/csrc/api/include", *folders)
    return Toolchain(
        programs=tuple(path for path in programs if path is not None),
        linked=tuple(sorted(linked | {path for path in files if path is not None})),
        header_folders=cxx_folders,
        c_header_folders=c_folders,
        headers=follow(_roots(torch), (*cxx_folders, *own))
        | (_c_headers(triton, (*c_folders, *folders)) if triton else frozenset()),
    )


def _roots(torch: Path) -> set[str]:
    """What code made for a CPU may include: whatever the texts of its makers include."""
    makers = [*torch.glob("_inductor/*.py"), *torch.glob("_inductor/codegen/cpp*.py")]
    texts = (maker.read_text(encoding="utf-8") for maker in [*makers, torch / "_dynamo/guards.py"])
    return set(_ALWAYS_INCLUDED).union(*map(included_names, texts))


def _c_headers(triton: Path, folders: tuple[Path, ...]) -> frozenset[Path]:
    """What Triton's C code includes: its own, and what it writes for each kernel."""
    texts = (
        maker.read_text(encoding="utf-8", errors="replace")
        for pattern in ("backends/*/*.c", "backends/*/*.py", "runtime/*.py")
        for maker in triton.glob(pattern)
    )
    roots = set(_C_ALWAYS_INCLUDED).union(*map(included_names, texts))
    return follow(roots, (*folders, *triton.glob("backends/*/include")))


def _linked_files() -> set[Path] | None:
    with tempfile.TemporaryDirectory(prefix="nightlab-") as folder:
        source = Path(folder, "linked.cpp")
        source.write_text(_LINKED, encoding="ascii")
        found: set[Path] = set()
        for way in _WAYS_TO_LINK:
            words = (*way, "-fopenmp", "-ffast-math", "-Wl,--verbose")
            said = _ask(*words, str(source), "-o", f"{folder}/linked")
            if said is None:
                return None
            found.update(Path(path) for path in _OPENED.findall(said))
        return {path for path in found if not path.is_relative_to(folder) and _is_lasting(path)}


def _searched(language: str) -> tuple[Path, ...]:
    said = _ask("-E", "-v", "-x", language, "/dev/null", "-o", "/dev/null") or ""
    match = _SEARCHED.search(said)
    words = match.group(1).split() if match else []
    return tuple(Path(word) for word in words if Path(word).is_dir())


def _program(name: str) -> Path | None:
    asked = _asked(f"-print-prog-name={name}")
    if asked is not None:
        return asked
    found = shutil.which(name, path=_SEARCH_PATH)
    return Path(found) if found else None


def _asked(question: str) -> Path | None:
    """The answer, where it is a file; a bare name is the compiler's way to say no."""
    path = Path((_ask(question) or "").strip())
    return path if path.is_absolute() and path.is_file() else None


def _ask(*words: str) -> str | None:
    compiler = shutil.which(COMPILER, path=_SEARCH_PATH)
    if compiler is None:
        return None
    environment: Mapping[str, str] = {"PATH": _SEARCH_PATH, "LC_ALL": "C"}
    done = subprocess.run(
        [compiler, *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_ASK_SECONDS,
        check=False,
    )
    return done.stdout if done.returncode == 0 else None


def _is_lasting(path: Path) -> bool:
    # The linker also reads the compiler's object file, which is gone by now.
    return path.is_file()
