"""Attempts on files: reading, writing and seeing what is not the candidate's."""

import json
import os
import sys
from collections.abc import Callable

from nightlab.sandbox.attempts.common import Bait, Held, first

DEVICES = (
    *("mem", "kmem", "port", "kmsg", "kvm", "fuse", "net/tun", "loop-control", "uinput"),
    *("sda", "vda", "xvda", "nvme0n1", "dm-0", "loop0", "vsock"),
)
KERNEL_SETTINGS = (
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/vm/drop_caches",
    "/proc/sysrq-trigger",
    "/sys/kernel/uevent_helper",
    "/sys/power/state",
)


def read_outside(bait: Bait) -> str:
    """A file that everybody may read."""
    return _read(bait["readable"])


def read_clone(bait: Bait) -> str:
    """Nightlab's own code."""
    return _read(bait["clone"])


def list_home(bait: Bait) -> str:
    """The user's home folder."""
    names = os.listdir(bait["home"])
    if not names:
        raise Held("it is empty")
    return f"{bait['home']} has {len(names)} entries"


def see_outside(bait: Bait) -> str:
    """That a file is there, and its size."""
    return f"{os.stat(bait['readable']).st_size} bytes at {bait['readable']}"


def write_outside(bait: Bait) -> str:
    """A new file in a folder that is open to all, and an old one."""

    def create() -> str:
        os.close(os.open(bait["folder"] + "/planted", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        return "a file was made"

    def overwrite() -> str:
        with open(bait["writable"], "ab") as file:
            file.write(b"planted")
        return "a file was changed"

    return first((create, overwrite, lambda: _cut(bait["writable"])))


def _cut(path: str) -> str:
    os.truncate(path, 0)
    return "a file was emptied"


def change_mode_outside(bait: Bait) -> str:
    """The mode and the times of the user's own files."""

    def mode() -> str:
        os.chmod(bait["owned"], 0o777)
        return "a mode was changed"

    def times() -> str:
        os.utime(bait["owned"], (0, 0))
        return "a file's times were changed"

    return first((mode, times))


def write_engine(bait: Bait) -> str:
    """The engine's files that a job reads, and Python's own."""

    def overwrite(path: str) -> Callable[[], str]:
        def attempt() -> str:
            os.close(os.open(path, os.O_WRONLY))
            return f"{path} can be written"

        return attempt

    def plant(folder: str) -> Callable[[], str]:
        def attempt() -> str:
            path = f"{folder}/nightlab-probe"
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
            os.unlink(path)
            return f"files can be made in {folder}"

        return attempt

    files = [*bait["fixed"], json.__file__, sys.executable]
    folders = sorted({os.path.dirname(file) for file in files})
    return first([*map(overwrite, files), *map(plant, folders)])


def read_device(_: Bait) -> str:
    """Disks, memory and the kernel's log."""

    def read(name: str) -> Callable[[], str]:
        def attempt() -> str:
            os.close(os.open(f"/dev/{name}", os.O_RDONLY | os.O_NONBLOCK))
            return f"/dev/{name} opened"

        return attempt

    return first(map(read, DEVICES))


def write_kernel_settings(_: Bait) -> str:
    """Settings of the whole machine."""

    def write(path: str) -> Callable[[], str]:
        def attempt() -> str:
            os.close(os.open(path, os.O_WRONLY))
            return f"{path} can be written"

        return attempt

    return first(map(write, KERNEL_SETTINGS))


def _read(path: str) -> str:
    with open(path, "rb") as file:
        if not file.read(1):
            raise Held("it is empty")
    return f"{path} was read"
