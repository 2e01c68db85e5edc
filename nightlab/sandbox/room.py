"""The room of an engine's jobs: file systems in memory that nobody else sees, for rung 1.

The kernel remembers more of a file than its content: names that were asked for and do not
exist, pages that were read, times, locks. On a disk that is one memory for all jobs, so one job
could leave word for another: what the first scorer saw, say, for the second. So a job sees no
file system that outlives it or that another job sees::

    nightlab-jobs-UID/       on disk an empty folder; in the room a file system in memory
      library/               the stripped tree (see library.py): its small files
      disk/                  the same tree as it lies on disk: its large files, too large to copy
      devices/               nodes such as /dev/null, read-only, so that their times stay
      xxxxxxxx/              one job's own file system: see job_file_system.py

A room is a mount namespace, as an ordinary user inside a user namespace. The process that made it
ends at once; what keeps it are descriptors of the engine's, through which the engine also reads
and writes in it. So when the engine ends, however it ends, the kernel takes all of it away.
"""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from nightlab.errors import SandboxError, SandboxUnavailable
from nightlab.sandbox.job import jobs_root
from nightlab.sandbox.library import Library

LARGE_BYTES = 2**20
"""Larger files of the library are shown from disk: those of torch for CUDA have 6 GB."""

# For /bin/sh, in the namespaces. Paths in mount options are relative: none needs quoting.
_MAKE = """
mount -t tmpfs -o mode=0711 nightlab "$1" && cd "$1" && mkdir library empty disk devices &&
mount --bind "$2" disk && echo ready && read -r _
"""
# A node's own mount may be limited already, and what limits it stays.
_SHOW_NODE = """
cd "$1/devices" && if [ -d "$2" ]; then mkdir "$3"; else : > "$3"; fi && mount --bind "$2" "$3" &&
mount -o remount,bind,ro,nosuid,noexec "$3"
"""
_VARIABLES = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_guard = threading.Lock()
_rooms: dict[tuple[Path, Path], "Room"] = {}


def room_for(library: Library) -> "Room":
    """The room of this process for a library, made when it is first asked for.

    Raises:
        SandboxError: the temporary folder is not ours, full, or not writable.
        SandboxUnavailable: the system does not let us make one.
    """
    place = jobs_root()
    with _guard:
        room = _rooms.get((place, library.folder))
        if room is None:
            room = _rooms[place, library.folder] = Room.make(place, library)
        return room


class Room:
    """One process's room; it is there as long as the process is.

    Args:
        place: the folder that it is mounted over.
        namespaces: options of nsenter(1), by the descriptors that name them.
        root: a descriptor of its top folder.
        library: what its jobs can read.
    """

    def __init__(
        self, place: Path, namespaces: dict[str, int], root: int, library: Library
    ) -> None:
        self.place = place
        self.reached = Path(f"/proc/self/fd/{root}")
        """Its path for this process."""
        self.library = library
        self.large: tuple[str, ...] = ()
        """Paths of large files beneath the library's folder."""
        self._namespaces = namespaces
        self._devices: dict[str, str] = {}

    @classmethod
    def make(cls, place: Path, library: Library) -> "Room":
        """Make one over a folder.

        Raises:
            SandboxUnavailable: the system does not let us.
        """
        own_user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        command = ["/usr/bin/unshare", *own_user, "--mount", "--propagation", "slave"]
        command += ["/bin/sh", "-c", _MAKE, "sh", str(place), str(library.folder)]
        with _running(command) as maker:
            kinds = {"--mount": "mnt", **({"--user": "user"} if own_user else {})}
            namespaces = {
                option: os.open(f"/proc/{maker}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
                for option, kind in kinds.items()
            }
            room = cls(
                place, namespaces, os.open(f"/proc/{maker}/root{place}", _DIRECTORY), library
            )
        try:
            room.large = tuple(_copy_small(library, room.reached / "library"))
        except OSError as error:
            raise SandboxUnavailable(
                f"its jobs' copy of Python and torch has no room in memory ({error})",
                "free 200 MB of memory",
            ) from error
        return room

    def entering(self) -> list[str]:
        """The beginning of a command that runs inside, as the very process that is started."""
        # By the engine's own descriptors: inherited ones would stay open in the command.
        engine = os.getpid()
        named = (f"{option}=/proc/{engine}/fd/{fd}" for option, fd in self._namespaces.items())
        return ["/usr/bin/nsenter", "--preserve-credentials", *named, "--"]

    def run(self, script: str, *words: str) -> None:
        """Run a script of /bin/sh inside; its first argument is the room's place.

        Raises:
            SandboxError: it failed.
        """
        command = [*self.entering(), "/bin/sh", "-c", script, "sh", str(self.place), *words]
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, env=_VARIABLES
        )
        if done.returncode != 0:
            raise SandboxError(
                f"Jobs have file systems in memory, mounted over {self.place}, and changing them "
                f"failed ({_last_line(done.stderr)}): free memory, or start Nightlab again."
            )

    def devices(self, nodes: Iterable[str]) -> list[tuple[str, str]]:
        """Device nodes on mounts that nobody can write to: (path inside, node) of each.

        Raises:
            SandboxError: one cannot be shown.
        """
        with _guard:
            for node in nodes:
                if node not in self._devices and os.path.exists(node):
                    name = Path(node).name
                    self.run(_SHOW_NODE, node, name)
                    self._devices[node] = f"{self.place}/devices/{name}"
        return [(self._devices[node], node) for node in nodes if node in self._devices]


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[int]:
    """The id of a command that has said that it is ready, and that ends with the block."""
    try:
        made = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=_VARIABLES,
        )
    except OSError as error:
        raise SandboxUnavailable(f"it needs {command[0]} of util-linux ({error})") from error
    with made:
        said = "" if made.stdout is None else made.stdout.readline()
        if said != "ready\n":
            raise SandboxUnavailable(
                f"it cannot mount file systems in memory for its jobs ({_last_line(said)})"
            )
        yield made.pid


def _copy_small(library: Library, target: Path) -> Iterator[str]:
    """Copy a library; large files are left empty, and their paths beneath it given."""
    for part in (library.home, library.packages, library.root):
        name = part.relative_to(library.folder)
        for large in _copy_folder(str(part), str(target / name)):
            yield os.path.relpath(large, library.folder)


def _copy_folder(source: str, target: str) -> Iterator[str]:
    os.mkdir(target)
    os.chmod(target, 0o755)
    with os.scandir(source) as entries:
        for entry in entries:
            place = f"{target}/{entry.name}"
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), place)
            elif entry.is_dir():
                yield from _copy_folder(entry.path, place)
            elif not _copy_file(entry.path, place):
                yield entry.path


def _copy_file(source: str, target: str) -> bool:
    """Copy a small file, or make an empty one in a large one's place; whether it was small."""
    with open(source, "rb", buffering=0) as file, open(target, "xb", buffering=0) as copy:
        state = os.fstat(file.fileno())
        os.fchmod(copy.fileno(), state.st_mode & 0o777)
        if state.st_size > LARGE_BYTES:
            return False
        copy.write(file.read(LARGE_BYTES + 1))
        return True


def _last_line(said: str) -> str:
    return (said.strip().splitlines() or ["without a word"])[-1]
