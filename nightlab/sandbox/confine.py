"""The last step before a job's program, in the job's own process: give rights up, for good.

Run by path as ``python -I -S -B confine.py SPECIFICATION STATUS``, two descriptors. Every
job pays for its imports, so it takes little of the standard library, and of the engine's
only ``landlock`` beside it. The specification is what ``marshal``, which is built in,
makes of::

    {"limits": {"RLIMIT_NOFILE": 4096, …},
     "identity": 60578 | None,            the user and group id to take; root only
     "wall": None | {"readable": […], "writable": […], "devices": […],
                     "filter": b"…",      Landlock's rules by path; the BPF filter
                     "names_threads": …}  whether it may write to /proc/self/task
     "keep": [7],                         descriptors that the program inherits
     "folder": "…", "environment": {…}, "command": […]}

``STATUS`` gets ``BEGAN`` just before the program replaces this one, and more after it
should that fail; so any other content says that the program was never started.
"""

import ctypes
import importlib
import marshal
import os
import resource
import sys

TYPE_CHECKING = False  # as in typing, which takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any

BEGAN = b"began"
MOST_DESCRIPTORS = 2**20
OUT_OF_MEMORY_SCORE = "500"

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 1, 22, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2
_SIGKILL = 9
_CAPABILITIES_VERSION = 0x2008_0522
_INSTRUCTION_BYTES = 8
# Read at start by C libraries, Python and torch; of processes only the job's first one.
_PROC = (
    *("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems"),
    "/proc/sys/vm/overcommit_memory",
)
PLAIN_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/random")


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def main() -> int:
    """Replace this process by the program; return only if that fails."""
    source, status = map(int, sys.argv[1:3])
    try:
        with open(source, "rb") as file:
            specification = marshal.load(file)
        os.set_inheritable(status, False)
        _give_up(specification, status)
        os.write(status, BEGAN)
        command = specification["command"]
        os.execve(command[0], command, specification["environment"])
    except (OSError, ValueError, EOFError) as error:
        sys.stderr.write(f"confine: {error}\n")
        os.write(status, b" and failed")
    return 1


def install_filter(program: bytes) -> None:
    """Put this process, and all that come from it, under a seccomp filter.

    Args:
        program: an array of ``struct sock_filter``.

    Raises:
        OSError: the kernel refuses it; ``give_up_privileges`` comes first.
    """
    described = _FilterProgram(len(program) // _INSTRUCTION_BYTES, program)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(described))


def give_up_privileges() -> None:
    """Drop every capability, and the ways to gain any by running a program.

    Raises:
        OSError: the kernel refuses.
    """
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    if _libc().capset(header, none) != 0:
        _raise("capset")
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0)


def _give_up(specification: "dict[str, Any]", status: int) -> None:
    wall = specification["wall"]
    for name, value in specification["limits"].items():
        _limit(getattr(resource, name), value)
    # Should memory run out, the job is to go, not the engine.
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
        score.write(OUT_OF_MEMORY_SCORE)
    # Located with the rights that we still have; what they allow begins with apply().
    rules = None if wall is None else _rules(wall)
    if specification["identity"] is not None:
        _become(specification["identity"])
    os.umask(0o077)
    os.chdir(specification["folder"])
    # After the change of ids, which clears it. Its parent is the warden.
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0)
    _close_all_but({*specification["keep"], status, *([] if rules is None else [rules.descriptor])})
    if rules is not None:
        give_up_privileges()
        rules.apply()
        install_filter(wall["filter"])


def _limit(kind: int, wanted: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(kind, (value, value))


def _become(identity: int) -> None:
    os.setgroups([])
    os.setresgid(identity, identity, identity)
    os.setresuid(identity, identity, identity)


def _rules(wall: "dict[str, Any]") -> "Any":
    # In this process, begun by path, no other place is searched but the standard library.
    sys.path.append(os.path.dirname(__file__))
    landlock = importlib.import_module("landlock")
    rules = landlock.Ruleset()
    for path in wall["readable"]:
        rules.allow(path, landlock.READ)
    for path in wall["writable"]:
        rules.allow(path, landlock.WORK)
    for path in wall["devices"]:
        rules.allow(path, landlock.DEVICE)
    for path in filter(os.path.exists, _PROC):
        rules.allow(path, landlock.READ_FILE | landlock.READ_DIR)
    if wall["names_threads"]:
        rules.allow("/proc/self/task", landlock.WRITE_FILE)
    for path in PLAIN_DEVICES:
        rules.allow(path, landlock.READ_FILE | landlock.WRITE_FILE)
    return rules


def _close_all_but(kept: set[int]) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    last = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else max(hard, MOST_DESCRIPTORS)
    below = 3
    for descriptor in sorted(kept):
        os.closerange(below, descriptor)
        below = max(below, descriptor + 1)
    os.closerange(below, last)


def _prctl(option: int, first: "Any", second: "Any") -> None:
    if _libc().prctl(option, first, second, 0, 0) != 0:
        _raise(f"prctl {option}")


def _raise(subject: str) -> None:
    error = ctypes.get_errno()
    raise OSError(error, os.strerror(error), subject)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


if __name__ == "__main__":
    sys.exit(main())
