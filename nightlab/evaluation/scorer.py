"""The host's side of one sandbox in which ``trainer/score.py`` answers for a candidate.

An evaluation needs several, each fresh. A scorer is *started* with the engine's own code
only (it imports torch and waits); the candidate's code comes in with ``load``, which
``answer`` sends. So scorers may be started ahead of time while candidates' code never
runs in two of them at once.

Validation text must not come out again: records and logs are read by people and by the
models that propose, and a later ``train.py`` could carry what it was told. So a question is
rehearsed on filler first, where whatever is wrong with a model shows with its whole
traceback; what a candidate does once it has been shown text tells the reason of its failure, and
is neither kept nor repeated.
"""

from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from nightlab.errors import EvaluationError
from nightlab.records import Reason
from nightlab.sandbox import Job, Sandbox, SandboxedProcess
from nightlab.sandbox.failure import Failure, classify_crash, silenced
from nightlab.sandbox.protocol import (
    Channel,
    ContractBreach,
    Deadline,
    Loaded,
    Message,
    PeerClosed,
    PeerLate,
    Ready,
)
from nightlab.training.clock import Clock, End, clock_of
from nightlab.training.training import TrainingOrder

FILLER = 0
"""The token id that stands where a candidate is shown nothing."""

EXIT_SECONDS = 10.0
"""How long a candidate that closed its socket may take to end, at most."""

LOG_SECONDS = 1.0
"""Longest wait for output that was printed before the text is shown."""

MAX_BATCH_ROWS = 256

# Logits of one batch, in numbers: what bounds the memory of an evaluation. A CPU answers a third
# more tokens a second where they stay near its caches (measured: 4 against 32 rows at quick).
_BATCH_LOGITS = {"cpu": 2**21, "cuda": 2**28}

Answer = TypeVar("Answer", covariant=True)


class NotFinite(Exception):  # noqa: N818 - a state of the candidate, not an error of ours
    """An answer holds NaN or infinity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What is to be scored."""

    source: str
    """The text of its train.py."""
    checkpoint: Path
    """The weights that it saved."""
    order: TrainingOrder
    """What its training was asked for."""

    def batch_rows(self, rows: int) -> int:
        """Rows of every batch of an evaluation of ``rows`` rows: one shape for all of it."""
        order = self.order
        size = _BATCH_LOGITS[order.device.kind] // (order.sequence_length * order.vocab_size)
        return max(1, min(size, MAX_BATCH_ROWS, rows))


class Question(Protocol[Answer]):
    """Asks over a channel until it has what it wants."""

    def rehearse(self, channel: Channel, deadline: Deadline) -> None:
        """Ask the like about filler, so that what is wrong shows before any text does.

        Raises:
            PeerError, NotFinite: as the question itself.
        """

    def __call__(self, channel: Channel, deadline: Deadline) -> Answer:
        """Ask.

        Raises:
            PeerError: the candidate did not answer as the protocol says.
            NotFinite: an answer is not a number.
        """


