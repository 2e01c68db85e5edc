"""What an escape would reach, laid out for one try, and a look at what became of it.

A refusal proves something only when there was something to refuse. So the host lays out
what a candidate would want (files, listeners, a process with a key in its environment, a
sealed memory file) and reaches each of them itself first. What only the host can see, it
judges: a datagram that never arrived was held, whatever its sender believes.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from nightlab.errors import SandboxError, SandboxUnavailable
from nightlab.records import Escape
from nightlab.sandbox.attempts.program import MARK
from nightlab.sandbox.job import Layout
from nightlab.sandbox.owned_folder import temporary_folder
from nightlab.sandbox.protocol import Channel, Deadline

SECONDS = 60.0
"""For handing the bait over."""
END_SECONDS = 2.0
"""How long after a job's end a process of it may take to vanish."""

# What a job is given on purpose, or what every environment has.
_ORDINARY = frozenset(
    (
        *("HOME", "USER", "LOGNAME", "SHELL", "SHLVL", "TERM", "PWD", "OLDPWD", "_", "TMPDIR"),
        *("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PYTHONHASHSEED"),
        *("PYTHONHOME", "PYTHONPATH", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"),
    )
)
_ORDINARY_STARTS = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "TRITON_", "TORCHINDUCTOR_")


@dataclass(slots=True, kw_only=True)
class Bait:
    """What an escape would reach, laid out for one try; see ``laid``."""

    token: str
    folder: Path
    decoy: subprocess.Popen[bytes]
    tcp: socket.socket
    udp: socket.socket
    unix: socket.socket
    abstract: socket.socket
    sealed: int
    pulse: int
    """Ends when every process that was given its other end has."""
    pulse_inner: int
    layout: Layout | None = None
    unreached: Mapping[str, str] = field(default_factory=dict)
    """What not even the engine could reach, and why."""

    @classmethod
    @contextlib.contextmanager
    def laid(cls) -> Iterator[Self]:
        """Lay the bait, see that it can be reached, and clear it away.

        Raises:
            SandboxError: files, sockets or processes cannot be made here.
        """
        with contextlib.ExitStack() as stack:
            try:
                bait = cls._lay(stack)
                bait.unreached = bait._controls()
            except OSError as error:
                raise SandboxError(
                    f"Trying a sandbox needs files, sockets and a process in "
                    f"{tempfile.gettempdir()}, and making them failed ({error}): free what it "
                    "names, or set TMPDIR to another place."
                ) from error
            yield bait

    @classmethod
    def _lay(cls, stack: contextlib.ExitStack) -> Self:
        token = secrets.token_hex(16)
        folder = stack.enter_context(temporary_folder("bait"))
        folder.chmod(0o777)
        for name, mode in (("readable", 0o444), ("writable", 0o666), ("owned", 0o600)):
            (folder / name).write_text(token, encoding="utf-8")
            (folder / name).chmod(mode)
        code = "import sys; sys.stdin.read()"
        decoy = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code, token],
            env={"NIGHTLAB_BAIT": token},
            stdin=subprocess.PIPE,
        )
        stack.callback(_end, decoy)
        tcp, udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
        unix, abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        for listener, address in (
            (tcp, ("127.0.0.1", 0)),
            (udp, ("127.0.0.1", 0)),
            (unix, str(folder / "socket")),
            (abstract, f"\0nightlab-{token}"),
        ):
            stack.enter_context(listener)
            listener.bind(address)
            listener.setblocking(False)
            if listener is not udp:
                listener.listen()
        (folder / "socket").chmod(0o777)
        pulse, pulse_inner = os.pipe()
        sealed = _sealed_memory(token.encode())
        bait = cls(
            token=token,
            folder=folder,
            decoy=decoy,
            tcp=tcp,
            udp=udp,
            unix=unix,
            abstract=abstract,
            sealed=sealed,
            pulse=pulse,
            pulse_inner=pulse_inner,
        )
        stack.callback(bait._close)
        return bait

    def hand_over(self, channel: Channel, layout: Layout) -> None:
        """Tell the program of attempts where the bait lies. Raises as ``Channel.send`` does."""
        self.layout = layout
        deadline = Deadline.after(SECONDS)
        message = {
            "token": self.token,
            "folder": str(self.folder),
            "readable": str(self.folder / "readable"),
            "writable": str(self.folder / "writable"),
            "owned": str(self.folder / "owned"),
            "clone": str(Path(__file__)),
            "home": str(Path.home()),
            "fixed": [f"{layout.trainer}/runtime.py", layout.source],
            "secrets": sorted(_secrets(self.token)),
            "decoy": self.decoy.pid,
            "tcp": self.tcp.getsockname()[1],
            "udp": self.udp.getsockname()[1],
            "unix": str(self.folder / "socket"),
            "abstract": f"nightlab-{self.token}",
        }
        channel.send(message, deadline, self.sealed)
        channel.send({}, deadline, self.pulse_inner)
        os.close(self.pulse_inner)
        self.pulse_inner = -1

    def judge(self, said: str) -> tuple[Escape, ...]:
        """What held, from the program's report and the state of the bait after its end."""
        line = next((line for line in said.splitlines() if line.startswith(MARK)), None)
        if line is None:
            raise SandboxUnavailable("the escapes that were tried in it gave no report")
        report: dict[str, list[object]] = json.loads(line.removeprefix(MARK))
        seen = self._seen()
        escapes = []
        for name, (held, detail) in report.items():
            if name in seen:
                unseen = detail if held else "nothing came of it"
                held, detail = seen[name] == "", seen[name] or unseen
            if held and name in self.unreached:
                detail = f"{detail} (nor could the engine: {self.unreached[name]})"
            escapes.append(Escape(name=name, held=bool(held), detail=str(detail)))
        return tuple(escapes)

    def _seen(self) -> dict[str, str]:
        """What only the host can know: what arrived, or an empty word where nothing did."""
        return {
            "connect to a TCP port": self._accepted(self.tcp),
            "connect to a socket file": self._accepted(self.unix),
            "connect to an abstract socket": self._accepted(self.abstract),
            "send a datagram": self._received(),
            "signal the engine": "a process of the engine's was ended" if self._fell() else "",
            "write outside": self._changed(),
            "outlive the job": "" if self._all_ended() else "a process is still there",
        }

    def _controls(self) -> dict[str, str]:
        """Reach everything from here: what cannot be reached at all proves nothing."""
        found = {}
        for name, reach in (
            ("read a file outside", self._read),
            ("read the engine's environment", self._read_environment),
            ("connect to a TCP port", self._connect),
            ("send a datagram", self._send),
            ("connect to a socket file", lambda: _connect(self.unix)),
            ("connect to an abstract socket", lambda: _connect(self.abstract)),
        ):
            try:
                reach()
            except OSError as error:
                found[name] = os.strerror(error.errno or 0)
        return found

    def _read(self) -> None:
        (self.folder / "readable").read_bytes()

    def _read_environment(self) -> None:
        Path(f"/proc/{self.decoy.pid}/environ").read_bytes()

    def _connect(self) -> None:
        _connect(self.tcp)

    def _send(self) -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as sender:
            sender.sendto(b"control", self.udp.getsockname())
        select.select([self.udp], [], [], END_SECONDS)
        self.udp.recv(64)

    @staticmethod
    def _accepted(listener: socket.socket) -> str:
        try:
            listener.accept()[0].close()
        except OSError:
            return ""
        return "the engine's listener was reached"

    def _received(self) -> str:
        try:
            return f"{len(self.udp.recv(64))} bytes arrived"
        except OSError:
            return ""

    def _fell(self) -> bool:
        try:
            return self.decoy.wait(0.05) == -signal.SIGTERM
        except subprocess.TimeoutExpired:
            return False

    def _changed(self) -> str:
        if (self.folder / "planted").exists():
            return "a file was made"
        same = (self.folder / "writable").read_text(encoding="utf-8") == self.token
        return "" if same else "a file was changed"

    def _all_ended(self) -> bool:
        ready, _, _ = select.select([self.pulse], [], [], END_SECONDS)
        return bool(ready)

    def _close(self) -> None:
        for descriptor in (self.sealed, self.pulse, self.pulse_inner):
            if descriptor >= 0:
                os.close(descriptor)


def _connect(listener: socket.socket) -> None:
    with socket.socket(listener.family) as connection:
        connection.settimeout(END_SECONDS)
        connection.connect(listener.getsockname())
        select.select([listener], [], [], END_SECONDS)
        listener.accept()[0].close()


def _secrets(token: str) -> set[str]:
    """Hashes of what no environment inside may hold: the bait, and the engine's own entries."""
    entries = {f"NIGHTLAB_BAIT={token}"}
    for name, value in os.environ.items():
        if name not in _ORDINARY and not name.startswith(_ORDINARY_STARTS):
            entries.add(f"{name}={value}")
    return {hashlib.sha256(os.fsencode(entry)).hexdigest() for entry in entries}


def _sealed_memory(data: bytes) -> int:
    descriptor = os.memfd_create("bait", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(descriptor, data)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
