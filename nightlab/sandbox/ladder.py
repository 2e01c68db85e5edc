"""The choice of a sandbox: the strongest rung that starts, and that holds what it promises."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nightlab import events
from nightlab.errors import (
    GpuUnusable,
    SandboxError,
    SandboxUnavailable,
    UsageError,
)
from nightlab.records import Confinement, Escape
from nightlab.sandbox import probe
from nightlab.sandbox.bubblewrap import BubblewrapSandbox
from nightlab.sandbox.cgroup import Cgroups
from nightlab.sandbox.device import Device
from nightlab.sandbox.exercise import require_gpu, require_library
from nightlab.sandbox.job import Job
from nightlab.sandbox.library import prepare_library
from nightlab.sandbox.probe_cache import ProbeCache
from nightlab.sandbox.process import SandboxedProcess
from nightlab.sandbox.restricted import LandlockSandbox
from nightlab.sandbox.unconfined import UnconfinedSandbox

RUNGS: Mapping[str, Callable[[], probe.Runner]] = {
    "1": BubblewrapSandbox,
    "1n": lambda: BubblewrapSandbox(fresh_proc=False),
    "2": LandlockSandbox,
}
"""From the strongest downwards."""

_NAMESPACES = (
    "allow unprivileged user namespaces (as root: `sysctl -w kernel.unprivileged_userns_clone=1` "
    "or, on Ubuntu, `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`; for Docker: "
    "`--security-opt seccomp=unconfined --security-opt systempaths=unconfined`)"
)
_LANDLOCK = (
    "run a kernel with Landlock (Linux 6.12 or later with `landlock` in its `lsm=` parameter, and "
    "a container profile that passes the landlock_* calls)"
)
REMEDIES = {"1": _NAMESPACES, "1n": _NAMESPACES, "2": _LANDLOCK}
NAMES = {"1": "bubblewrap", "1n": "bubblewrap without /proc", "2": "Landlock"}
GPU_RUNGS = ("1", "2")
_NO_PROC = "it has no /proc, which a GPU's driver writes to"
OTHERWISE = "or pass --trust-candidate, but only for code that you trust"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a rung was not taken."""

    rung: str
    why: str
    """A clause, without a full stop."""
    remedy: str = ""
    """What would mend it; nothing where that is not known."""
    escapes: tuple[Escape, ...] = ()
    """What was tried, where it came to that."""
    is_of_gpu: bool = False
    """Whether the sandbox holds, and what lies between a job and its GPU does not."""


