"""What is readable in a sandbox, found by looking from inside, with a reason for each part.

The survey runs as a candidate would, in the real sandbox. It lists every readable file
over a megabyte, and every folder whose text comes to more than one, subfolders included.
``unexplained`` is what nobody has given a reason for; a test holds it empty.
"""

import json
import re
from collections.abc import Sequence
from typing import Protocol

from nightlab.errors import SandboxError
from nightlab.records import Frozen
from nightlab.sandbox.job import Job
from nightlab.sandbox.library import Library
from nightlab.sandbox.process import SandboxedProcess

LARGE_BYTES = 2**20
SURVEY_SECONDS = 300

# (path beneath the library's folder, most bytes of text, reason). Headers are C++ without
# comments, and only what torch's compiler includes; how many there are depends on the
# versions of torch, the compiler and the C library.
_TEXT = (
    ("home", 4, "Python's headers, and parts of it that read their own source"),
    ("packages/torch/include", 24, "torch's headers, for torch.compile"),
    ("packages", 28, "those headers, compile-time templates, code that reads its own source"),
    ("root/usr/lib", 6, "the compiler's own headers: vector instructions"),
    ("root/usr/include", 16, "headers of C, C++ and Linux, for torch.compile"),
    ("root", 22, "both of these"),
)
_BINARY = {
    "machine code": "a program or shared library that torch, Python or the compiler needs",
    "bytecode": "compiled Python of torch, its requirements and the standard library",
    "archive": "compiled parts that the compiler links",
    "bitcode": "Triton's library of device functions",
}
_KERNEL = re.compile(r"^/(proc|sys)(/|$)")

# Written for `python -c` inside. argv: how many bytes are large, then where to begin: a
# sandbox may let a file be read in a folder that it does not let be listed.
_SURVEY = r"""
import json, os, stat, sys
LARGE, starts = int(sys.argv[1]), sys.argv[2:]
SKIPPED = {"mem", "pagemap", "clear_refs", "kmsg", "kpagecount", "kpageflags", "kpagecgroup"}
TEXT = bytes(range(32, 127)) + b"\n\r\t\f"
NAMES = (".py", ".h", ".hpp", ".txt", ".md", ".rst", ".json", ".c", ".cpp", ".cuh", ".yaml")
large, sums, totals, seen = [], {}, {}, set()

def kind_of(path, head):
    if head[:4] == b"\x7fELF":
        return "machine code"
    if path.endswith(".pyc"):
        return "bytecode"
    if head[:8] in (b"!<arch>\n", b"!<thin>\n"):
        return "archive"
    if head[:2] == b"BC":
        return "bitcode"
    printable = len(head) - len(head.translate(None, TEXT))
    return "text" if path.endswith(NAMES) or printable > 0.85 * len(head) else "other"

def look(path):
    try:
        state = os.stat(path)
        if not stat.S_ISREG(state.st_mode) or (state.st_dev, state.st_ino) in seen:
            return
        seen.add((state.st_dev, state.st_ino))
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as file:
            head = file.read(65536) or b""
            size = state.st_size
            if not size and path.startswith(("/proc/", "/sys/")):
                size = len(head)  # The kernel's own files do not say how long they are.
                while size <= LARGE and (more := file.read(65536)):
                    size += len(more)
    except OSError:
        return
    kind = kind_of(path, head)
    totals[kind] = totals.get(kind, 0) + size
    if size > LARGE:
        large.append([path, size, kind])
    if kind in ("text", "other"):
        folder = os.path.dirname(path)
        while folder != "/":
            sums[folder] = sums.get(folder, 0) + size
            folder = os.path.dirname(folder)

for start in starts:
    look(start)
    for folder, inner, names in os.walk(start):
        if folder == "/proc":
            inner[:] = [name for name in inner if not name.isdigit()]
        if folder.startswith("/proc/self/"):
            inner[:] = []
        for name in names:
            if name not in SKIPPED:
                look(os.path.join(folder, name))
folders = [[folder, size] for folder, size in sums.items() if size > LARGE]
print("SURVEY" + json.dumps({"large": large, "folders": folders, "totals": totals}))
"""


class Readable(Frozen):
    """A file, or a folder's text, that is readable inside and over a megabyte."""

    path: str
    num_bytes: int
    kind: str
    """``machine code``, ``bytecode``, ``archive``, ``text``, ``folder`` (of text) …"""
    reason: str
    """Why it is there; empty where nobody has said."""


class Inventory(Frozen):
    """What can be read inside."""

    entries: tuple[Readable, ...]
    totals: dict[str, int]
    """Bytes by kind, small files too."""

    @property
    def unexplained(self) -> tuple[Readable, ...]:
        """Entries that have no reason to be there."""
        return tuple(entry for entry in self.entries if not entry.reason)


class CanRunPrograms(Protocol):
    """A sandbox that can run other Python text than a job's own program."""

    def start_program(self, job: Job, script: list[str]) -> SandboxedProcess:
        """Start the interpreter with other arguments."""


def take_inventory(
    sandbox: CanRunPrograms, job: Job, library: Library, starts: Sequence[str] = ("/",)
) -> Inventory:
    """Look around in a sandbox.

    Args:
        sandbox: where.
        job: what it is built for.
        library: whose files are in it.
        starts: where to look besides the library's places: paths inside.

    Raises:
        SandboxError: the survey did not end.
    """
    places = [*starts, *library.readable_in_place()]
    with sandbox.start_program(job, ["-c", _SURVEY, str(LARGE_BYTES), *places]) as process:
        code = process.wait(SURVEY_SECONDS)
        process.kill()
        _, found, answer = process.log.rpartition("SURVEY")
    if code != 0 or not found:
        raise SandboxError(
            f"The survey of what a sandbox shows was to end within {SURVEY_SECONDS} seconds, and "
            f"ended with {code}: {process.log[-500:]}"
        )
    survey = json.loads(answer)
    entries = [
        Readable(path=path, num_bytes=size, kind=kind, reason=_why(path, size, kind, library))
        for path, size, kind in survey["large"]
    ]
    entries += [
        Readable(path=path, num_bytes=size, kind="folder", reason=_why(path, size, "text", library))
        for path, size in survey["folders"]
    ]
    return Inventory(entries=tuple(entries), totals=survey["totals"])


def _why(path: str, size: int, kind: str, library: Library) -> str:
    if kind in _BINARY:
        return _BINARY[kind]
    if _KERNEL.match(path):
        return "the kernel's own account of itself: names and numbers of this machine"
    place = _place_of(path, library)
    for start, megabytes, reason in _TEXT:
        if place == start or place.startswith(start + "/"):
            return reason if size <= megabytes * 2**20 else ""
    # The folders above these hold nothing else, or it would be listed by itself.
    limit = sum(megabytes for start, megabytes, _ in _TEXT if "/" not in start) + 20
    return "what is listed below it" if _is_above(path, library) and size <= limit * 2**20 else ""


def _place_of(path: str, library: Library) -> str:
    for start, place in (
        (f"{library.folder}/", ""),
        ("/nightlab/python", "home"),
        ("/nightlab/packages", "packages"),
        ("/usr", "root/usr"),
    ):
        if path.startswith(start):
            return place + path[len(start) :]
    return path


def _is_above(path: str, library: Library) -> bool:
    return any(place.startswith(path) for place in (f"{library.folder}/home", "/nightlab/python"))
