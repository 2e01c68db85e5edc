"""Landlock, by its three system calls: rules on files, ports and signals for a process.

Standard library only: ``confine`` loads this file by its path, in a bare interpreter. See
landlock(7) for the meaning of the rights.
"""

import ctypes
import os

NEEDED_ABI = 6
"""The first version that keeps a process from signalling others, its warden among them."""

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
MAKE_FIFO, MAKE_SYM, REFER, TRUNCATE, IOCTL_DEV = 1 << 10, 1 << 12, 1 << 13, 1 << 14, 1 << 15

READ = READ_FILE | READ_DIR | EXECUTE
WORK = (
    READ | WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | REFER
    | MAKE_DIR | MAKE_REG | MAKE_FIFO | MAKE_SYM
)  # fmt: skip
"""Everything in a folder of one's own but sockets and device nodes."""
DEVICE = READ_FILE | WRITE_FILE | IOCTL_DEV

_EVERY_FILE_RIGHT = (1 << 16) - 1
_FILE_ONLY = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_BIND_AND_CONNECT_TCP = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneathAttributes(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def abi() -> int:
    """The version of Landlock that the kernel offers; 0 where there is none."""
    return max(0, int(_libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)))


class Ruleset:
    """What a process will be allowed; everything that no rule names is refused.

    Raises:
        OSError: the kernel does not have version 6, with all that it rules on.
    """

    def __init__(self) -> None:
        attributes = _RulesetAttributes(
            handled_access_fs=_EVERY_FILE_RIGHT,
            handled_access_net=_BIND_AND_CONNECT_TCP,
            scoped=_ABSTRACT_SOCKETS_AND_SIGNALS,
        )
        # The kernel refuses bits that it does not know, so nothing can be less, silently.
        size = ctypes.c_size_t(ctypes.sizeof(attributes))
        self.descriptor = _checked(
            _libc().syscall(_CREATE_RULESET, ctypes.byref(attributes), size, 0), "Landlock"
        )

    def allow(self, path: str, rights: int) -> None:
        """Allow ``rights`` on a file, or on a folder and all beneath it.

        Raises:
            OSError: there is no such path.
        """
        located = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not os.path.isdir(path):
                rights &= _FILE_ONLY
            rule = _PathBeneathAttributes(allowed_access=rights, parent_fd=located)
            described = ctypes.byref(rule)
            _checked(_libc().syscall(_ADD_RULE, self.descriptor, _PATH_BENEATH, described, 0), path)
        finally:
            os.close(located)

    def apply(self) -> None:
        """Hold this process, and all that come from it, to the rules, for good.

        Raises:
            OSError: the process neither gave up gaining privileges nor has the right to.
        """
        _checked(_libc().syscall(_RESTRICT_SELF, self.descriptor, 0), "Landlock")
        os.close(self.descriptor)


def _checked(result: int, subject: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), subject)
    return result


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
