"""The machine around a sandbox, laid out so that an attack has something to win.

A key in the environment and the memory of another process of the engine's user, a secret
in world-readable and world-writable places, listeners on every kind of socket, shared
memory, a keyring. Nothing here depends on file permissions, so what an attack does not
reach was held back by the sandbox, not by luck.
"""

import contextlib
import ctypes
import os
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

SETTLE_SECONDS = 5.0
_IPC_CREAT, _IPC_RMID = 0o1000, 0
_SESSION_KEYRING = -3
_ADD_KEY = {"x86_64": 248, "aarch64": 217}


class Scene:
    """Everything that an attack may reach for; a context manager."""

    def __init__(self) -> None:
        self.secret = uuid.uuid4().hex
        self.mark = f"nl{uuid.uuid4().int % 10**12:012d}"
        """The name that processes take which mean to survive: at most 15 characters."""
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._fill_vault()
        self._tcp = self._listen(socket.AF_INET, ("127.0.0.1", 0))
        self._udp = self._keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._udp.bind(("127.0.0.1", 0))
        self._udp.setblocking(False)
        self._abstract = self._listen(socket.AF_UNIX, f"\0{self.mark}")
        self._door = self._listen(socket.AF_UNIX, str(self.vault / "engine.sock"))
        (self.vault / "engine.sock").chmod(0o777)
        self._share_memory()
        _add_key(f"nightlab:{self.mark}", self.secret)
        self._start_victim()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end_survivors()
        self._stack.close()

    def facts(self) -> dict[str, Any]:
        """What the attacker knows, as JSON."""
        return {
            "vault": str(self.vault),
            "victim": self._victim.pid,
            "engine": os.getpid(),
            "tcp": self._tcp.getsockname()[1],
            "udp": self._udp.getsockname()[1],
            "abstract": self.mark,
            "memory_key": self._memory_key,
            "key": f"nightlab:{self.mark}",
            "mark": self.mark,
        }

    def disturbances(self, settle_seconds: float = SETTLE_SECONDS) -> list[str]:
        """What the host itself can see of an attack that got through."""
        seen = []
        for name, server in (
            ("TCP", self._tcp),
            ("abstract", self._abstract),
            ("UNIX", self._door),
        ):
            with contextlib.suppress(BlockingIOError):
                server.accept()[0].close()
                seen.append(f"the host's {name} listener was reached")
        with contextlib.suppress(BlockingIOError):
            self._udp.recv(100)
            seen.append("the host's UDP socket received a datagram")
        if self._victim.poll() is not None:
            seen.append("a process of the engine's user was killed")
        elif psutil.Process(self._victim.pid).status() == psutil.STATUS_STOPPED:
            seen.append("a process of the engine's user was stopped")
        if self._vault_state() != self._vault_before:
            seen.append("files or permissions outside were changed")
        if not _wait_until(lambda: not self._survivors(), settle_seconds):
            seen.append(f"{len(self._survivors())} processes outlived the job")
        return seen

    def survivors(self) -> int:
        """How many processes of the job live."""
        return len(self._survivors())

    @contextlib.contextmanager
    def inheritable(self) -> Iterator[None]:
        """Hold a descriptor of a secret that every child inherits."""
        with (self.vault / "val.bin").open("rb") as file:
            os.set_inheritable(file.fileno(), True)
            yield

    def end_survivors(self) -> None:
        """Kill what has the mark, and reap what of it became ours."""
        while survivors := self._survivors():
            for survivor in survivors:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(survivor, signal.SIGKILL)
        for process in psutil.Process().children():
            with contextlib.suppress(psutil.Error, ChildProcessError):
                if process.name() == self.mark:
                    os.waitpid(process.pid, 0)

    def _fill_vault(self) -> None:
        self.vault = Path(tempfile.mkdtemp(prefix="nightlab-vault-", dir="/var/tmp"))
        self._stack.callback(shutil.rmtree, self.vault, ignore_errors=True)
        for name in ("val.bin", "train.bin", "id_ed25519"):
            (self.vault / name).write_text(f"{name} {self.secret}")
            (self.vault / name).chmod(0o666)
        for name in ("trainer", "site-packages"):
            (self.vault / name).mkdir()
            (self.vault / name).chmod(0o777)
        (self.vault / "trainer" / "score.py").write_text("score = 'honest'\n")
        (self.vault / "trainer" / "score.py").chmod(0o666)
        self.vault.chmod(0o777)
        self._vault_before: list[tuple[object, ...]] = []

    def _vault_state(self) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        for path in [self.vault, *sorted(self.vault.rglob("*"))]:
            state = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found.append((str(path), state.st_mode, state.st_uid, state.st_mtime, content))
        return found

    def _listen(self, family: int, address: Any) -> socket.socket:
        server = self._keep(socket.socket(family, socket.SOCK_STREAM))
        server.bind(address)
        server.listen()
        server.setblocking(False)
        return server

    def _keep(self, opened: socket.socket) -> socket.socket:
        return self._stack.enter_context(opened)

    def _share_memory(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype = ctypes.c_void_p
        self._memory_key = uuid.uuid4().int % 2**30 + 1
        segment = libc.shmget(self._memory_key, 4096, _IPC_CREAT | 0o666)
        address = libc.shmat(segment, None, 0)
        ctypes.memmove(address, self.secret.encode(), len(self.secret))
        self._stack.callback(libc.shmctl, segment, _IPC_RMID, None)
        self._stack.callback(libc.shmdt, ctypes.c_void_p(address))

    def _start_victim(self) -> None:
        # Its environment, its memory, its working folder and its input all lead to a secret.
        with (self.vault / "id_ed25519").open("rb") as opened:
            self._victim = subprocess.Popen(
                ["/usr/bin/sleep", "600"],
                env={"OPENAI_API_KEY": self.secret},
                cwd=self.vault,
                stdin=opened,
            )
        self._stack.callback(self._victim.wait)
        self._stack.callback(self._victim.kill)
        self._vault_before = self._vault_state()

    def _survivors(self) -> list[int]:
        """Process ids of what bears the mark and is not dead: of the whole machine, in one go."""
        found = []
        # Not pathlib's glob, which fails where a process ends as it looks.
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                stat = Path("/proc", pid, "stat").read_text(errors="replace")
                name, _, rest = stat.partition(") ")
                if name.endswith(f"({self.mark}") and not rest.startswith(("Z", "X")):
                    found.append(int(pid))
        return found


def _wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _add_key(name: str, payload: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(
        ctypes.c_long(_ADD_KEY[platform.machine()]),
        b"user",
        name.encode(),
        payload.encode(),
        ctypes.c_long(len(payload)),
        ctypes.c_long(_SESSION_KEYRING),
    )
