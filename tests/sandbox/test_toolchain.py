"""The compiler taken apart: whatever the makers of code include is found, by reading them."""

import shutil
from pathlib import Path

import pytest

from nightlab.sandbox.toolchain import COMPILER, PYTHON_HEADER, find_toolchain

pytestmark = pytest.mark.skipif(
    shutil.which(COMPILER, path="/usr/bin:/bin") is None, reason="needs g++"
)


def installed(tmp_path: Path, stub: str, launcher: str) -> tuple[Path, Path]:
    """Packages like torch and Triton, as far as their C and C++ code goes."""
    torch, triton = tmp_path / "torch", tmp_path / "triton"
    for folder in (torch / "_inductor", torch / "_dynamo", triton / "backends/nvidia/include"):
        folder.mkdir(parents=True)
    (torch / "_dynamo/guards.py").write_text("")
    (triton / "backends/nvidia/driver.c").write_text(stub)
    (triton / "backends/nvidia/driver.py").write_text(f"SOURCE = '''{launcher}'''\n")
    (triton / "backends/nvidia/include/own.h").write_text("#include <limits.h>\n")
    return torch, triton


def python(tmp_path: Path) -> Path:
    """A folder with Python's own header."""
    folder = tmp_path / "python"
    folder.mkdir()
    (folder / PYTHON_HEADER).write_text("")
    return folder


def test_a_compiler_without_pythons_headers_compiles_nothing(tmp_path: Path) -> None:
    torch, triton = installed(tmp_path, "", "")
    assert find_toolchain(torch=torch, python_headers=(tmp_path,), triton=triton) is None


def test_headers_follow_from_what_tritons_own_code_includes(tmp_path: Path) -> None:
    torch, triton = installed(tmp_path, "#include <stdalign.h>\n", '#include "own.h"\n')
    found = find_toolchain(torch=torch, python_headers=(python(tmp_path),), triton=triton)
    assert found is not None
    names = {header.name for header in found.headers}
    assert {"stdalign.h", "own.h", "limits.h"} <= names
    assert {"gcc", "cc1"} <= {program.name for program in found.programs}


def test_without_triton_no_c_compiler_is_taken(tmp_path: Path) -> None:
    torch, _ = installed(tmp_path, "", "")
    found = find_toolchain(torch=torch, python_headers=(python(tmp_path),), triton=None)
    assert found is not None
    assert found.c_header_folders == ()
    assert "gcc" not in {program.name for program in found.programs}
