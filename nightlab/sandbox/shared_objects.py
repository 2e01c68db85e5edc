"""Which shared libraries a program needs, as the machine's own dynamic loader finds them."""

import re
import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

from nightlab.errors import SandboxUnavailable

_ELF = b"\x7fELF"
_PT_INTERP = 3
_FOUND = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_LISTING_SECONDS = 60


def is_binary(path: Path) -> bool:
    """Whether a file is a program or a shared library."""
    with path.open("rb") as file:
        return file.read(4) == _ELF


def loader_of(program: Path) -> Path:
    """The dynamic loader that a 64-bit little-endian program names.

    Source of the layout: elf(5).

    Raises:
        SandboxUnavailable: it names none, or one that the sandbox is not made for.
    """
    with program.open("rb") as file:
        head = file.read(64)
        if head[:6] != _ELF + b"\x02\x01":
            raise _unsuitable(program, "is not a 64-bit little-endian ELF program")
        offset, size, count = _program_headers(head)
        file.seek(offset)
        table = file.read(size * count)
        for start in range(0, size * count, size):
            kind, _, at, _, _, length = struct.unpack_from("<IIQQQQ", table, start)
            if kind == _PT_INTERP:
                file.seek(at)
                loader = Path(file.read(length).rstrip(b"\0").decode())
                break
        else:
            raise _unsuitable(program, "is linked statically")
    if "ld-musl" in loader.name or loader.is_relative_to("/nix"):
        raise _unsuitable(program, f"uses the loader {loader}")
    return loader


def needed_libraries(loader: Path, binaries: Iterable[Path]) -> tuple[Path, ...]:
    """Shared libraries that the loader would load for any of some binaries, sorted.

    Libraries that are missing are left out: those of a GPU's driver are shown apart.
    """
    found = {loader}
    for binary in binaries:
        done = subprocess.run(
            [loader, "--list", binary],
            env={},
            capture_output=True,
            text=True,
            timeout=_LISTING_SECONDS,
            check=False,
        )
        found.update(Path(path) for path in _FOUND.findall(done.stdout))
    return tuple(sorted(found))


def _program_headers(head: bytes) -> tuple[int, int, int]:
    (offset,) = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    return offset, size, count


def _unsuitable(program: Path, found: str) -> SandboxUnavailable:
    return SandboxUnavailable(
        f"The sandbox needs a Python linked against glibc in a common layout, and {program} "
        f"{found}: run Nightlab with a Python of Debian, Ubuntu, Fedora, pyenv or uv."
    )
