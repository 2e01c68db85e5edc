"""Where candidates run: a ladder of rungs, of which the strongest that holds is taken."""

from nightlab.sandbox.job import Job
from nightlab.sandbox.ladder import Refusal, Sandbox, choose_sandbox
from nightlab.sandbox.process import SandboxedProcess

__all__ = ["Job", "Refusal", "Sandbox", "SandboxedProcess", "choose_sandbox"]
