"""Try to break out of a sandbox before anything is run in it.

What holds is a feature, what does not is missing, and nothing is claimed that was not
tried. Where an essential promise breaks, the rung is no sandbox and is refused.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from nightlab.errors import SandboxError, SandboxUnavailable
from nightlab.records import Confinement, Escape
from nightlab.sandbox.bait import Bait
from nightlab.sandbox.device import Device
from nightlab.sandbox.job import Job
from nightlab.sandbox.process import SandboxedProcess
from nightlab.sandbox.protocol import PeerError

PROBE_SECONDS = 60.0
CPU = Device(name="cpu", description="probe", threads=1)
PROGRAM = Path(__file__).with_name("attempts")
_PACKAGE = "nightlab.sandbox.attempts"
_MODULES = ("common", "files", "kernel", "network", "processes", "program")

# One text for ``python -c``: modules that are not there inside, made from what was read.
_LOADER = """
import sys, types
TEXTS = {texts!r}
def module(name, text=""):
    made = sys.modules[name] = types.ModuleType(name)
    made.__path__ = []
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, made)
    exec(compile(text, name, "exec"), made.__dict__)
    return made
for name in ("nightlab", "nightlab.sandbox", {package!r}):
    module(name)
for name in TEXTS:
    made = module({package!r} + "." + name, TEXTS[name])
made.main()
"""

# As much as a job needs, and much faster than importing torch.
_TRIVIAL = """
import os, sys
for name in ("torch", "numpy"):
    path = next((p for p in sys.path if os.path.isdir(os.path.join(p, name))), None)
    inner = os.listdir(os.path.join(path, name)) if path else []
    start = next((n for n in inner if n.startswith("__init__.py")), None)
    if start is None or not os.access(os.path.join(path, name, start), os.R_OK):
        sys.exit(f"{name} cannot be read by the sandbox's user")
os.close(os.open("probe", os.O_CREAT | os.O_WRONLY))
"""

PROMISES: Mapping[str, tuple[str, ...]] = {
    "only the library readable": (
        "read a file outside",
        "read the clone",
        "list the home folder",
        "open a raw device",
    ),
    "nothing outside writable": (
        "write outside",
        "change a file's mode outside",
        "change the engine's files",
        "change kernel settings",
    ),
    "files outside unseen": ("see a file outside",),
    "empty environment": ("read the engine's environment", "use an inherited descriptor"),
    "processes out of reach": ("trace the engine", "signal the engine"),
    "other processes unseen": ("see other processes",),
    "no network": ("connect to a TCP port", "send a datagram", "open another kind of socket"),
    "no sockets of the host": ("connect to a socket file", "connect to an abstract socket"),
    "no privileges": ("gain privileges", "make a user namespace", "mount a file system"),
    "system calls filtered": (
        "use io_uring",
        "use a key ring",
        "load BPF",
        "use userfaultfd",
        "count events",
        "share System V memory",
    ),
    "sealed data stays sealed": ("change sealed memory",),
    "processes limited": ("fork without limit",),
    "nothing outlives the job": ("outlive the job",),
}
"""What a sandbox promises, and the escapes that would break the promise."""

_BEARABLE = frozenset(("see a file outside", "see other processes", "fork without limit"))
"""Names without contents; and processes in number, which ``watch`` limits as well."""
_HARDENING = frozenset(PROMISES["system calls filtered"])
"""Doors that lead nowhere from within namespaces; the only wall where there are none."""


def essential(escape: Escape, rung: str) -> bool:
    """Whether a rung is no sandbox at all when this gets through."""
    return escape.name not in _BEARABLE and (rung == "2" or escape.name not in _HARDENING)


def judge(known: Confinement, escapes: Iterable[Escape]) -> Confinement:
    """What a sandbox holds and what it misses, from what was tried in it.

    Args:
        known: the rung's name, and what it is known to miss without a try.
        escapes: what was tried; what was not counts as not held.
    """
    held = {escape.name for escape in escapes if escape.held}
    features = [promise for promise, names in PROMISES.items() if held.issuperset(names)]
    missing = [
        f"{promise} (got through: {', '.join(name for name in names if name not in held)})"
        for promise, names in PROMISES.items()
        if not held.issuperset(names)
    ]
    return known.model_copy(
        update={
            "features": tuple(features),
            "missing": (*missing, *known.missing),
        }
    )


class Runner(Protocol):
    """One way to run jobs, and other programs in the very sandbox of a job."""

    @property
    def confinement(self) -> Confinement:
        """Its rung and name, and what it is known not to hold."""

    def start(self, job: Job) -> SandboxedProcess:
        """Start a job."""

    def start_program(self, job: Job, script: list[str]) -> SandboxedProcess:
        """Start Python with other arguments in the exact sandbox of a job."""


def start_once(runner: Runner, device: Device = CPU) -> None:
    """Start the exact sandbox of a job around a trivial program, which is done every time.

    Args:
        runner: the sandbox.
        device: what the job would compute on: a GPU's jobs see its files besides.

    Raises:
        SandboxUnavailable: it does not start, or a job could not work in it.
    """
    with runner.start_program(_job(device), ["-c", _TRIVIAL]) as process:
        try:
            code = process.wait(PROBE_SECONDS)
        except SandboxError as error:
            raise _unfinished(process, str(error)) from error
        if code is None:
            raise SandboxUnavailable(f"it had not started after {PROBE_SECONDS:.0f} s")
        if code != 0:
            raise _unfinished(process, f"it ended with status {code}")


def program_of_attempts() -> str:
    """The program of ``attempts`` as one text."""
    texts = {name: (PROGRAM / f"{name}.py").read_text(encoding="utf-8") for name in _MODULES}
    return _LOADER.format(texts=texts, package=_PACKAGE)


def try_escapes(runner: Runner, device: Device = CPU) -> tuple[Escape, ...]:
    """Try every escape in a runner's sandbox, as it is for jobs on a device.

    Raises:
        SandboxUnavailable: the program of attempts did not come to its end.
    """
    script = ["-c", program_of_attempts()]
    with Bait.laid() as bait:
        with runner.start_program(_job(device), script) as process:
            try:
                bait.hand_over(process.channel, process.layout)
            except PeerError as error:
                raise _unfinished(process, str(error)) from error
            code = process.wait(PROBE_SECONDS)
            if code != 0:
                raise _unfinished(process, f"the escapes ended with status {code}")
            said = process.log
        return bait.judge(said)


def _job(device: Device) -> Job:
    return Job(program="train", source="", device=device)


def _unfinished(process: SandboxedProcess, why: str) -> SandboxUnavailable:
    said = process.log.strip().splitlines() or [why]
    return SandboxUnavailable(f"it does not start ({said[-1]})")
