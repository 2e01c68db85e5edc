"""Attempts at privileges, and at the kernel's rarer doors."""

import ctypes
import os
import platform
import signal

from nightlab.sandbox.attempts.common import Bait, Held, call, checked, first, in_child, libc

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_PRIVATE_RECURSIVE = 0x44000
PR_GET_NO_NEW_PRIVS = 39
IPC_PRIVATE, IPC_CREATE, IPC_REMOVE = 0, 0o1000, 0
USER_MODE_ONLY = 1
ARM = platform.machine() == "aarch64"
CLONE3, IO_URING_SETUP, FSOPEN = 435, 425, 430
KEYCTL, BPF, USERFAULTFD, PERF_EVENT_OPEN, SHMGET, SHMCTL = (
    (219, 280, 282, 241, 194, 195) if ARM else (250, 321, 323, 298, 29, 31)
)


def gain_privileges(_: Bait) -> str:
    """Another user's identity, a capability, a program with more rights."""

    def become_root() -> str:
        os.setresuid(0, 0, 0)
        return "the user id is 0"

    def hold_capability() -> str:
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        sets = (ctypes.c_uint32 * 6)()
        checked(libc().capget(header, sets))
        if not any(sets):
            raise Held("no capabilities")
        return f"capabilities {sets[3] << 32 | sets[0]:#x}"

    def run_setuid() -> str:
        if libc().prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1:
            raise Held("no new privileges")
        return "programs of other users keep their rights"

    return in_child(lambda: first((become_root, hold_capability, run_setuid)))


def make_user_namespace(_: Bait) -> str:
    """A namespace in which to be root."""

    def unshare() -> str:
        checked(libc().unshare(CLONE_NEWUSER))
        return "made"

    def clone() -> str:
        arguments = (ctypes.c_uint64 * 11)()
        arguments[0], arguments[4] = CLONE_NEWUSER, signal.SIGCHLD
        if call(CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments)) == 0:
            os._exit(0)
        return "made by clone3"

    return first((lambda: in_child(unshare), lambda: in_child(clone)))


def mount(_: Bait) -> str:
    """Another view of the file system."""

    def change() -> str:
        # In a namespace of its own where that is allowed, so that nothing outside changes.
        libc().unshare(CLONE_NEWNS)
        checked(libc().mount(None, b"/", None, MS_PRIVATE_RECURSIVE, None))
        return "the mounts can be changed"

    def create() -> str:
        call(FSOPEN, ctypes.c_char_p(b"tmpfs"), 0)
        return "a file system can be made"

    return first((lambda: in_child(change), lambda: in_child(create)))


def use_io_uring(_: Bait) -> str:
    """Input and output past the filter of system calls."""
    os.close(call(IO_URING_SETUP, 1, ctypes.byref((ctypes.c_uint32 * 30)())))
    return "a ring was made"


def use_keyring(_: Bait) -> str:
    """The kernel's keys of the user, which outlive a job."""
    return f"key ring {call(KEYCTL, 0, -4, 1)}"


def load_bpf(_: Bait) -> str:
    """Memory and code in the kernel."""
    attributes = (ctypes.c_uint32 * 32)(2, 4, 4, 1)
    os.close(call(BPF, 0, ctypes.byref(attributes), ctypes.sizeof(attributes)))
    return "a map was made"


def use_userfaultfd(_: Bait) -> str:
    """Holding the kernel up in the middle of a copy."""
    os.close(call(USERFAULTFD, USER_MODE_ONLY))
    return "opened"


def use_perf(_: Bait) -> str:
    """Counters of the processor and the kernel."""
    attributes = (ctypes.c_uint32 * 32)(1, 128)
    os.close(call(PERF_EVENT_OPEN, ctypes.byref(attributes), 0, -1, -1, 0))
    return "a counter was opened"


def use_shared_memory(_: Bait) -> str:
    """Shared memory without a file, which outlives a job."""
    segment = call(SHMGET, IPC_PRIVATE, 4096, IPC_CREATE | 0o600)
    call(SHMCTL, segment, IPC_REMOVE, None)
    return "a segment was made"
