"""The second rung: Landlock, a filter for system calls, and a warden; no namespaces.

For machines that refuse user namespaces, most containers among them. The kernel gives a
job only the paths that are listed, no network, no signals to anyone outside, and none of
the system calls that ``seccomp`` names.

Not covered, beyond what no rung covers: all jobs see the same files on disk, so one can leave
word for the next in what the kernel remembers of them (missing names, times). Names and
attributes of files outside can be seen, though no content. Processes of a job cannot share memory
by name, since /dev/shm is the whole machine's, so a DataLoader has no workers. Nothing ends the
job if the warden itself is killed, other than by the engine's user or root.
"""

import os
import stat
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from nightlab.errors import SandboxError, SandboxUnavailable
from nightlab.records import Confinement
from nightlab.sandbox import landlock, mounts
from nightlab.sandbox.environment import Limits, job_environment
from nightlab.sandbox.identity import Identity, claim_identity
from nightlab.sandbox.job import Job, JobFolder
from nightlab.sandbox.launch import Program, Wall, launch
from nightlab.sandbox.library import Library, prepare_library
from nightlab.sandbox.process import SandboxedProcess, Spawner
from nightlab.sandbox.protocol import Pair
from nightlab.sandbox.seccomp import filter_program

# How many cores there are, and how they are connected: what thread pools ask for.
_TOPOLOGY = ("/sys/devices/system/cpu", "/sys/devices/system/node")
SHARED_FILES = (
    "files that no other job sees (what the kernel remembers of missing names and of times can "
    "carry word from one job to the next)"
)
_DRIVER = (
    *("/proc/driver/nvidia", "/proc/driver/nvidia-uvm", "/proc/devices"),
    *("/sys/devices", "/sys/bus/pci", "/sys/module"),
)


class LandlockSandbox:
    """Runs jobs under Landlock.

    Raises:
        SandboxUnavailable: the kernel does not offer enough of it, or the machine is not
            one whose system calls can be filtered.
    """

    def __init__(self) -> None:
        _require_landlock()
        self._filters = {
            kind: filter_program(local_sockets=False, gpu=kind == "cuda")
            for kind in ("cpu", "cuda")
        }
        self._spawner = Spawner()
        self._as_root = os.geteuid() == 0

    @property
    def confinement(self) -> Confinement:
        """What it holds back, and what it does not."""
        own = ("user id of its own",) if self._as_root else ()
        return Confinement(
            rung="2",
            name="landlock",
            features=(
                *("files by list", "no network", "empty environment", "no privileges", *own),
                *("system-call filter", "signals kept inside", "dies with the engine"),
            ),
            missing=(
                "no shared memory",
                SHARED_FILES,
                *(() if self._as_root else ("user id shared with the engine",)),
            ),
        )

    def start(self, job: Job) -> SandboxedProcess:
        """Start a job.

        Raises:
            SandboxError: the sandbox could not be built.
        """
        return self._start(job, None)

    def start_program(self, job: Job, script: list[str]) -> SandboxedProcess:
        """Start other Python text in the exact sandbox of a job.

        Args:
            job: what the sandbox is built for.
            script: arguments of the interpreter, such as ``["-c", text]``.

        Raises:
            SandboxError: the sandbox could not be built.
        """
        return self._start(job, script)

    def _start(self, job: Job, script: list[str] | None) -> SandboxedProcess:
        with ExitStack() as undo:
            identity = undo.enter_context(claim_identity())
            folder = JobFolder.create(job, owner=identity.uid)
            undo.callback(folder.remove)
            if identity.uid is not None:
                _require_passage(folder.path.parent)
            pair = Pair.open()
            undo.callback(pair.channel.close)
            undo.callback(pair.close_candidate)
            program = self._confined(job, folder, pair, script, identity)
            undo.pop_all()
        return launch(program, spawner=self._spawner, folder=folder, pair=pair, identity=identity)

    @cached_property
    def _library(self) -> Library:
        return prepare_library()

    def _confined(
        self,
        job: Job,
        folder: JobFolder,
        pair: Pair,
        script: list[str] | None,
        identity: Identity,
    ) -> Program:
        layout, library, gpu = folder.layout, self._library, mounts.gpu(job.device)
        limits = Limits.of(job)
        environment = {
            **job_environment(job, layout, pair),
            **mounts.driver_variables(job.device, in_place=True),
            "TMPDIR": layout.scratch,
            "PYTHONHOME": str(library.home),
            "PYTHONPATH": f"{layout.trainer}:{library.packages}",
            "LD_LIBRARY_PATH": ":".join((*library.library_folders, *gpu.library_folders)),
            **library.headers_in_place(),
            # Its workers would need shared memory; in the process itself it needs none.
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
        }
        readable = [*library.readable_in_place(), *_TOPOLOGY]
        readable += [layout.trainer, layout.candidate, layout.weights]
        readable += [source for source, _ in gpu.read_only]
        readable += _DRIVER if job.device.kind == "cuda" else ()
        others = 0 if identity.uid is not None else _tasks_of(os.getuid())
        return Program(
            command=[
                library.python,
                "-s",
                "-S",
                "-B",
                "-u",
                *(script or [layout.script(job)]),
            ],
            environment=environment,
            limits=limits,
            processes=limits.processes + others,
            wall=Wall(
                readable=tuple(filter(os.path.exists, readable)),
                writable=(layout.work,),
                devices=gpu.devices,
                program=self._filters[job.device.kind],
                names_threads=job.device.kind == "cuda",
            ),
        )


def _require_landlock() -> None:
    found = landlock.abi()
    if found >= landlock.NEEDED_ABI:
        return
    offered = f"version {found} of its interface" if found else "none"
    raise SandboxUnavailable(
        f"without namespaces it needs Landlock, version {landlock.NEEDED_ABI} (Linux 6.12 or "
        f"later), and Linux {os.uname().release} offers {offered}",
        "boot a newer kernel, with `landlock` in its `lsm=` parameter, and let the container's "
        "seccomp profile pass the landlock_* calls",
    )


def _require_passage(jobs: Path) -> None:
    for folder in jobs.parents:
        if not folder.stat().st_mode & stat.S_IXOTH:
            raise SandboxError(
                "Started by root, Nightlab gives each job a user id of its own, which must get to "
                f"its folder in {jobs}, and {folder} lets only its owner pass: set TMPDIR to a "
                "place that all users can enter, such as /tmp."
            )


def _tasks_of(uid: int) -> int:
    """Processes and threads that a user has now: the kernel counts them towards our limit."""
    count = 0
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and process.stat().st_uid == uid:
                count += len(os.listdir(process / "task"))
        except OSError:  # it has ended
            continue
    return count
