"""The host's side of the socket to a candidate. The protocol is in trainer/runtime.py.

The candidate is hostile until shown otherwise: every wait has a deadline, every frame a
size that was fixed before it was read, every message a model that it must match.
Nothing that arrives can raise anything but the three exceptions below; what the machine has not
got, such as room for a message, is never the candidate's fault.
"""

import errno
import os
import resource
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from nightlab.errors import MachineBusy, SandboxError

MAX_FRAME_BYTES = 64 * 1024
_HEADER = struct.Struct(">I")
_CHUNK_BYTES = 1 << 20
_LIMIT = threading.Lock()
_USED_UP = frozenset({errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE})

Count = Annotated[int, Field(ge=0, le=2**53)]


class PeerError(Exception):
    """The candidate's side of the socket did not do what the protocol asks."""


class PeerClosed(PeerError):  # noqa: N818 - a state: what it means depends on the moment
    """The candidate's side is closed, as it is when the candidate has ended."""


class PeerLate(PeerError):  # noqa: N818
    """The deadline passed first."""


class ContractBreach(PeerError):  # noqa: N818
    """A frame that the protocol does not have.

    The message is a clause with no number or word of the candidate's: it may be quoted in a prompt,
    and the candidate may have been shown validation text.
    """


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False)


class Ready(_Message):
    """The candidate asked for its first batch."""

    type: Literal["ready"]


class Step(_Message):
    """One reported step; ``loss`` is None when it was not finite."""

    type: Literal["step"]
    step: Count
    loss: float | None
    tokens: Count
    learning_rate: float | None = None
    flops_per_token: float | None = Field(default=None, ge=0)
    num_params: Count | None = None


class Saved(_Message):
    """A complete checkpoint stands."""

    type: Literal["saved"]
    final: bool = False
    """Whether nothing more will come, so that the process need not be waited for."""
    peak_memory_mb: float | None = Field(default=None, ge=0)


class Loaded(_Message):
    """score.py has built the model and loaded the weights."""

    type: Literal["loaded"]
    num_params: Count | None = None


class Losses(_Message):
    """score.py's answer to ``rows``; a data frame follows."""

    type: Literal["losses"]
    rows: Count


class Logits(_Message):
    """score.py's answer to ``positions``; a data frame follows."""

    type: Literal["logits"]
    rows: Count


class Sampled(_Message):
    """sample.py's answer."""

    type: Literal["sampled"]
    tokens: tuple[Count, ...]


Message = Ready | Step | Saved | Loaded | Losses | Logits | Sampled

_MESSAGES: pydantic.TypeAdapter[Message] = pydantic.TypeAdapter(
    Annotated[Message, Field(discriminator="type")]
)


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the host's monotonic clock, in seconds."""

    moment: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """The moment that lies ``seconds`` ahead of now."""
        return cls(time.monotonic() + seconds)

    @property
    def remaining_seconds(self) -> float:
        """Seconds until then; negative once it has passed."""
        return self.moment - time.monotonic()

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self.remaining_seconds <= 0


