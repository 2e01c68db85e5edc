"""The processes of a job and the memory that they hold, read from /proc.

Names in there are others' to choose, of files and processes: what has lines is split at
newlines and nowhere else (those of a name the kernel writes in digits), what follows a name is
counted from its end, and what cannot be read so raises, which ends the job (see ``watch``).

What memory costs is counted so that nothing counts twice and little hides:

* private and file pages by their proportional share (``smaps_rollup``), so that pages
  which processes share count once in the sum; what of them is in swap; and page tables;
* shared memory (memory files, shared anonymous maps, files in temporary file systems) by
  what is *allocated*, since such pages stay when nobody maps them: a written memory file
  that is not mapped is in no process's resident size.

Not seen: a file that only travels in a socket's queue; without root, what of a shared map is
in no table, and a file without a name that only a map holds; and the kernel's own buffers. Those
meet the machine's reserve (see ``watch``), and a cgroup's limit where there is one.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from stat import S_ISREG

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
BLOCK_BYTES = 512
"""The unit of ``st_blocks``, whatever the file system."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the open files of a tree hold without a name, in bytes."""

    shared_memory_bytes: int
    """Allocated in memory files and shared anonymous maps."""
    deleted_bytes: int
    """Allocated on the work folder's disk in files that have no name any more."""
    shut: frozenset[int]
    """Processes that do not let us look at their files and memory: as all are for a moment when
    they start a program, and those for good that make themselves so. Root is never told."""


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
        status, sizes = _sizes(f"/proc/{pid}/status"), _sizes(f"/proc/{pid}/smaps_rollup")
        # Where we may not look it up, what it shares with others counts as its own.
        total += sizes.get(b"Pss", status.get(b"VmRSS", 0))
        total += sizes.get(b"SwapPss", status.get(b"VmSwap", 0)) + status.get(b"VmPTE", 0)
        shared += sizes.get(b"Pss_Shmem", 0)
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
    shut = set()
    for pid in pids:
        if os.geteuid() != 0 and not _may_look_at(pid):
            shut.add(pid)
        for state in _open_files(pid):
            if not S_ISREG(state.st_mode):
                continue
            if state.st_dev == memory_device:
                memory[state.st_ino] = state.st_blocks * BLOCK_BYTES
            elif state.st_dev == work_device and state.st_nlink == 0:
                deleted[state.st_ino] = state.st_blocks * BLOCK_BYTES
    return Held(
        shared_memory_bytes=sum(memory.values()),
        deleted_bytes=sum(deleted.values()),
        shut=frozenset(shut),
    )


def available_bytes() -> int:
    """Memory that the machine could still give out without swapping."""
    return _sizes("/proc/meminfo").get(b"MemAvailable", 0)


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


def _may_look_at(pid: int) -> bool:
    try:
        os.close(os.open(f"/proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except PermissionError:
        return False
    except OSError:  # it is gone
        return True
    return True


def _open_files(pid: int) -> Iterator[os.stat_result]:
    for name in _names(f"/proc/{pid}/fd"):
        with suppress(OSError):
            yield os.stat(f"/proc/{pid}/fd/{name}")
    # Files of maps are only root's to ask. Lost without a map are those alone that have no name
    # any more: shared anonymous memory too, which the kernel takes for such a file.
    for line in _lines(f"/proc/{pid}/maps") if os.geteuid() == 0 else ():
        if line.endswith(b" (deleted)"):
            first, last = line.partition(b" ")[0].split(b"-")
            with suppress(OSError):
                yield os.stat(f"/proc/{pid}/map_files/{int(first, 16):x}-{int(last, 16):x}")


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


def _sizes(path: str) -> dict[bytes, int]:
    """What a file of lines like ``Pss: 12 kB`` says, in bytes, by name."""
    sizes: dict[bytes, int] = {}
    for line in read_file(path).split(b"\n"):
        name, _, value = line.partition(b":")
        number, _, unit = value.strip().partition(b" ")
        if unit == b"kB":
            sizes.setdefault(name, int(number) * 1024)
    return sizes


def _lines(path: str) -> Iterator[bytes]:
    """The lines of a file of the kernel's, however many; none where it cannot be read."""
    with suppress(OSError), open(path, "rb") as file:
        for line in file:
            yield line.removesuffix(b"\n")
