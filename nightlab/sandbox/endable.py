"""A sandbox whose jobs can be ended from another thread: those that an interrupt does not reach.

Trainings side by side run in threads of their own, and Python interrupts the main thread alone,
which then waits for the others. So it ends what they wait for.
"""

import threading
import weakref

from nightlab.errors import SandboxError
from nightlab.records import Confinement, Escape
from nightlab.sandbox.job import Job
from nightlab.sandbox.ladder import Refusal, Sandbox
from nightlab.sandbox.process import SandboxedProcess


class EndableSandbox:
    """A session's sandbox, until its jobs are ended; then it starts none any more.

    Args:
        sandbox: which starts them.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._guard = threading.Lock()
        self._jobs: weakref.WeakSet[SandboxedProcess] = weakref.WeakSet()
        self._is_ended = False

    @property
    def confinement(self) -> Confinement:
        """What it holds back, and what it does not."""
        return self._sandbox.confinement

    @property
    def escapes(self) -> tuple[Escape, ...]:
        """What was tried in it."""
        return self._sandbox.escapes

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """Why no stronger one was taken."""
        return self._sandbox.refusals

    def start(self, job: Job) -> SandboxedProcess:
        """Start a job; use the result in a ``with`` block.

        Raises:
            SandboxError: it cannot be started, or all were ended.
        """
        self.require_open()
        process = self._sandbox.start(job)
        with self._guard:
            self._jobs.add(process)
            is_late = self._is_ended
        if is_late:
            process.end()
        return process

    def require_open(self) -> None:
        """Refuse what would only be ended.

        Raises:
            SandboxError: all jobs were ended.
        """
        if self._is_ended:
            raise SandboxError("The session was interrupted, so no job is started any more.")

    def end_jobs(self) -> None:
        """End every job that runs, and start none from now on; any thread may call this."""
        with self._guard:
            self._is_ended = True
            running = list(self._jobs)
        for each in running:
            each.end()
