"""The rung below all rungs: trusted code in plain processes.

Kept: an environment without the engine's secrets, the limits, a session of its own, and
the end of the whole tree (see ``warden``) with the job or with the engine. Nothing is
hidden: the code can read every file of the user, use the network, read the engine's
memory, kill the warden and then outlive the engine.
"""

import os
import sys

from nightlab.records import Confinement
from nightlab.sandbox.environment import Limits, job_environment
from nightlab.sandbox.identity import Identity
from nightlab.sandbox.job import Job, JobFolder
from nightlab.sandbox.launch import Program, launch
from nightlab.sandbox.process import SandboxedProcess, Spawner
from nightlab.sandbox.protocol import Pair

CONFINEMENT = Confinement(
    rung="none",
    name="none",
    features=("clean environment", "resource limits", "dies with the engine"),
    missing=(
        "file system",
        "files that no other job sees",
        "network",
        "processes",
        "system-call filter",
    ),
)


class UnconfinedSandbox:
    """Runs jobs as plain processes of the engine's user."""

    confinement = CONFINEMENT
    escapes = ()

    def __init__(self) -> None:
        self._spawner = Spawner()

    def start(self, job: Job) -> SandboxedProcess:
        """Start a job.

        Raises:
            SandboxError: it cannot be started.
        """
        folder = JobFolder.create(job)
        layout, pair = folder.layout, Pair.open()
        environment = {
            **job_environment(job, layout, pair),
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "TMPDIR": layout.work,
            "PYTHONPATH": _path(layout.trainer, os.environ.get("PYTHONPATH")),
            "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", ""),
        }
        program = Program(
            command=[sys.executable, "-s", "-B", "-u", layout.script(job)],
            environment=environment,
            limits=Limits.of(job),
            processes=None,
            wall=None,
        )
        return launch(
            program, spawner=self._spawner, folder=folder, pair=pair, identity=Identity(None)
        )


def _path(*folders: str | None) -> str:
    return os.pathsep.join(filter(None, folders))
