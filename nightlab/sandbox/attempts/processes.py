"""Attempts on the engine's processes and secrets, and on the bounds of the job itself."""

import ctypes
import errno
import fcntl
import hashlib
import mmap
import os
import resource
import signal
import time
from pathlib import Path

from nightlab.sandbox.attempts.common import Bait, Held, checked, first, in_child, libc

OUTLIVE_SECONDS = 20.0
PTRACE_SEIZE = 0x4206
PR_SET_PDEATHSIG = 1


def read_environment(bait: Bait) -> str:
    """A key in the engine's environment, wherever a process shows one."""
    seen = set()
    # Names first, each opened inside the try: pathlib's glob fails where one ends as it looks.
    for name in ["self", *filter(str.isdigit, _listed("/proc"))]:
        place = Path("/proc", name, "environ")
        try:
            entries = place.read_bytes().split(b"\0")
        except OSError:
            continue
        seen.add(len(entries))
        for entry in entries:
            if hashlib.sha256(entry).hexdigest() in bait["secrets"]:
                return f"{place} shows {entry.partition(b'=')[0].decode(errors='replace')}"
    raise Held("no environment shows it" if seen else "no environment can be read")


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:  # a rung without /proc
        return []


def inherit_descriptors(bait: Bait) -> str:
    """A descriptor of the engine's, left open."""
    if not bait["inherited"]:
        raise Held("only the socket is open")
    return "descriptors " + ", ".join(map(str, bait["inherited"]))


def see_processes(bait: Bait) -> str:
    """The arguments of a process outside."""
    words = Path(f"/proc/{bait['decoy']}/cmdline").read_bytes().decode(errors="replace")
    if bait["token"] not in words:
        raise Held("that number is another process's in here")
    return f"the arguments of process {bait['decoy']} were read"


def trace_engine(bait: Bait) -> str:
    """The memory of a process of the engine's."""
    decoy = bait["decoy"]
    if decoy == os.getpid():
        raise Held("that number is this process's in here")

    def seize() -> str:
        checked(libc().ptrace(PTRACE_SEIZE, decoy, None, None))
        return "it can be traced"

    def read() -> str:
        os.close(os.open(f"/proc/{decoy}/mem", os.O_RDONLY))
        return "its memory can be read"

    def copy() -> str:
        here = ctypes.create_string_buffer(8)
        vector = (ctypes.c_void_p * 2)(ctypes.addressof(here), 8)
        try:
            checked(libc().process_vm_readv(decoy, vector, 1, vector, 1, 0))
        except OSError as refusal:
            if refusal.errno != errno.EFAULT:  # a wrong address: the right to read was there
                raise
        return "its memory can be copied"

    return in_child(lambda: first((copy, read, seize)))


def signal_engine(bait: Bait) -> str:
    """An end to a process of the engine's."""
    if bait["decoy"] == os.getpid():
        raise Held("that number is this process's in here")
    os.kill(bait["decoy"], signal.SIGTERM)
    return "the signal was sent"


def change_sealed_memory(bait: Bait) -> str:
    """The training tokens, which arrive as a sealed memory file."""
    sealed = bait["sealed"]

    def write(descriptor: int) -> str:
        os.pwrite(descriptor, b"planted", 0)
        return "it was written"

    def grow() -> str:
        os.ftruncate(sealed, 2**20)
        return "it was resized"

    def reopen() -> str:
        try:
            os.fchmod(sealed, 0o666)
        finally:
            again = os.open(f"/proc/self/fd/{sealed}", os.O_RDWR)
        return write(again)

    def map_it() -> str:
        with mmap.mmap(sealed, 7, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as shared:
            shared[:7] = b"planted"
        return "it was written through a mapping"

    def unseal() -> str:
        if fcntl.fcntl(sealed, fcntl.F_GET_SEALS) & fcntl.F_SEAL_WRITE:
            raise Held("sealed")
        return "it has no seal against writing"

    return first((lambda: write(sealed), grow, map_it, reopen, unseal))


def fork_without_limit(_: Bait) -> str:
    """More processes than a job may have."""

    def fork() -> str:
        _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
        if hard == resource.RLIM_INFINITY:
            return "there is no limit"
        # Whether the limit binds this user shows at any height: it does not bind root.
        resource.setrlimit(resource.RLIMIT_NPROC, (1, hard))
        if os.fork() == 0:
            os._exit(0)
        return f"the limit of {hard} does not bind"

    return in_child(fork)


def outlive(bait: Bait) -> str:
    """A process that is still there when the job has ended."""
    if os.fork() == 0:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        libc().prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0)
        for descriptor in (0, 1, 2, bait["socket"], bait["sealed"]):
            os.close(descriptor)
        if os.fork() == 0:
            time.sleep(OUTLIVE_SECONDS)  # holding the pulse
        os._exit(0)
    os.wait()
    return "a process was left to itself"
