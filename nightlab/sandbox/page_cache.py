"""Pages of files on disk that several jobs read: kept in memory, so that none tells anything.

Which pages of a file are in memory can be told by whoever may ask or wait for them, and whoever
can drop one can leave a word in it for the next job. The filter refuses jobs to drop and to ask
(see ``seccomp``); what the kernel itself dropped is read again before each job starts.
"""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

_CACHESTAT = 451
"""The call's number on every machine; Linux 6.5 and later have it."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def make_resident(files: Iterable[Path]) -> None:
    """Read files whose pages are not all in memory.

    Raises:
        OSError: one cannot be read.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        for path in files:
            source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _read_whole(source, nowhere)
            finally:
                os.close(source)
    finally:
        os.close(nowhere)


def resident_pages(descriptor: int) -> int | None:
    """How many pages of a file are in memory; None where the kernel does not tell."""
    whole, told = (ctypes.c_uint64 * 2)(0, 0), (ctypes.c_uint64 * 5)()
    answer = ctypes.CDLL(None).syscall(
        _CACHESTAT, descriptor, ctypes.byref(whole), ctypes.byref(told), 0
    )
    return told[0] if answer == 0 else None


def _read_whole(source: int, nowhere: int) -> None:
    size = os.fstat(source).st_size
    if resident_pages(source) == -(-size // _PAGE_BYTES):
        return
    at = 0
    while at < size and (sent := os.sendfile(nowhere, source, at, size - at)):
        at += sent
