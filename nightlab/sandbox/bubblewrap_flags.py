"""How bubblewrap is told what a job's sandbox is: pure functions that give its flags."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from nightlab.sandbox.environment import Limits
from nightlab.sandbox.job import Layout
from nightlab.sandbox.mounts import Mounts

ORDINARY_ID = 65534
"""What an ordinary user's candidates are called inside; outside they are that user."""
PROCESSOR = "/proc/cpuinfo"

INNER = Layout.beneath("/nightlab")
_LINKS = (
    *(("/proc/self/fd", "/dev/fd"), ("/proc/self/fd/0", "/dev/stdin")),
    *(("/proc/self/fd/1", "/dev/stdout"), ("/proc/self/fd/2", "/dev/stderr")),
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


def root_file_system(
    shown: Mounts, devices: Iterable[tuple[str, str]], *, processor: int | None, proc_written: bool
) -> list[str]:
    """Build the file system: what is shown, and nothing else.

    Args:
        shown: what the job sees.
        devices: nodes, as (path outside, path in the sandbox); on read-only mounts, for
            bubblewrap itself makes none of those.
        processor: None to mount a /proc of the sandbox's own processes; otherwise there is
            none, but for a file that describes the processor (torch chooses its kernels by
            it), read from this descriptor. The host's own /proc is never shown: it would
            show the host's processes.
        proc_written: whether /proc can be written to, as a GPU's driver does.
    """
    flags: list[str] = ["--perms", "0755", "--dir", "/"]
    made = {"/"}
    # What lies under another folder that is shown comes after it.
    for source, place in sorted(shown.read_only, key=lambda mount: mount[1].count("/")):
        flags += _ancestors(place, made)
        flags += ["--ro-bind", source, place]
    if processor is None:
        flags += ["--proc", "/proc", *(() if proc_written else ("--remount-ro", "/proc"))]
    else:
        flags += [*_ancestors(PROCESSOR, made), "--perms", "0444"]
        flags += ["--ro-bind-data", str(processor), PROCESSOR]
    flags += ["--perms", "0755", "--tmpfs", "/dev"]
    for source, place in devices:
        flags += ["--dev-bind", source, place]
    for target, place in (*shown.links, *_LINKS):
        flags += [*_ancestors(place, made), "--symlink", target, place]
    for source, place in shown.writable:
        flags += [*_ancestors(place, made), "--bind", source, place]
    return [*flags, "--remount-ro", "/dev", "--remount-ro", "/"]


def dropping(limits: Limits, uid: int | None) -> list[str]:
    """The commands that take limits, and root's identity, before the interpreter starts."""
    command = ["/usr/bin/prlimit", "--core=0"]
    if limits.data_bytes is not None:
        command.append(f"--data={limits.data_bytes}")
    command += [f"--fsize={limits.file_bytes}", f"--nproc={limits.processes}"]
    command += [f"--nofile={limits.open_files}", f"--sigpending={limits.pending_signals}"]
    command += ["--rtprio=0", "--nice=0"]
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
