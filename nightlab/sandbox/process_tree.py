"""The processes of a job and the memory that they hold, read from /proc.

What memory costs is counted so that nothing counts twice and little hides:

* private and file pages by their proportional share (``smaps_rollup``), so that pages
  which processes share count once in the sum;
* shared memory (memory files, shared anonymous maps, files in temporary file systems) by
  what is *allocated*, since such pages stay when nobody maps them: a written memory file
  that is not mapped is in no process's resident size.

Not seen: a memory file that only travels in a socket's queue; without root, a shared map
whose pages the candidate dropped from its tables; and the kernel's own buffers. Those
meet the machine's reserve (see ``watch``), and a cgroup's limit where there is one.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
BLOCK_BYTES = 512
"""The unit of ``st_blocks``, whatever the file system."""

_ROLLUP_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the open files of a tree hold without a name, in bytes."""

    shared_memory_bytes: int
    """Allocated in memory files and shared anonymous maps."""
    deleted_bytes: int
    """Allocated on the work folder's disk in files that have no name any more."""


def tree_of(pid: int) -> list[int]:
    """The process and all its descendants, parents first; what is gone is left out."""
    tree = [pid]
    # Kernels built without these lists are asked for every process's parent instead,
    # which costs more the busier the machine is.
    listed = os.path.exists(f"/proc/self/task/{threading.get_native_id()}/children")
    children = _listed_children if listed else _searched_children()
    for process in tree:
        tree += children(process)
    return tree


def count_tasks(pids: Iterable[int]) -> int:
    """Processes and threads together, as the kernel's limit on processes counts them."""
    return sum(len(_names(f"/proc/{pid}/task")) for pid in pids)


def tasks_of(pid: int) -> list[str]:
    """The folders in /proc of a process's threads."""
    return [f"/proc/{pid}/task/{name}" for name in _names(f"/proc/{pid}/task")]


def stat_fields(pid: int) -> list[bytes]:
    """``/proc/PID/stat`` from its third field on; nothing where the process is gone."""
    # The name, in parentheses, may itself hold spaces and parentheses.
    return read_file(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def resident_bytes(pids: Iterable[int]) -> int:
    """The sum of resident sizes: cheap, and too high where processes share pages."""
    pages = 0
    for pid in pids:
        fields = read_file(f"/proc/{pid}/statm").split()
        pages += int(fields[1]) if len(fields) > 1 else 0
    return pages * PAGE_BYTES


def memory_bytes(pids: Iterable[int], held_bytes: int) -> int:
    """What the tree costs in memory.

    Args:
        pids: its processes.
        held_bytes: shared memory known to be allocated, mapped or not.
    """
    total = shared = 0
    for pid in pids:
        for line in read_file(f"/proc/{pid}/smaps_rollup", _ROLLUP_BYTES).splitlines():
            name, _, value = line.partition(b":")
            if name == b"Pss":
                total += int(value.split()[0]) * 1024
            elif name == b"Pss_Shmem":
                shared += int(value.split()[0]) * 1024
    return total - shared + max(shared, held_bytes)


def held_by(pids: Iterable[int], work_device: int | None) -> Held:
    """What open files hold: memory files, and files on the work folder's disk without a name.

    Args:
        pids: the processes of the tree.
        work_device: ``st_dev`` of the work folder; None where its file system counts itself.
    """
    memory_device = _memory_device()
    memory: dict[int, int] = {}
    deleted: dict[int, int] = {}
    for pid in pids:
        for state in _open_files(pid, memory_device):
            if not S_ISREG(state.st_mode):
                continue
            if state.st_dev == memory_device:
                memory[state.st_ino] = state.st_blocks * BLOCK_BYTES
            elif state.st_dev == work_device and state.st_nlink == 0:
                deleted[state.st_ino] = state.st_blocks * BLOCK_BYTES
    return Held(
        shared_memory_bytes=sum(memory.values()),
        deleted_bytes=sum(deleted.values()),
    )


def available_bytes() -> int:
    """Memory that the machine could still give out without swapping."""
    for line in read_file("/proc/meminfo").splitlines():
        if line.startswith(b"MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def _listed_children(pid: int) -> list[int]:
    # A child is listed with the thread that made it.
    threads = _names(f"/proc/{pid}/task")
    lists = (read_file(f"/proc/{pid}/task/{thread}/children") for thread in threads)
    return [int(child) for children in lists for child in children.split()]


def _searched_children() -> Callable[[int], list[int]]:
    children: dict[int, list[int]] = {}
    for name in filter(str.isdigit, _names("/proc")):
        fields = stat_fields(int(name))
        if len(fields) > 1:
            children.setdefault(int(fields[1]), []).append(int(name))
    return lambda pid: children.get(pid, [])


def _open_files(pid: int, memory_device: int) -> Iterator[os.stat_result]:
    names = [f"/proc/{pid}/fd/{name}" for name in _names(f"/proc/{pid}/fd")]
    for name in [*names, *_shared_maps(pid, memory_device)]:
        try:
            yield os.stat(name)
        except OSError:
            continue


def _shared_maps(pid: int, memory_device: int) -> Iterator[str]:
    """Files that stand for the shared anonymous maps of a process; only root can ask them."""
    if os.geteuid() != 0:
        return
    device = f"{os.major(memory_device):02x}:{os.minor(memory_device):02x}".encode()
    for line in _read_all(f"/proc/{pid}/maps").splitlines():
        fields = line.split(maxsplit=5)
        if fields[1].endswith(b"s") and fields[3] == device:
            yield f"/proc/{pid}/map_files/{_plain(fields[0])}"


def _plain(span: bytes) -> str:
    start, _, end = span.decode().partition("-")
    return f"{int(start, 16):x}-{int(end, 16):x}"


def _memory_device() -> int:
    """The device number of the kernel's own temporary file system, where memory files live."""
    descriptor = os.memfd_create("device", os.MFD_CLOEXEC)
    try:
        return os.fstat(descriptor).st_dev
    finally:
        os.close(descriptor)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def read_file(path: str, size: int = 1 << 16) -> bytes:
    """The beginning of a file of the kernel's; nothing where it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(descriptor, size)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def _read_all(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