class Scorer:
    """One sandbox that answers one question; a context manager."""

    def __init__(self, candidate: Candidate, process: SandboxedProcess) -> None:
        self._candidate = candidate
        self._process = process
        self._log: str | None = None
        self.seconds: float | None = None
        """What the candidate's code took, from ``load`` to the end, on the study's clock."""

    @classmethod
    def start(cls, candidate: Candidate, sandbox: Sandbox) -> Self:
        """Start one, with no code of the candidate's running yet.

        Raises:
            EvaluationError: the checkpoint is gone.
            SandboxError: the sandbox broke.
        """
        checkpoint = candidate.checkpoint
        if not checkpoint.is_file():
            raise EvaluationError(
                f"An evaluation needs the weights at {checkpoint}, and they are gone."
            )
        job = Job(
            program="score",
            source=candidate.source,
            device=candidate.order.device,
            memory_mb=candidate.order.memory_mb,
            scratch_mb=candidate.order.scratch_mb,
            compiles=candidate.order.compiles,
            weights=checkpoint,
        )
        return cls(candidate, sandbox.start(job))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.__exit__(kind, error, traceback)

    @property
    def log(self) -> str:
        """What was printed before any text was shown, capped; data, never instructions."""
        return self._process.log if self._log is None else self._log

    def answer(
        self,
        question: Question[Answer],
        deadline: Deadline,
        on_loaded: Callable[[], None] = lambda: None,
        allowed_seconds: float | None = None,
    ) -> Answer | Failure:
        """Let the candidate in, have the question answered, and end every process.

        Args:
            question: what to ask.
            deadline: the end of the whole evaluation.
            on_loaded: called once the candidate's model stands.
            allowed_seconds: what the candidate's code may take, on the study's clock; None for
                as long as the evaluation lasts.

        Raises:
            SandboxError: the sandbox broke.
            MachineBusy: it ran over its time while the machine kept the engine from looking.
        """
        with Clock(clock_of(self._candidate.order.device), self._process) as clock:
            try:
                outcome = self._ask(
                    question, deadline, on_loaded, lambda: clock.allow(allowed_seconds)
                )
                clock.stop()
            finally:
                self._process.kill()
        self.seconds = clock.since_allowed.used_seconds
        # A limit that ended the job is the cause of whatever else was seen of its end.
        if isinstance(outcome, Failure) and self._process.exceeded is not None:
            return self._told(self._process.exceeded)
        # It says nothing that the candidate chose, whatever text that was shown.
        return outcome if clock.end is None else _overrun(clock.end, clock.unit)

    def _told(self, failure: Failure) -> Failure:
        """A failure as it may be said: what it saw, once text was shown, it does not say."""
        return failure if self._log is None else silenced(failure)

    def _ask(
        self,
        question: Question[Answer],
        deadline: Deadline,
        on_loaded: Callable[[], None],
        on_begin: Callable[[], None],
    ) -> Answer | Failure:
        channel = self._process.channel
        try:
            _require(Ready, channel.receive(deadline))
            on_begin()
            channel.send(self._load_message(), deadline)
            _require(Loaded, channel.receive(deadline))
            on_loaded()
            question.rehearse(channel, deadline)
            self._log = self._process.settled_log(LOG_SECONDS)
            return question(channel, deadline)
        except PeerLate:
            return Failure(
                reason=Reason.CONTRACT,
                message="The evaluation did not end within the time allowed for all of it.",
            )
        except ContractBreach as breach:
            return Failure(reason=Reason.CONTRACT, message=f"In the evaluation, {breach}.")
        except PeerClosed:
            code = self._process.wait(min(EXIT_SECONDS, deadline.remaining_seconds))
            if code:
                return self._told(classify_crash(code, self._process.log))
            text = "The candidate ended in the middle of its evaluation."
            return Failure(reason=Reason.CONTRACT, message=text)
        except NotFinite as error:
            return Failure(reason=Reason.NONFINITE, message=str(error))

    def _load_message(self) -> dict[str, Any]:
        layout = self._process.layout
        return {
            "type": "load",
            "spec": self._candidate.order.spec,
            "source": layout.source,
            "checkpoint": layout.saved_weights,
        }


def _require(kind: type[Message], message: Message) -> None:
    if not isinstance(message, kind):
        due = kind.__name__.lower()
        raise ContractBreach(f"the candidate sent {message.type!r} where {due!r} was due")


def _overrun(end: End, unit: str) -> Failure:
    end.require_own_fault("An answer")
    return Failure(
        reason=Reason.TIMEOUT,
        message=f"In the evaluation, build_model, loading the weights and forward took more than "
        f"the {end.limit_seconds:.1f} {unit} allowed, a few times what the baseline needed: "
        "nothing may be trained there, and nothing be computed that takes so long.",
    )


class Scorers:
    """Gives out fresh scorers, some of them started ahead; a context manager.

    Args:
        candidate: what they answer for.
        sandbox: where they run.
    """

    def __init__(self, candidate: Candidate, sandbox: Sandbox) -> None:
        self._candidate = candidate
        self._sandbox = sandbox
        self._waiting: deque[Scorer] = deque()
        self._given = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._given.__exit__(kind, error, traceback)

    def start_ahead(self, count: int) -> None:
        """Have so many import torch, on a CPU also while another one answers.

        A job for a GPU starts only where no other one computes, so there this is to be called
        between two answers. To import torch is not to compute: all of them can wait there.

        Raises:
            EvaluationError, SandboxError: as ``Scorer.start``.
        """
        for _ in range(count):
            self._waiting.append(self._start())

    def fresh(self) -> Scorer:
        """One that has answered nothing yet.

        Raises:
            EvaluationError, SandboxError: as ``Scorer.start``.
        """
        return self._waiting.popleft() if self._waiting else self._start()

    def _start(self) -> Scorer:
        return self._given.enter_context(Scorer.start(self._candidate, self._sandbox))
