"""A running job, as the host sees it: its socket, its output, its memory, its end."""

import re
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Protocol, Self

import psutil

from nightlab.errors import SandboxError
from nightlab.protocol import Channel
from nightlab.sandbox.job import JobFolder, Layout

LOG_HEAD_BYTES = 16 * 1024
LOG_TAIL_BYTES = 48 * 1024
KILL_SECONDS = 10.0
MEMORY_POLL_SECONDS = 0.25

# Escape sequences and control characters: the log is shown in terminals and pages.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[^\[]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Spawner:
    """Starts processes, all from one thread that lives as long as the engine.

    A process that is to die with its parent (PR_SET_PDEATHSIG) dies with the *thread*
    that started it, so a worker thread that ends would take its sandboxes along.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="nightlab-spawner")

    def spawn(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start a process; ``options`` are those of ``subprocess.Popen``.

        Raises:
            SandboxError: it cannot be started.
        """

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                **options,
            )

        try:
            return self._thread.submit(start).result()
        except OSError as error:
            raise SandboxError(f"{command[0]} cannot be started ({error}).") from error


class CappedLog:
    """Keeps the head and the tail of a stream, and counts what fell out between."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0
        self._guard = threading.Lock()

    def add(self, data: bytes) -> None:
        """Take in the next bytes of the stream."""
        with self._guard:
            room = LOG_HEAD_BYTES - len(self._head)
            self._head += data[:room]
            self._tail += data[room:] if room > 0 else data
            surplus = len(self._tail) - LOG_TAIL_BYTES
            if surplus > 0:
                del self._tail[:surplus]
                self._dropped += surplus

    def text(self) -> str:
        """What was kept, readable: no control characters, the gap told."""
        with self._guard:
            head, tail, dropped = bytes(self._head), bytes(self._tail), self._dropped
        gap = f"\n… {dropped} bytes of output left out …\n".encode() if dropped else b""
        text = (head + gap + tail).decode("utf-8", errors="replace").replace("\r\n", "\n")
        return _ESCAPES.sub("", text.replace("\r", "\n"))


class Tree(Protocol):
    """What a rung knows about the processes of a job that only it can know."""

    def kill(self) -> None:
        """End every process of the job, so that the outermost one ends last."""

    def never_began(self) -> bool:
        """Whether the outermost process ended before the job's own program was started."""

    def close(self) -> None:
        """Release what the rung holds for the job."""


class SandboxedProcess:
    """A running job. Leaving its ``with`` block kills the whole tree and removes its folder.

    Args:
        process: the outermost process, its output a pipe.
        channel: the host's end of the socket.
        folder: the job's folder.
        layout: the job's paths as its processes see them.
        tree: how the rung ends it.
    """

    def __init__(
        self,
        *,
        process: subprocess.Popen[bytes],
        channel: Channel,
        folder: JobFolder,
        layout: Layout,
        tree: Tree,
    ) -> None:
        self.channel = channel
        self.folder = folder
        self.layout = layout
        self._process = process
        self._tree = tree
        self._killed = False
        self._log = CappedLog()
        self._ended = threading.Event()
        self._peak_bytes = 0
        self._reader = threading.Thread(target=self._read_log, name="nightlab-log", daemon=True)
        self._meter = threading.Thread(target=self._poll_memory, name="nightlab-rss", daemon=True)
        self._reader.start()
        self._meter.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.kill()
        finally:
            self._ended.set()
            self._meter.join()
            self.channel.close()
            self._tree.close()
            self.folder.remove()

    @property
    def pid(self) -> int:
        """Process id of the outermost process."""
        return self._process.pid

    @property
    def log(self) -> str:
        """The output so far, capped; data, never instructions."""
        return self._log.text()

    @property
    def peak_memory_mb(self) -> float | None:
        """Largest resident memory of the whole tree that was seen, or None before any was."""
        return self._peak_bytes / 2**20 if self._peak_bytes else None

    def wait(self, timeout_seconds: float) -> int | None:
        """Wait for the end; the exit code (128 + signal where one ended it), or None.

        Raises:
            SandboxError: the job's program was never started.
        """
        code = self._reap(timeout_seconds)
        if code is None:
            return None
        if code != 0 and not self._killed and self._tree.never_began():
            said = self.log.strip().splitlines() or [f"it ended with status {code}"]
            raise SandboxError(
                f"The sandbox could not be built ({said[-1]}): see `nightlab doctor`."
            )
        return code if code >= 0 else 128 - code

    def kill(self) -> None:
        """Kill every process of the job and return once they are gone.

        Raises:
            SandboxError: they do not go, as when a driver holds them in the kernel.
        """
        if self._process.poll() is None:
            self._killed = True
            self._tree.kill()
        if self._reap(KILL_SECONDS) is None:
            self._process.kill()
            raise SandboxError(
                f"The sandbox (process {self.pid}) is still there {KILL_SECONDS:.0f} s after it "
                "was killed: look for a hung device or disk with `dmesg`."
            )

    def _reap(self, timeout_seconds: float) -> int | None:
        try:
            code = self._process.wait(max(timeout_seconds, 0.0))
        except subprocess.TimeoutExpired:
            return None
        # Nothing holds the pipe any more, so what was written is read in a moment.
        self._reader.join(KILL_SECONDS)
        return code

    def _read_log(self) -> None:
        pipe = self._process.stdout
        if pipe is None:
            return
        with pipe:
            while data := pipe.read1(1 << 16):  # type: ignore[attr-defined]
                self._log.add(data)

    def _poll_memory(self) -> None:
        while self._process.poll() is None and not self._ended.is_set():
            self._peak_bytes = max(self._peak_bytes, tree_memory_bytes(self._process.pid))
            self._ended.wait(MEMORY_POLL_SECONDS)


def tree_memory_bytes(pid: int) -> int:
    """Resident memory of a process and all its descendants; shared pages count once each."""
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    total = 0
    for process in tree:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total
