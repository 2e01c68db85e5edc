"""How bubblewrap is told what a job's sandbox is: pure functions that give its flags."""

from collections.abc import Mapping
from pathlib import Path

from nightlab.sandbox.environment import Limits
from nightlab.sandbox.job import Layout
from nightlab.sandbox.mounts import Mounts

ORDINARY_ID = 65534
"""What an ordinary user's candidates are called inside; outside they are that user."""
TEMPORARY_BYTES = 2**30
SHARED_MEMORY_BYTES = 2**30
PROCESSOR = "/proc/cpuinfo"

INNER = Layout(
    trainer="/nightlab/trainer",
    candidate="/nightlab/candidate",
    weights="/nightlab/weights",
    work="/nightlab/work",
)


def namespaces(status: int, seccomp: int, uid: int | None) -> list[str]:
    """Namespaces, capabilities and the filter of system calls.

    Args:
        status: descriptor that bubblewrap reports on; it closes it before the program starts.
        seccomp: descriptor that the filter is read from.
        uid: the id that root's candidates drop to; None for an ordinary user's, who get a
            user namespace.
    """
    flags = ["--json-status-fd", str(status), "--die-with-parent", "--new-session"]
    flags += ["--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-net"]
    flags += ["--unshare-cgroup-try", "--hostname", "sandbox", "--cap-drop", "ALL"]
    flags += ["--seccomp", str(seccomp)]
    if uid is not None:
        # Root has no need of a user namespace, and in one the kernel would take a job's
        # processes for root's when it counts them.
        return [*flags, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    identity = str(ORDINARY_ID)
    return [*flags, "--unshare-user", "--uid", identity, "--gid", identity]


def environment(variables: Mapping[str, str]) -> list[str]:
    """Exactly these environment variables."""
    flags = ["--clearenv"]
    for name, value in variables.items():
        flags += ["--setenv", name, value]
    return flags


def root_file_system(shown: Mounts, outside: Layout, processor: int | None) -> list[str]:
    """Build the file system: what is shown, the job's folders, temporary space, nothing else.

    Args:
        shown: what every job sees.
        outside: the job's own folders, on the host.
        processor: None to mount a /proc of the sandbox's own processes; otherwise there is
            none, but for a file that describes the processor (torch chooses its kernels by
            it), read from this descriptor. The host's own /proc is never shown: it would
            show the host's processes.
    """
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
    if processor is None:
        flags += ["--proc", "/proc"]
    else:
        flags += [*_ancestors(PROCESSOR, made), "--perms", "0444"]
        flags += ["--ro-bind-data", str(processor), PROCESSOR]
    flags += ["--dev", "/dev"]
    for node in shown.devices:
        flags += ["--dev-bind", node, node]
    for place, size in (("/dev/shm", SHARED_MEMORY_BYTES), ("/tmp", TEMPORARY_BYTES)):
        flags += ["--perms", "1777", "--size", str(size), "--tmpfs", place]
    flags += ["--bind", outside.work, INNER.work]
    return [*flags, "--remount-ro", "/dev", "--remount-ro", "/"]


def dropping(limits: Limits, uid: int | None) -> list[str]:
    """The commands that take limits, and root's identity, before the interpreter starts."""
    command = ["/usr/bin/prlimit", "--core=0"]
    if limits.data_bytes is not None:
        command.append(f"--data={limits.data_bytes}")
    command += [f"--fsize={limits.file_bytes}", f"--nproc={limits.processes}"]
    command += [f"--nofile={limits.open_files}"]
    if uid is not None:
        command += ["/usr/bin/setpriv", "--reuid", str(uid), "--regid", str(uid)]
        command += ["--clear-groups", "--no-new-privs", "--inh-caps=-all"]
    return command


def _ancestors(place: str, made: set[str]) -> list[str]:
    """Flags that make the folders above a mount, open to all: bubblewrap makes them 0700."""
    flags = []
    for folder in reversed(Path(place).parents):
        if str(folder) not in made:
            made.add(str(folder))
            flags += ["--perms", "0755", "--dir", str(folder)]
    return flags
