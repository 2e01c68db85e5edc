"""The rung below all rungs: trusted code in plain processes.

Kept: an environment without the engine's secrets, the limits, a session of its own, and
the end of the whole tree (see ``warden``) with the job or with the engine. Nothing is
hidden: the code can read every file of the user, use the network, read the engine's
memory, kill the warden and then outlive the engine.
"""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from nightlab.errors import SandboxError
from nightlab.protocol import Pair
from nightlab.records import Confinement
from nightlab.sandbox.environment import Limits, job_environment
from nightlab.sandbox.job import Job, JobFolder
from nightlab.sandbox.process import SandboxedProcess, Spawner

CONFINEMENT = Confinement(
    rung="none",
    features=("clean environment", "resource limits", "dies with the engine"),
    missing=("file system", "network", "processes", "system-call filter", "memory limit in sum"),
)
_WARDEN = Path(__file__).with_name("warden.py")


class UnconfinedSandbox:
    """Runs jobs as plain processes of the engine's user."""

    confinement = CONFINEMENT

    def __init__(self) -> None:
        self._spawner = Spawner()

    def start(self, job: Job) -> SandboxedProcess:
        """Start a job.

        Raises:
            SandboxError: it cannot be started.
        """
        folder = JobFolder.create(job)
        layout, pair = folder.layout, Pair.open()
        told, tell = os.pipe()
        environment = {
            **job_environment(job, layout, pair),
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "TMPDIR": layout.work,
            "PYTHONPATH": _path(layout.trainer, os.environ.get("PYTHONPATH")),
            "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", ""),
        }
        command = [sys.executable, "-I", "-S", str(_WARDEN), str(told), str(pair.candidate)]
        command.append(json.dumps(asdict(Limits.of(job))))
        command += [sys.executable, "-s", "-B", "-u", layout.script(job)]
        try:
            process = self._spawner.spawn(
                command,
                env=environment,
                cwd=layout.work,
                pass_fds=(told, pair.candidate),
                start_new_session=True,
            )
        except SandboxError:
            pair.channel.close()
            os.close(tell)
            folder.remove()
            raise
        finally:
            os.close(told)
            pair.close_candidate()
        return SandboxedProcess(
            process=process,
            channel=pair.channel,
            folder=folder,
            layout=layout,
            tree=_Leash(tell),
        )


def _path(*folders: str | None) -> str:
    return os.pathsep.join(filter(None, folders))


class _Leash:
    """The engine's end of the warden's pipe: letting it go ends the job."""

    def __init__(self, tell: int) -> None:
        self._tell: int | None = tell

    def kill(self) -> None:
        """Let go."""
        if self._tell is not None:
            os.close(self._tell)
            self._tell = None

    def never_began(self) -> bool:
        """Never known here: the warden's own failures read like the job's."""
        return False

    def close(self) -> None:
        """Let go, if not done yet."""
        self.kill()
