"""The system calls that a candidate is refused: a filter in classic BPF, assembled here.

The same bytes serve ``bwrap --seccomp FD`` and seccomp(2). It is a denylist: what torch
needs differs between versions and machines, so calls are refused by what they could do:
reach the network or a service of the machine, make namespaces or mounts, look into other
processes, use up what the machine or its user has, or exercise parts of the kernel that a
trainer never needs and that exploits like. Calls younger than the table answer "not
implemented", so that a new kernel opens nothing by itself.

What took care:

* Only the low 32 bits of an argument are compared, for that is what the kernel itself
  looks at in each of the arguments below; a filter that compares 64 bits can be passed
  by setting a high one.
* ``clone3`` hands its flags over in memory, where a filter cannot look. It answers "not
  implemented", and C libraries then use ``clone``, whose flags are in a register.
* The second door to the same calls, another architecture's numbers, kills.
"""

import platform
import struct
from collections.abc import Iterable
from errno import ENOSYS, EPERM

from nightlab.errors import SandboxUnavailable
from nightlab.sandbox.system_calls import MACHINES, NEWEST_CALL, NUMBERS, X32_BIT

FAKED = 0
"""Errno 0: the caller is told that the call succeeded, and nothing was done."""

NAMESPACE_FLAGS = 0x7E02_0000
"""Every CLONE_NEW… that fits the flags of clone(2): mount, cgroup, uts, ipc, user, pid, net."""

_LOAD_WORD, _JUMP_EQUAL, _JUMP_AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF_0000, 0x0005_0000, 0x8000_0000
_NUMBER_OFFSET, _MACHINE_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16
_INSTRUCTION = struct.Struct("=HBBI")
_ALL_BITS = 0xFFFF_FFFF

_AF_UNIX = 1
_SOCK_STREAM, _SOCK_SEQPACKET, _SOCK_TYPE_MASK = 1, 5, 0xF
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_PERSONALITY_QUERY = 0xFFFF_FFFF
_FILE_TYPE_MASK, _CHARACTER_DEVICE, _BLOCK_DEVICE = 0o170000, 0o020000, 0o060000
_PRIO_PROCESS = 0
_PR_SET_SECCOMP = 22
# Filters are machine code of which the kernel holds so much; without SO_PASSRIGHTS the host's
# descriptors are refused.
_SO_ATTACH, _SO_PASSRIGHTS = (26, 50, 51, 52), 83
# A lease holds up whoever opens the file; a job of the engine's user owns the library's files.
_F_SETLEASE, _F_NOTIFY, _F_SETDELEG = 1024, 1026, 1040
# Flags, project and version of a file, which stay with it: types of ioctl of file systems.
_OF_FILES, _IOCTL_TYPE_MASK = (0x6600, 0x5800, 0x7600), 0xFF00

