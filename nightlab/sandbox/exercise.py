"""What jobs will do in a sandbox, tried there first: so nothing missing is a candidate's fault.

Two kinds of things can be missing. The stripped library may lack a source or a header that
this release of torch or Triton reads: that is tried once for each library and rung. And
between a job and its GPU stand layers of the sandbox, the driver and torch: those are tried
at the start of every session on a GPU. ``exercise_program`` is what runs inside.
"""

import contextlib
import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from nightlab.errors import GpuUnusable, LibraryIncomplete, NightlabError, SandboxError
from nightlab.records import Frozen, Reason
from nightlab.sandbox.device import Device
from nightlab.sandbox.failure import classify_crash
from nightlab.sandbox.job import Job
from nightlab.sandbox.library import Library, prepare_library
from nightlab.sandbox.process import SandboxedProcess
from nightlab.sandbox.torch_closure import torch_closure

PROGRAM = Path(__file__).with_name("exercise_program.py")
EXERCISE_SECONDS = 300.0
CPU = Device(name="cpu", description="exercise", threads=1)

GPU_LAYERS = ("/proc", "socket", "driver", "start", "product")
COMPILED_LAYERS = ("compiler", "attention")
"""On a GPU from the outermost inwards, so that the first that fails is the cause."""

_ELSEWHERE = "or take a machine or container where rung 1 holds (`nightlab doctor` says why not)"
_FAILED: Mapping[str, tuple[str, str]] = {
    "torch": ("torch and numpy cannot be imported", ""),
    "optimiser": ("torch's optimisers cannot take a step", ""),
    "compiler": ("torch.compile fails", "check that g++ works (`g++ --version`)"),
    "Triton kernel": ("Triton cannot compile a kernel", ""),
    "Triton's C code": (
        "Triton's C code cannot be built",
        "check that gcc works (`gcc --version`)",
    ),
    "/proc": (
        "the GPU's driver may not write to its own files in /proc",
        f"have the container's security profile allow it, {_ELSEWHERE}",
    ),
    "socket": (
        "the GPU's driver may not bind a local socket",
        f"have the container's seccomp profile allow socket and bind, {_ELSEWHERE}",
    ),
    "driver": (
        "the driver's library libcuda.so.1 cannot be loaded",
        "install the NVIDIA driver and run `ldconfig` as root; in a container, start it with "
        "`--gpus all` and NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    ),
    "start": (
        "torch cannot start the GPU",
        "check that `nvidia-smi` works, and that its driver is new enough for the CUDA "
        "version of this torch: if not, update it or take another build, such as "
        "`make setup TORCH=cu126`",
    ),
    "product": (
        "matrices cannot be multiplied on the GPU",
        "check the GPU's health with `nvidia-smi -q`",
    ),
    "attention": (
        "attention cannot be computed on the GPU",
        "look at docs/gpu.md, and report it",
    ),
}
"""What is said of a layer that fails, and what mends it where that is known."""
_REPORT = (
    "take the release that Nightlab was tried with (`make setup TORCH=torch==2.13.0`), and report "
    "it, since this release reads what Nightlab leaves out"
)
_FREE_MEMORY = "free its memory (`nvidia-smi` shows who holds it), or choose another with --device"
_TRYING = re.compile(r"^trying: (.+)$", re.MULTILINE)
_COMPILER_SAID = re.compile(r"^.*\bfatal error: .*$|^.*libcuda\.so cannot found!.*$", re.MULTILINE)


class Runner(Protocol):
    """One way to run jobs."""

    def start(self, job: Job) -> SandboxedProcess:
        """Start a job."""


class Fault(Frozen):
    """The layer that failed, and what it said."""

    layer: str
    said: str
    """One line, in the words of the driver, the compiler or torch."""


def try_layers(runner: Runner, layers: Sequence[str], device: Device = CPU) -> Fault | None:
    """Try layers in a sandbox, in turn.

    Args:
        runner: the sandbox.
        layers: names in ``exercise_program.LAYERS``.
        device: what is computed on.

    Raises:
        SandboxError: the sandbox broke, or the machine had no time or memory for it; nothing is
            known of the layers.
    """
    call = f"\nexercise({tuple(layers)!r}, {device.kind!r})\n"
    source = PROGRAM.read_text(encoding="utf-8") + call
    with runner.start(Job(program="train", source=source, device=device)) as process:
        code = process.wait(EXERCISE_SECONDS)
        process.kill()
        log = process.log
    if code == 0:
        return None
    if code is None:
        raise SandboxError(
            "What jobs do in the sandbox was tried there and not done after "
            f"{EXERCISE_SECONDS:.0f} s: close what else uses this machine, and run the command "
            "again."
        )
    failure = classify_crash(code, log)
    if device.kind == "cpu" and failure.reason in (Reason.OOM, Reason.RESOURCES):
        raise SandboxError(
            f"What jobs do in the sandbox was tried there, and the machine did not have enough "
            f"memory, disk or processes for it ({failure.message}): free some, and run the command "
            "again."
        )
    tried, compilers = _TRYING.findall(log), _COMPILER_SAID.findall(log)
    said = compilers[-1].strip() if compilers else failure.message
    return Fault(layer=tried[-1] if tried else "torch", said=said)


def require_library(runner: Runner, rung: str) -> None:
    """Find out, once for each library and rung, whether what it holds can be used.

    Raises:
        LibraryIncomplete: something is missing in it.
        SandboxError: the sandbox broke.
    """
    library = prepare_library()
    done = exercised_mark(library, rung)
    if done.exists():
        return
    fault = try_layers(runner, library_layers(library))
    if fault is not None:
        failed, remedy = _FAILED[fault.layer]
        raise LibraryIncomplete(
            f"with the stripped copy of Python and torch that candidates see, {failed} "
            f"({fault.said})",
            f"{remedy}; or {_REPORT}" if remedy else _REPORT,
        )
    with contextlib.suppress(PermissionError):  # another user's: it is tried again
        done.touch()


def exercised_mark(library: Library, rung: str) -> Path:
    """The file that says that a library was found to be good on a rung, by this very program."""
    digest = hashlib.sha256(PROGRAM.read_bytes()).hexdigest()[:8]
    return library.folder / f"exercised-{rung}-{digest}"


def library_layers(library: Library) -> tuple[str, ...]:
    """What a library has to be good for, by what is installed."""
    triton = "triton" in torch_closure()
    layers = ["torch", "optimiser"]
    layers += ["compiler"] * library.has_compiler
    layers += ["Triton kernel"] * triton
    layers += ["Triton's C code"] * (triton and library.has_compiler)
    return tuple(layers)


def require_gpu(runner: Runner, device: Device, *, compiles: bool = True) -> None:
    """Do on a GPU, in a sandbox, what jobs will do there.

    Args:
        runner: the sandbox.
        device: the GPU.
        compiles: whether they will compile.

    Raises:
        GpuUnusable: a layer between a job and the GPU failed; it says which, and why.
        SandboxError: the sandbox broke.
    """
    layers = (*GPU_LAYERS, *COMPILED_LAYERS) if compiles else GPU_LAYERS
    fault = try_layers(runner, layers, device)
    if fault is None:
        return
    failed, remedy = _FAILED[fault.layer]
    if "out of memory" in fault.said:
        remedy = _FREE_MEMORY
    raise GpuUnusable(f"{failed} ({fault.said})", remedy)


def main() -> None:
    """Make the library ahead of its first use, as `make setup` does, and try it."""
    from nightlab.sandbox.ladder import choose_sandbox

    try:
        library = prepare_library(_say)
        compiler = "with" if library.has_compiler else "without"
        _say(f"Candidates read {library.folder}, {compiler} a compiler.")
        chosen = choose_sandbox()
        tried = ", ".join(library_layers(library))
        _say(f"Tried in the sandbox (rung {chosen.confinement.rung}): {tried}.")
    except LibraryIncomplete as error:
        sys.exit(f"nightlab: {error}.")
    except NightlabError as error:
        # Nightlab can be installed where no sandbox holds, to run code that is trusted.
        _say(f"The library was not tried: {error}")


def _say(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()