class Channel:
    """The host's end of the socket pair; closes it at the end of a ``with`` block."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._selector = selectors.DefaultSelector()
        self._selector.register(connection, selectors.EVENT_READ)
        self._received = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close this end; the candidate sees the end of the stream."""
        self._selector.close()
        self._connection.close()

    def send(
        self, message: dict[str, Any], deadline: Deadline, descriptor: int | None = None
    ) -> None:
        """Send one JSON frame and, with its first byte, maybe a descriptor.

        Raises:
            PeerClosed: there is nobody to read it.
            PeerLate: the candidate does not read.
            MachineBusy: the machine has no room for it.
            SandboxError: the socket failed through no fault of the candidate's.
        """
        payload = pydantic.TypeAdapter(dict[str, Any]).dump_json(message)
        frame = _HEADER.pack(len(payload)) + payload
        if descriptor is not None:
            frame = frame[self._send_descriptor(frame, descriptor, deadline) :]
        self._send_bytes(frame, deadline)

    def send_data(self, data: bytes, deadline: Deadline) -> None:
        """Send one data frame. Raises as ``send`` does."""
        self._send_bytes(_HEADER.pack(len(data)) + data, deadline)

    def receive(self, deadline: Deadline) -> Message:
        """Wait for one message.

        Raises:
            PeerClosed: the stream ended.
            PeerLate: the deadline passed; what had arrived is kept for the next call.
            ContractBreach: the frame is too long or is not a message.
        """
        self._fill(_HEADER.size, deadline)
        (length,) = _HEADER.unpack_from(self._received)
        if length > MAX_FRAME_BYTES:
            raise ContractBreach(
                f"the candidate announced a frame of more than {MAX_FRAME_BYTES} bytes"
            )
        self._fill(_HEADER.size + length, deadline)
        payload = self._take(_HEADER.size + length)[_HEADER.size :]
        try:
            return _MESSAGES.validate_json(payload)
        except pydantic.ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            # Its kind alone: pydantic's words would quote the candidate's own.
            said = first["type"].replace("_", " ")
            raise ContractBreach(
                f"the candidate sent a frame that is no message of the protocol ({said})"
            ) from error

    def receive_data(self, length: int, deadline: Deadline) -> bytes:
        """Wait for one data frame of exactly ``length`` bytes. Raises as ``receive`` does."""
        self._fill(_HEADER.size, deadline)
        (announced,) = _HEADER.unpack_from(self._received)
        if announced != length:
            raise ContractBreach(
                f"the candidate announced a wrong number of bytes of data where {length} were due"
            )
        self._fill(_HEADER.size + length, deadline)
        return self._take(_HEADER.size + length)[_HEADER.size :]

    def _fill(self, count: int, deadline: Deadline) -> None:
        while len(self._received) < count:
            self._wait(selectors.EVENT_READ, deadline)
            try:
                # Never more than asked for, so that a flood waits in the socket and
                # fills its sender's time, not the host's memory.
                with _fault_found():
                    chunk = self._connection.recv(min(count - len(self._received), _CHUNK_BYTES))
            except BlockingIOError:
                continue
            if not chunk:
                raise PeerClosed("the candidate closed its socket")
            self._received += chunk

    def _take(self, count: int) -> bytes:
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken

    def _send_descriptor(self, frame: bytes, descriptor: int, deadline: Deadline) -> int:
        while True:
            self._wait(selectors.EVENT_WRITE, deadline)
            try:
                with _fault_found(), _own_limit_lifted():
                    return socket.send_fds(self._connection, [frame], [descriptor])
            except BlockingIOError:
                continue

    def _send_bytes(self, data: bytes, deadline: Deadline) -> None:
        view = memoryview(data)
        while view:
            self._wait(selectors.EVENT_WRITE, deadline)
            try:
                with _fault_found():
                    sent = self._connection.send(view[:_CHUNK_BYTES])
            except BlockingIOError:
                continue
            view = view[sent:]

    def _wait(self, event: int, deadline: Deadline) -> None:
        self._selector.modify(self._connection, event)
        if deadline.passed or not self._selector.select(deadline.remaining_seconds):
            raise PeerLate("the candidate let its deadline pass")


@contextmanager
def _fault_found() -> Iterator[None]:
    """Tell the candidate's doing from the machine's: it can close its end, and nothing else."""
    try:
        yield
    except BlockingIOError:
        raise
    except (BrokenPipeError, ConnectionResetError) as error:
        raise PeerClosed("the candidate closed its socket") from error
    except OSError as error:
        raise (MachineBusy if error.errno in _USED_UP else SandboxError)(
            f"A message to or from a sandbox failed ({error}): other work on this machine, or of "
            "this user, holds what it takes; end that, and it is tried again."
        ) from error


@contextmanager
def _own_limit_lifted() -> Iterator[None]:
    """Let as many descriptors be under way to readers as this process may have at all.

    They are counted for the user, whose own jobs may have some thousands under way, and compared
    with the sender's limit on open files, which is often 1024.
    """
    with _LIMIT:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@dataclass(frozen=True, slots=True)
class Pair:
    """A fresh socket pair: the host's channel, and the candidate's descriptor."""

    channel: Channel
    candidate: int

    @classmethod
    def open(cls) -> "Pair":
        """Make one. The caller closes ``candidate`` once the candidate has inherited it."""
        host, candidate = socket.socketpair()
        return cls(channel=Channel(host), candidate=candidate.detach())

    def close_candidate(self) -> None:
        """Close the host's copy of the candidate's end."""
        os.close(self.candidate)