class Sandbox(Protocol):
    """One way to run a job."""

    @property
    def confinement(self) -> Confinement:
        """What it holds back, and what it does not."""

    @property
    def escapes(self) -> tuple[Escape, ...]:
        """What was tried in it."""

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Why no stronger one was taken."""

    def start(self, job: Job) -> SandboxedProcess:
        """Start a job; use the result in a ``with`` block.

        Raises:
            SandboxError: the sandbox could not be built.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenSandbox:
    """A way to run jobs, with what is known of it."""

    runner: probe.Runner | UnconfinedSandbox
    confinement: Confinement
    escapes: tuple[Escape, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    def start(self, job: Job) -> SandboxedProcess:
        """Start a job; use the result in a ``with`` block.

        Raises:
            SandboxError: the sandbox could not be built.
        """
        try:
            return self.runner.start(job)
        except OSError as error:
            raise SandboxError(
                f"A sandbox could not be built ({error}): other work on this machine, or of this "
                "user, holds what it takes; end that, and it is tried again."
            ) from error


def choose_sandbox(
    trust_candidate: bool = False,
    *,
    require_rung: str = "2",
    only: str | None = None,
    cache: Path | None = None,
    device: Device = probe.CPU,
    compiles: bool = True,
) -> Sandbox:
    """Take the strongest sandbox that holds here and in which jobs can do their work.

    It is started, broken out of, and worked in: what a GPU needs is tried before a candidate
    could be blamed for it.

    Args:
        trust_candidate: run without any sandbox: only for code that a person trusts.
        require_rung: the weakest rung that will do: ``1``, ``1n`` or ``2``.
        only: try this rung and no other.
        cache: where probe outcomes are kept until the next boot; None to try anew.
        device: what jobs will compute on.
        compiles: whether a GPU is to be good for torch.compile too.

    Raises:
        LibraryIncomplete: the installed torch reads what the sandbox's copy of it has not.
        SandboxError: the machine had no time or memory to try that.
        SandboxUnavailable: none holds, or none lets jobs work; the message says why and what
            to do.
        UsageError: there is no such rung.
    """
    if trust_candidate:
        trusting = UnconfinedSandbox()
        if device.kind == "cuda":
            require_gpu(trusting, device, compiles=compiles)
        return ChosenSandbox(runner=trusting, confinement=trusting.confinement)
    for rung in (require_rung, only or require_rung):
        if rung not in NAMES:
            raise UsageError(f"The sandbox has the rungs {', '.join(NAMES)}, and not {rung!r}.")
    prepare_library(lambda sentence: events.publish(events.Notice(text=sentence)))
    kept = ProbeCache(cache, device.kind)
    refusals: list[Refusal] = []
    for rung in (only,) if only else RUNGS:
        found = _climb(rung, kept, tuple(refusals), device, compiles=compiles)
        if isinstance(found, Refusal):
            refusals.append(found)
        elif _suffices(rung, only or require_rung):
            _say_if_weaker(found)
            return found
        else:
            raise SandboxUnavailable(_too_weak(require_rung, rung, refusals))
    raise SandboxUnavailable(_none_works(refusals, device))


def _climb(
    rung: str, kept: ProbeCache, above: tuple[Refusal, ...], device: Device, *, compiles: bool
) -> ChosenSandbox | Refusal:
    """Start a rung, try to break out of it and work in it, or say why it is unavailable."""
    on_gpu = device.kind == "cuda"
    if on_gpu and rung not in GPU_RUNGS:
        return Refusal(rung=rung, why=_NO_PROC, remedy=_NAMESPACES)
    try:
        runner = RUNGS[rung]()
        probe.start_once(runner)
    except (SandboxUnavailable, SandboxError) as refusal:
        return _refused(rung, refusal)
    try:
        if on_gpu:
            probe.start_once(runner, device)
        escapes = kept.read(rung)
        if escapes is None:
            escapes = probe.try_escapes(runner, device)
    except (SandboxUnavailable, SandboxError) as refusal:
        return _of_gpu(rung, refusal) if on_gpu else _refused(rung, refusal)
    through = [escape for escape in escapes if not escape.held and probe.essential(escape, rung)]
    if through:
        told = "; ".join(f"{escape.name}: {escape.detail}" for escape in through)
        return Refusal(rung=rung, why=f"it starts but does not hold ({told})", escapes=escapes)
    kept.write(rung, escapes)
    # What it raises is no reason for a weaker rung: that would show the same library.
    require_library(runner, rung)
    try:
        if on_gpu:
            require_gpu(runner, device, compiles=compiles)
    except (GpuUnusable, SandboxError) as refusal:
        return _of_gpu(rung, refusal)
    confinement = _with_resources(probe.judge(runner.confinement, escapes))
    return ChosenSandbox(runner=runner, confinement=confinement, escapes=escapes, refusals=above)


def _with_resources(confinement: Confinement) -> Confinement:
    holding = Cgroups.find().holding()
    return confinement.model_copy(
        update={
            "features": (*confinement.features, *holding.features, "disk space (watched)"),
            "missing": (*confinement.missing, *holding.missing),
        }
    )


def _refused(rung: str, error: SandboxUnavailable | SandboxError) -> Refusal:
    if isinstance(error, SandboxUnavailable):
        return Refusal(rung=rung, why=_clause(error.why), remedy=error.remedy or REMEDIES[rung])
    return Refusal(rung=rung, why=_clause(str(error)), remedy=REMEDIES[rung])


def _of_gpu(rung: str, error: SandboxUnavailable | SandboxError) -> Refusal:
    """A refusal of a sandbox that holds, and in which a job cannot have its GPU."""
    if isinstance(error, SandboxUnavailable):
        return Refusal(rung=rung, why=_clause(error.why), remedy=error.remedy, is_of_gpu=True)
    return Refusal(rung=rung, why=_clause(str(error)), is_of_gpu=True)


def _suffices(rung: str, required: str) -> bool:
    order = list(NAMES)
    return order.index(rung) <= order.index(required)


def _say_if_weaker(chosen: ChosenSandbox) -> None:
    if not chosen.refusals:
        return
    confinement = chosen.confinement
    missing = f" It lacks: {'; '.join(confinement.missing)}." if confinement.missing else ""
    events.publish(
        events.Notice(
            text=f"Candidates run on rung {confinement.rung} of the sandbox "
            f"({NAMES[confinement.rung]}), since {_told(chosen.refusals)}.{missing}"
        )
    )


def _too_weak(required: str, found: str, refusals: list[Refusal]) -> str:
    return (
        f"The session asks for rung {required} of the sandbox ({NAMES[required]}), and the "
        f"strongest that holds here is rung {found} ({NAMES[found]}): {_told(refusals)}. To have "
        f"it, {_remedies(refusals)}; or accept this one with --require-rung {found}."
    )


def _none_works(refusals: list[Refusal], device: Device) -> str:
    if device.kind == "cuda" and any(refusal.is_of_gpu for refusal in refusals):
        return (
            f"No sandbox here lets a job use {device.description}: {_told(refusals)}. To mend it, "
            f"{_remedies(refusals)}; or train on the CPU with --device cpu."
        )
    return (
        f"Candidates need a sandbox, and none holds here: {_told(refusals)}. To mend it, "
        f"{_remedies(refusals)}, {OTHERWISE}."
    )


def _told(refusals: list[Refusal] | tuple[Refusal, ...]) -> str:
    whys: dict[str, list[str]] = {}
    for refusal in refusals:
        whys.setdefault(refusal.why, []).append(refusal.rung)
    return "; ".join(
        f"rung{'s' if len(rungs) > 1 else ''} {' and '.join(rungs)} ({NAMES[rungs[0]]}): {why}"
        for why, rungs in whys.items()
    )


def _remedies(refusals: list[Refusal]) -> str:
    known = dict.fromkeys(refusal.remedy for refusal in refusals if refusal.remedy)
    return ", or ".join(known) or "see `nightlab doctor`"


def _clause(sentence: str) -> str:
    return sentence.strip().rstrip(".")