_NAMESPACES_AND_MOUNTS = (
    *("unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "move_mount"),
    *("open_tree", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr"),
)
_OTHER_PROCESSES = (
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp"),
    *("pidfd_getfd", "process_mrelease", "move_pages", "migrate_pages"),
)
_KERNEL = (
    *("bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter"),
    *("io_uring_register", "keyctl", "add_key", "request_key", "init_module", "finit_module"),
    *("delete_module", "create_module", "kexec_load", "kexec_file_load", "modify_ldt", "iopl"),
    *("ioperm", "uselib", "lookup_dcookie", "nfsservctl", "memfd_secret"),
)
_ADMINISTRATION = (
    *("swapon", "swapoff", "reboot", "acct", "quotactl", "quotactl_fd", "settimeofday"),
    *("clock_settime", "adjtimex", "clock_adjtime", "syslog", "sethostname", "setdomainname"),
    *("vhangup", "fanotify_init", "fanotify_mark"),
)
# Which pages of a file that all jobs read are in memory is one memory for all of them: nobody may
# ask, and advice on it is not taken.
_PAGES_TOLD = ("mincore", "cachestat")
_PAGES_ADVISED = ("fadvise64", "readahead", "sync_file_range")
_READ_WITH_FLAGS = ("preadv2", "pwritev2")
# Merge with others' pages (KSM), make huge pages of a file's (two kinds), push out (two kinds).
_SHARED_ADVICE = (12, 14, 25, 20, 21)
# What these hold is counted for the machine or its user, to whom an ordinary user's engine and
# other jobs belong too; extended attributes of a memory file are memory that nothing counts.
_COUNTED_FOR_ALL = (
    *("io_setup", "io_destroy", "io_submit", "io_cancel", "io_getevents", "io_pgetevents"),
    *("inotify_init", "inotify_init1", "inotify_add_watch", "seccomp"),
    *("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr"),
)
# Python takes poll where it is refused this. Whether a GPU's driver does is not known.
_EPOLL = ("epoll_create", "epoll_create1")
# Nobody sees a memory file that only waits in a socket's queue; torch takes /dev/shm, which counts
# itself. Whether a GPU's driver does is not known.
_MEMORY_FILES = ("memfd_create",)
_SHARED_BY_NAME = (
    *("shmget", "shmat", "shmctl", "shmdt", "semget", "semop", "semctl", "semtimedop"),
    *("msgget", "msgsnd", "msgrcv", "msgctl", "mq_open", "mq_unlink", "mq_timedsend"),
    *("mq_timedreceive", "mq_notify", "mq_getsetattr"),
    *("open_by_handle_at", "name_to_handle_at"),
)

# Only on rung 2, whose processes share namespaces and maybe the user id with the engine.
_SOCKETS = ("connect",)
_MAKING_SOCKETS = ("socket", "bind")
# What passes files on, which nobody sees on the way: not removed ones on the disk, nor how many.
_PASSING_FILES = ("sendmsg", "sendmmsg")
# Landlock does not rule on these, and they act on every file of the user by its name.
_METADATA = (
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat"),
    *("utime", "utimes", "futimesat", "utimensat"),
)
# Without sched_setaffinity on itself, MKL finds one core and torch starts one thread.
_OWN_SCHEDULING = (
    *("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam"),
    "sched_setattr",
)
_LEAVING_THE_GROUP = ("setsid", "setpgid")


class Program:
    """A filter in the making: what is not ruled on is allowed, and the first rule counts.

    Args:
        machine: as ``platform.machine()`` names it; None for this one.

    Raises:
        SandboxUnavailable: there is no table of system calls for the machine.
    """

    def __init__(self, machine: str | None = None) -> None:
        name = platform.machine() if machine is None else machine
        if name not in MACHINES:
            raise SandboxUnavailable(
                f"The sandbox filters system calls on {' and '.join(MACHINES)}, and this machine "
                f"is {name}: run Nightlab on one of those, or pass --trust-candidate, but only "
                "for code that you trust."
            )
        self._column, architecture = MACHINES[name]
        self._code = bytearray()
        self._emit(_LOAD_WORD, _MACHINE_OFFSET)
        self._emit(_JUMP_EQUAL, architecture, if_true=1)
        self._emit(_RETURN, _KILL_PROCESS)
        self._emit(_LOAD_WORD, _NUMBER_OFFSET)
        if name == "x86_64":
            self._emit(_JUMP_AT_LEAST, X32_BIT, if_false=1)
            self._emit(_RETURN, _KILL_PROCESS)

    def answer(self, calls: Iterable[str], error: int) -> None:
        """Answer calls with an errno instead of doing them."""
        for call in calls:
            number = NUMBERS[call][self._column]
            if number is not None:
                self._emit(_JUMP_EQUAL, number, if_false=1)
                self._emit(_RETURN, _ERRNO | error)

    def answer_younger(self, error: int) -> None:
        """Answer every call that is younger than the table."""
        self._emit(_JUMP_AT_LEAST, NEWEST_CALL + 1, if_false=1)
        self._emit(_RETURN, _ERRNO | error)

    def only(self, call: str, *wanted: "Argument") -> None:
        """Refuse a call unless each of these arguments has one of its values."""
        body: list[tuple[int, int, int, int]] = []
        for argument in wanted:
            count = len(argument.values)
            body += argument.load()
            body += [
                (_JUMP_EQUAL, value, count - position, 0)
                for position, value in enumerate(argument.values)
            ]
            body.append((_RETURN, _ERRNO | EPERM, 0, 0))
        self._block(call, body)

    def never(self, call: str, *unwanted: "Argument") -> None:
        """Refuse a call where any of these arguments has one of its values."""
        body: list[tuple[int, int, int, int]] = []
        for argument in unwanted:
            body += argument.load()
            for value in argument.values:
                body += [(_JUMP_EQUAL, value, 0, 1), (_RETURN, _ERRNO | EPERM, 0, 0)]
        self._block(call, body)

    def assemble(self) -> bytes:
        """The filter: an array of ``struct sock_filter``."""
        return bytes(self._code) + _INSTRUCTION.pack(_RETURN, 0, 0, _ALLOW)

    def _block(self, call: str, body: list[tuple[int, int, int, int]]) -> None:
        number = NUMBERS[call][self._column]
        if number is None:
            return
        self._emit(_JUMP_EQUAL, number, if_false=len(body) + 1)
        for code, value, if_true, if_false in body:
            self._emit(code, value, if_true=if_true, if_false=if_false)
        self._emit(_RETURN, _ALLOW)

    def _emit(self, code: int, value: int, *, if_true: int = 0, if_false: int = 0) -> None:
        self._code += _INSTRUCTION.pack(code, if_true, if_false, value)


class Argument:
    """What one argument of a call is compared with.

    Args:
        position: counted from 0.
        values: what its low 32 bits are compared with.
        mask: which of these bits count.
    """

    def __init__(self, position: int, *values: int, mask: int = _ALL_BITS) -> None:
        self.values = values
        self._offset = _ARGUMENTS_OFFSET + 8 * position
        self._mask = mask

    def load(self) -> list[tuple[int, int, int, int]]:
        """Instructions that load it, as (code, value, jump if true, jump if false)."""
        loading = [(_LOAD_WORD, self._offset, 0, 0)]
        if self._mask != _ALL_BITS:
            loading.append((_AND, self._mask, 0, 0))
        return loading


def filter_program(*, local_sockets: bool, gpu: bool = False, machine: str | None = None) -> bytes:
    """The filter that a candidate runs under.

    Args:
        local_sockets: allow sockets of the machine's own (AF_UNIX), for rungs that show no
            foreign ones. Without, no socket can be made but a connected pair, and files'
            modes, owners and times are left alone: the rules of rung 2.
        gpu: allow what a GPU's driver may need: epoll, memory files, to pass files on, and where
            sockets are refused the one that it binds for its unified memory, of a kind that
            reaches nobody before it is connected, which stays refused.
        machine: as ``platform.machine()`` names it; None for this one.

    Returns:
        An array of ``struct sock_filter``, for ``bwrap --seccomp`` and seccomp(2).

    Raises:
        SandboxUnavailable: there is no table of system calls for the machine.
    """
    program = Program(machine)
    for calls in (_NAMESPACES_AND_MOUNTS, _OTHER_PROCESSES, _KERNEL, _ADMINISTRATION):
        program.answer(calls, EPERM)
    program.answer((*_SHARED_BY_NAME, *_COUNTED_FOR_ALL), EPERM)
    if not gpu:
        program.answer((*_EPOLL, *_MEMORY_FILES), EPERM)
    program.answer(("clone3",), ENOSYS)
    program.only("clone", Argument(0, 0, mask=NAMESPACE_FLAGS))
    program.only("personality", Argument(0, _PERSONALITY_QUERY))
    of_files = Argument(1, *_OF_FILES, mask=_IOCTL_TYPE_MASK)
    program.never("ioctl", Argument(1, _TIOCSTI, _TIOCLINUX), of_files)
    program.never("prctl", Argument(0, _PR_SET_SECCOMP))
    program.never("setsockopt", Argument(2, *_SO_ATTACH, _SO_PASSRIGHTS))
    program.never("fcntl", Argument(1, _F_SETLEASE, _F_NOTIFY, _F_SETDELEG))
    devices = (_CHARACTER_DEVICE, _BLOCK_DEVICE)
    program.never("mknod", Argument(1, *devices, mask=_FILE_TYPE_MASK))
    program.never("mknodat", Argument(2, *devices, mask=_FILE_TYPE_MASK))
    program.answer(_PAGES_TOLD, EPERM)
    program.answer(_PAGES_ADVISED, FAKED)
    program.never("madvise", Argument(2, *_SHARED_ADVICE))
    for call in _READ_WITH_FLAGS:
        program.only(call, Argument(5, 0))
    if local_sockets:
        program.only("socket", Argument(0, _AF_UNIX))
    else:
        _refuse_what_is_shared(program, driver_socket=gpu)
    program.answer_younger(ENOSYS)
    return program.assemble()


def _refuse_what_is_shared(program: Program, *, driver_socket: bool) -> None:
    """Rules for processes that live beside the engine, maybe with its user id."""
    program.answer((*_SOCKETS, *_METADATA), EPERM)
    if driver_socket:
        kind = Argument(1, _SOCK_SEQPACKET, mask=_SOCK_TYPE_MASK)
        program.only("socket", Argument(0, _AF_UNIX), kind)
    else:
        program.answer((*_MAKING_SOCKETS, *_PASSING_FILES), EPERM)
    # A datagram pair is no pair: each message may name another receiver.
    types = Argument(1, _SOCK_STREAM, _SOCK_SEQPACKET, mask=_SOCK_TYPE_MASK)
    program.only("socketpair", Argument(0, _AF_UNIX), types)
    # Of oneself only: limits and priorities of the engine's user could be lowered for good.
    for call in _OWN_SCHEDULING:
        program.only(call, Argument(0, 0))
    program.only("setpriority", Argument(0, _PRIO_PROCESS), Argument(1, 0))
    program.only("ioprio_set", Argument(0, 1), Argument(1, 0))
    # Every descendant stays in one process group, which one signal ends, all at once.
    program.answer(_LEAVING_THE_GROUP, FAKED)
