"""The host of one training: the gate, the clock, the kill, and what is left afterwards.

Whatever the candidate does ends as a ``TrainingResult``. Only the machinery's own
failures are raised.
"""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from nightlab.candidate import oversized
from nightlab.device import Device
from nightlab.errors import CorpusError
from nightlab.protocol import (
    Channel,
    ContractBreach,
    Deadline,
    PeerClosed,
    PeerLate,
    Ready,
    Saved,
    Step,
)
from nightlab.records import CurvePoint, Frozen, Reason, TrainingResult
from nightlab.sandbox import Job, Sandbox, SandboxedProcess
from nightlab.sandbox.failure import Failure, classify_crash
from nightlab.sandbox.job import CHECKPOINT_MAX_BYTES

CURVE_POINTS = 200
MIN_POINT_SECONDS = 0.1
"""Listeners are told of at most one point in this time, however fast reports come."""

EXIT_SECONDS = 10.0
"""How long a candidate that closed its socket may take to end, at most."""


class TokenFile:
    """The training tokens in a sealed memory file, made once and passed to every training.

    The seals are the kernel's: no process can write, grow or shrink the file, nor take
    the seals off, whoever owns it. (A read-only descriptor of a plain file would not do:
    its owner can open it anew for writing through /proc.)
    """

    def __init__(self, descriptor: int, num_tokens: int) -> None:
        self._descriptor = descriptor
        self.num_tokens = num_tokens

    @classmethod
    def from_path(cls, path: Path) -> "TokenFile":
        """Copy a file of uint16 tokens into memory and seal it.

        Raises:
            CorpusError: the file is missing, empty or of odd length.
        """
        descriptor = os.memfd_create("tokens", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with path.open("rb") as file:
                while os.sendfile(descriptor, file.fileno(), None, 1 << 30):
                    pass
        except OSError as error:
            os.close(descriptor)
            raise CorpusError(
                f"Training needs the tokens in {path}, and reading them failed ({error}): prepare "
                "the corpus again."
            ) from error
        size = os.fstat(descriptor).st_size
        if size == 0 or size % 2:
            os.close(descriptor)
            raise CorpusError(
                f"Training needs 16-bit tokens in {path}, and the file has {size} bytes: prepare "
                "the corpus again."
            )
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        return cls(descriptor, size // 2)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """The descriptor to pass on."""
        return self._descriptor

    def close(self) -> None:
        """Let the memory go; trainings that have it keep it."""
        os.close(self._descriptor)


class TrainingOrder(Frozen):
    """What the host asks of one training."""

    vocab_size: int
    sequence_length: int
    device: Device
    seed: int
    budget_seconds: float
    startup_seconds: float
    """Cap on start-up."""
    startup_free_seconds: float | None = None
    """Start-up that is outside the budget; None for all of it."""
    memory_mb: int = 0
    """Limit on the memory of all processes together; 0 for none."""
    scratch_mb: int = CHECKPOINT_MAX_BYTES // 2**20
    """Limit on the disk space of the work folder."""

    @property
    def spec(self) -> dict[str, int | str]:
        """The ``Spec`` of trainer/runtime.py, as JSON."""
        return {
            "vocab_size": self.vocab_size,
            "sequence_length": self.sequence_length,
            "device": self.device.kind,
        }


class Curve:
    """The reported steps, thinned while they come to at most ``CURVE_POINTS``."""

    def __init__(self) -> None:
        self._points: list[CurvePoint] = []
        self._stride = 1
        self._count = 0
        self.last: CurvePoint | None = None

    def add(self, point: CurvePoint) -> None:
        """Take in the next point; every ``stride``-th is kept."""
        self.last = point
        if self._count % self._stride == 0:
            self._points.append(point)
        self._count += 1
        if len(self._points) >= CURVE_POINTS:
            self._points = self._points[::2]
            self._stride *= 2

    def points(self) -> tuple[CurvePoint, ...]:
        """What was kept, always with the last point."""
        kept = tuple(self._points)
        return kept if self.last is None or kept[-1] is self.last else (*kept, self.last)


def train_replicate(
    order: TrainingOrder,
    source: str,
    tokens: TokenFile,
    sandbox: Sandbox,
    checkpoint: Path,
    on_gate: Callable[[], None],
    on_point: Callable[[CurvePoint], None],
) -> TrainingResult:
    """Train a candidate once.

    Args:
        order: sizes, seed and times.
        source: the text of the candidate's train.py.
        tokens: the training tokens; the candidate gets them when the clock starts.
        sandbox: where it runs.
        checkpoint: where to put the weights if they are complete in time.
        on_gate: called when the clock starts.
        on_point: called with reported points, at most ten a second.

    Raises:
        SandboxError: the sandbox broke; nothing is said about the candidate.
    """
    too_long = oversized(source)
    if too_long is not None:
        return TrainingResult(failure=Reason.CONTRACT, message=too_long)
    job = Job(
        program="train",
        source=source,
        device=order.device,
        memory_mb=order.memory_mb,
        scratch_mb=order.scratch_mb,
    )
    began = time.monotonic()
    with sandbox.start(job) as process:
        training = _Training(order, process, began, on_point)
        failure = training.start_up(Deadline(began + order.startup_seconds))
        if failure is None:
            failure = training.charge_start_up()
        if failure is None:
            on_gate()
            failure = training.train(tokens)
        process.kill()
        # A limit that ended the job is the cause of whatever else was seen of its end.
        failure = process.exceeded or failure
        if failure is None:
            failure = training.collect(checkpoint)
        return training.result(failure)


class _Training:
    """One training under way: what is known of it so far."""

    def __init__(
        self,
        order: TrainingOrder,
        process: SandboxedProcess,
        began: float,
        on_point: Callable[[CurvePoint], None],
    ) -> None:
        self._order = order
        self._process = process
        self._channel: Channel = process.channel
        self._on_point = on_point
        self._began = began
        self._charged_seconds = 0.0
        self._gate: float | None = None
        self._ended: float | None = None
        self._saved: float | None = None
        self._said_final = False
        self._told = float("-inf")
        self._curve = Curve()
        self._exit_code: int | None = None
        self._num_params: int | None = None
        self._flops_per_token: float | None = None
        self._device_memory_mb: float | None = None

    def start_up(self, deadline: Deadline) -> Failure | None:
        """Wait until the candidate asks for its first batch."""
        order = self._order
        start = {
            "type": "start",
            "spec": order.spec,
            "seed": order.seed,
            "budget_seconds": order.budget_seconds,
            "startup_seconds": order.startup_seconds,
            "checkpoint": self._process.layout.checkpoint,
        }
        try:
            self._channel.send(start, deadline)
            message = self._channel.receive(deadline)
        except PeerLate:
            return Failure(
                reason=Reason.STARTUP_TIMEOUT,
                message="The candidate did not ask for its first batch within "
                f"{order.startup_seconds:g} seconds.",
            )
        except PeerClosed:
            return self._ended_early(deadline, "without asking for its first batch")
        except ContractBreach as breach:
            return _breach(breach)
        if not isinstance(message, Ready):
            return _breach(f"the candidate sent {message.type!r} before it asked for a batch")
        return None

    def charge_start_up(self) -> Failure | None:
        """Take start-up beyond its free part off the budget.

        Whatever runs in a sandbox can be read there, compiled or not, and learnt from. So time
        before the gate is no more free than honest starts need.
        """
        order, taken = self._order, time.monotonic() - self._began
        if order.startup_free_seconds is None:
            return None
        self._charged_seconds = max(0.0, taken - order.startup_free_seconds)
        if self._charged_seconds < order.budget_seconds:
            return None
        return Failure(
            reason=Reason.STARTUP_TIMEOUT,
            message=f"Start-up took {taken:.0f} seconds; {order.startup_free_seconds:g} are free, "
            f"and the rest used up the whole budget of {order.budget_seconds:g}.",
        )

    @property
    def _budget_seconds(self) -> float:
        return self._order.budget_seconds - self._charged_seconds

    def train(self, tokens: TokenFile) -> Failure | None:
        """Open the gate and follow the candidate until it ends or time is up."""
        self._gate = time.monotonic()
        budget = self._budget_seconds
        deadline = Deadline(self._gate + budget)
        go = {"type": "go", "num_tokens": tokens.num_tokens, "budget_seconds": budget}
        try:
            self._channel.send(go, deadline, tokens.fileno())
            while True:
                message = self._channel.receive(deadline)
                if isinstance(message, Step):
                    self._take_step(message)
                elif isinstance(message, Saved):
                    self._saved = time.monotonic()
                    self._device_memory_mb = message.peak_memory_mb
                    if message.final:
                        self._said_final = True
                        return None
                else:
                    return _breach(f"the candidate sent {message.type!r} after the gate")
        except PeerLate:
            return None
        except PeerClosed:
            self._exit_code = self._process.wait(deadline.remaining_seconds)
            return self._crash() if self._exit_code else None
        except ContractBreach as breach:
            return _breach(breach)
        finally:
            self._ended = time.monotonic()

    def collect(self, checkpoint: Path) -> Failure | None:
        """Take the weights; a checkpoint that is complete counts, however the end came."""
        missing = self._process.folder.take_checkpoint(checkpoint)
        if missing is None:
            return None
        if self._said_final or self._exit_code == 0:
            how = "said that its weights were saved" if self._said_final else "ended"
            return Failure(
                reason=Reason.CONTRACT,
                message=f"The candidate {how} without saving its weights: {missing}.",
            )
        return Failure(
            reason=Reason.TIMEOUT,
            message=f"No complete checkpoint after {self._budget_seconds:g} seconds: {missing}.",
        )

    def result(self, failure: Failure | None) -> TrainingResult:
        """All that is known, as a record."""
        last = self._curve.last
        seconds = self._training_seconds()
        rate = last.tokens / seconds if last and last.tokens and seconds else None
        memory = self._process.peak_memory_mb
        if self._order.device.kind == "cuda":
            memory = self._device_memory_mb
        return TrainingResult(
            failure=failure.reason if failure else None,
            message=failure.message if failure else "",
            startup_seconds=(self._gate or time.monotonic()) - self._began,
            charged_seconds=self._charged_seconds,
            training_seconds=seconds,
            num_steps=last.step if last else None,
            num_tokens=last.tokens if last else None,
            num_params=self._num_params,
            final_loss=last.loss if last else None,
            tokens_per_second=rate,
            peak_memory_mb=memory,
            mfu_percent=self._mfu_percent(rate),
            exit_code=self._exit_code,
            curve=self._curve.points(),
            log=self._process.log,
        )

    def _take_step(self, step: Step) -> None:
        if step.num_params is not None:
            self._num_params = step.num_params
        if step.flops_per_token is not None:
            self._flops_per_token = step.flops_per_token
        now = time.monotonic()
        point = CurvePoint(
            seconds=now - (self._gate or now),
            step=step.step,
            loss=step.loss,
            learning_rate=step.learning_rate,
            tokens=step.tokens,
        )
        self._curve.add(point)
        if now - self._told >= MIN_POINT_SECONDS:
            self._told = now
            self._on_point(point)

    def _training_seconds(self) -> float | None:
        end = self._saved or self._ended
        return end - self._gate if end is not None and self._gate is not None else None

    def _mfu_percent(self, tokens_per_second: float | None) -> float | None:
        peak = self._order.device.peak_flops
        if peak is None or self._flops_per_token is None or tokens_per_second is None:
            return None
        return 100 * self._flops_per_token * tokens_per_second / peak

    def _ended_early(self, deadline: Deadline, how: str) -> Failure:
        self._exit_code = self._process.wait(min(EXIT_SECONDS, deadline.remaining_seconds))
        if self._exit_code:
            return self._crash()
        return Failure(reason=Reason.CONTRACT, message=f"The candidate ended {how}.")

    def _crash(self) -> Failure:
        return classify_crash(self._exit_code or 0, self._process.log)


def _breach(breach: ContractBreach | str) -> Failure:
    text = str(breach)
    return Failure(reason=Reason.CONTRACT, message=f"{text[0].upper()}{text[1:]}.")
