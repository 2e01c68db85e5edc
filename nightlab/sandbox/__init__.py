"""Where candidates run: a ladder of rungs, of which the best that starts is taken."""

from typing import Protocol

from nightlab.device import Device
from nightlab.errors import SandboxUnavailable
from nightlab.records import Confinement
from nightlab.sandbox.bubblewrap import BubblewrapSandbox
from nightlab.sandbox.job import Job
from nightlab.sandbox.process import SandboxedProcess
from nightlab.sandbox.unconfined import UnconfinedSandbox

__all__ = ["Job", "Sandbox", "SandboxedProcess", "choose_sandbox"]


class Sandbox(Protocol):
    """One way to run a job."""

    @property
    def confinement(self) -> Confinement:
        """What it holds back, and what it does not."""

    def start(self, job: Job) -> SandboxedProcess:
        """Start a job; use the result in a ``with`` block.

        Raises:
            SandboxError: the sandbox could not be built.
        """


class _Rung(Sandbox, Protocol):
    def probe(self, job: Job) -> None: ...


_RUNGS: tuple[type[_Rung], ...] = (BubblewrapSandbox,)
"""From the strongest downwards; each raises SandboxUnavailable where it does not start."""


def choose_sandbox(trust_candidate: bool) -> Sandbox:
    """Take the strongest sandbox that starts here, found by starting it.

    Args:
        trust_candidate: run without any sandbox: only for code that a person trusts.

    Raises:
        SandboxUnavailable: none starts; the message says why and what to do.
    """
    if trust_candidate:
        return UnconfinedSandbox()
    job = Job(program="train", source="", device=_PROBE_DEVICE)
    refusals = []
    for rung in _RUNGS:
        try:
            sandbox = rung()
            sandbox.probe(job)
        except SandboxUnavailable as refusal:
            refusals.append(str(refusal))
        else:
            return sandbox
    raise SandboxUnavailable(" ".join(refusals))


_PROBE_DEVICE = Device(name="cpu", description="probe", threads=1)
