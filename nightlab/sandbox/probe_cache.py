"""What was tried in a sandbox, kept until the machine or the code changes.

A probe takes part of a second, and its outcome stands until something that it rests on
changes: the boot, the kernel, the namespaces and rights that Nightlab runs in, bubblewrap,
or Nightlab's own sandbox. Only what was let through is kept: a refused rung is tried again,
since the refusal may have been mended. A file that belongs to somebody else is not believed.
"""

import hashlib
import os
import platform
import re
import stat
import sys
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from nightlab.records import Escape
from nightlab.sandbox.bubblewrap import bubblewrap_version

_ESCAPES: TypeAdapter[tuple[Escape, ...]] = TypeAdapter(tuple[Escape, ...])
_NAMESPACES = ("user", "mnt", "pid", "net", "ipc")


class ProbeCache:
    """Probe outcomes in a folder, one file a rung and state of the machine.

    Args:
        folder: the user's cache folder; None keeps nothing.
        kind: of the device that jobs compute on, whose sandboxes differ.
    """

    def __init__(self, folder: Path | None, kind: str = "cpu") -> None:
        self._folder = folder / "probes" if folder is not None else None
        self._kind = kind

    def read(self, rung: str) -> tuple[Escape, ...] | None:
        """What was tried on a rung of this very machine, or None where nothing is known."""
        if self._folder is None:
            return None
        try:
            descriptor = os.open(self._path(rung), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        with open(descriptor, "rb") as file:
            state = os.fstat(file.fileno())
            ours = stat.S_ISREG(state.st_mode) and state.st_uid == os.geteuid()
            if not ours or stat.S_IMODE(state.st_mode) & 0o022:
                return None
            try:
                return _ESCAPES.validate_json(file.read()) or None
            except ValidationError:
                return None

    def write(self, rung: str, escapes: tuple[Escape, ...]) -> None:
        """Keep what was tried, whole or not at all.

        Raises:
            OSError: the folder cannot be written.
        """
        if self._folder is None:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(rung)
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        with open(os.open(partial, flags, 0o600), "wb") as file:
            file.write(_ESCAPES.dump_json(escapes))
        partial.replace(path)

    def _path(self, rung: str) -> Path:
        folder = self._folder or Path()
        return folder / f"{rung}-{self._kind}-{machine_state(rung)}.json"


def machine_state(rung: str) -> str:
    """A digest of all that a probe's outcome rests on."""
    words = [rung, platform.release(), platform.machine(), str(os.geteuid()), sys.executable]
    words.append(_text("/proc/sys/kernel/random/boot_id"))
    words += [os.readlink(f"/proc/self/ns/{name}") for name in _NAMESPACES]
    # Rights and filters that Nightlab itself runs under.
    status = _text("/proc/self/status")
    words += re.findall(r"^(?:CapEff|CapBnd|NoNewPrivs|Seccomp|Seccomp_filters):.*", status, re.M)
    words.append(bubblewrap_version() if rung != "2" else "")
    digest = hashlib.sha256("\0".join(words).encode())
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:24]


def _text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")
