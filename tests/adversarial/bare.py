"""The candidate's side of the wall by hand, for attacks: the standard library only.

A sandbox holds no tests, so the harness puts this text in front of an attack's own, as the
module ``bare``; an attack that has to import torch does so by itself. Speaking the protocol
bare, an attack can say what the real runtime never would, and starts 40 times faster.
"""

import contextlib
import ctypes
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MARKER = "GOT THROUGH:"

scene: dict[str, Any] = {}
"""What an attacker who knows the machine knows: paths, ports, process ids; never a secret."""


class Host:
    """The socket to the engine, opened when it is first needed."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    @property
    def socket(self) -> socket.socket:
        """The raw connection, for those who mean to misuse it."""
        if self._socket is None:
            self._socket = socket.socket(fileno=int(os.environ["NIGHTLAB_SOCKET"]))
        return self._socket

    def send(self, **message: object) -> None:
        """Send one frame."""
        self.send_raw(json.dumps(message).encode())

    def send_raw(self, payload: bytes, announced: int | None = None) -> None:
        """Send any bytes as a frame, of the length that they have or of one that is a lie."""
        length = len(payload) if announced is None else announced
        self.socket.sendall(struct.pack(">I", length) + payload)

    def receive(self) -> tuple[dict[str, Any], list[int]]:
        """Wait for one frame and the descriptors that came with it."""
        header, descriptors, _, _ = socket.recv_fds(self.socket, 4, 8)
        if len(header) < 4:
            sys.exit(9)
        payload = b""
        (length,) = struct.unpack(">I", header)
        while len(payload) < length:
            payload += self.socket.recv(length - len(payload)) or sys.exit(9)
        return json.loads(payload), descriptors


host = Host()


def start() -> dict[str, Any]:
    """The host's first message: seed, budget, where to save."""
    message, _ = host.receive()
    return message


def gate() -> int:
    """Say ready and wait for the clock: the descriptor of the training tokens."""
    host.send(type="ready")
    _, descriptors = host.receive()
    return descriptors[0]


def checkpoint() -> Path:
    """Where weights are saved: the working folder is where a job begins."""
    return Path(os.getcwd(), "checkpoint.pt")


def save(weights: bytes = b"weights", final: bool = True) -> None:
    """Save a checkpoint as the runtime does, and say so."""
    partial = checkpoint().with_suffix(".partial")
    partial.write_bytes(weights)
    partial.replace(checkpoint())
    host.send(type="saved", final=final)


def train_honestly() -> None:
    """A whole training that breaks no rule."""
    start()
    tokens = gate()
    os.pread(tokens, 64, 0)
    host.send(type="step", step=1, loss=2.5, tokens=32)
    save()


def won(evidence: object) -> None:
    """Say that the attack reached its aim, and with what."""
    show(MARKER, str(evidence)[:200].replace("\n", " "))


def show(*things: object) -> None:
    """Print what was found; the host looks for secrets in it."""
    print(*things, flush=True)  # noqa: T201 - a candidate's output is what is looked at


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """Go on where the system said no."""
    with contextlib.suppress(OSError, ValueError, MemoryError):
        yield


def everywhere(pattern: str) -> Iterator[tuple[str, bytes]]:
    """Every file that matches a glob pattern and can be read, with its first 64 KiB."""
    for path in Path("/").glob(pattern.lstrip("/")):
        with refused():
            # Pipes and sockets would make us wait.
            if path.is_file():
                yield str(path), path.read_bytes()[: 1 << 16]


CALLS = {
    # name: (x86_64, aarch64)
    "add_key": (248, 217),
    "bpf": (321, 280),
    "clock_settime": (227, 112),
    "clone": (56, 220),
    "clone3": (435, 435),
    "fsopen": (430, 430),
    "init_module": (175, 105),
    "inotify_init1": (294, 26),
    "io_setup": (206, 0),
    "io_uring_setup": (425, 425),
    "keyctl": (250, 219),
    "mount": (165, 40),
    "move_mount": (429, 429),
    "mq_open": (240, 180),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "process_vm_readv": (310, 270),
    "ptrace": (101, 117),
    "seccomp": (317, 277),
    "setns": (308, 268),
    "shmat": (30, 196),
    "shmget": (29, 194),
    "swapon": (167, 224),
    "timer_create": (222, 107),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}


def call(name: str, *arguments: object) -> int:
    """Make a raw system call; a negative errno where it is refused."""
    number = CALLS[name][os.uname().machine == "aarch64"]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long  # addresses are longer than an int
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = libc.syscall(ctypes.c_long(number), *given)
    return -ctypes.get_errno() if result == -1 else int(result)


def spin(seconds: float) -> None:
    """Compute for so many processor seconds of this process."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def rename(name: str) -> None:
    """Take a name that the host can look for; children inherit it."""
    ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)


def in_child(action: Callable[[], object]) -> int:
    """Run something in a forked child; its process id."""
    child = os.fork()
    if child == 0:
        try:
            action()
        finally:
            os._exit(0)
    return child
