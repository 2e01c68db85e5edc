"""The host of one training: the gate, the clock, the kill, and what is left afterwards.

Whatever the candidate does ends as a ``TrainingResult``. Only the machinery's own
failures are raised.
"""

from collections.abc import Callable
from pathlib import Path

from nightlab.records import CurvePoint, Frozen, Reason, TrainingResult
from nightlab.sandbox import Job, Sandbox, SandboxedProcess
from nightlab.sandbox.device import Device
from nightlab.sandbox.failure import Failure, classify_crash
from nightlab.sandbox.job import CHECKPOINT_MAX_BYTES
from nightlab.sandbox.protocol import (
    Channel,
    ContractBreach,
    Deadline,
    Message,
    PeerClosed,
    PeerLate,
    Ready,
    Saved,
    Step,
)
from nightlab.source.candidate import oversized
from nightlab.training.clock import (
    Clock,
    End,
    Seen,
    clock_of,
    end_margin_seconds,
    require_quiet,
    wall_cap_seconds,
)
from nightlab.training.curve import Curve
from nightlab.training.token_file import TokenFile

MIN_POINT_SECONDS = 0.1
"""Listeners are told of at most one point in this time, however fast reports come."""

ASK_SECONDS = 0.1
"""How often the host asks, while it waits for a message, whether the training's time is over."""

EXIT_SECONDS = 10.0
"""How long a candidate that closed its socket may take to end, at most."""


class TrainingOrder(Frozen):
    """What the host asks of one training.

    Seconds are of the study's clock (see ``clock.py``) where nothing else is said.
    """

    vocab_size: int
    sequence_length: int
    device: Device
    seed: int
    budget_seconds: float
    """Under a token budget the cap: a training that meets it has failed."""
    budget_tokens: int | None = None
    """Training tokens; None where seconds are the budget."""
    startup_seconds: float
    """Cap on start-up, on the wall clock."""
    startup_free_seconds: float | None = None
    """Start-up that is outside the budget; None for all of it."""
    rehearsal_seconds: float | None = None
    """When the batches end at the latest, whatever the budget counts: for a dry run."""
    grace_seconds: float = 0.0
    """How much longer than it says the host waits: for a dry run, whose end is to be seen."""
    compiles: bool = True
    """Whether torch.compile compiles; without, it gives back what it was given."""
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


def train_replicate(
    order: TrainingOrder,
    source: str,
    tokens: TokenFile,
    sandbox: Sandbox,
    checkpoint: Path,
    on_gate: Callable[[], None],
    on_point: Callable[[CurvePoint], None],
    stop_when: Callable[[Curve, int | None], str | None] | None = None,
) -> TrainingResult:
    """Train a candidate once.

    Args:
        order: sizes, seed and times.
        source: the text of the candidate's train.py.
        tokens: its training tokens, of no other training: the candidate gets them when the clock
            starts, and here they are closed then.
        sandbox: where it runs.
        checkpoint: where to put the weights if they are complete in time.
        on_gate: called when the clock starts.
        on_point: called with reported points, at most ten a second.
        stop_when: called after every report with the curve so far and the number of
            parameters, where it is known; a sentence that it returns ends the training, which
            is then ``pruned``.

    Raises:
        SandboxError: the sandbox broke; nothing is said about the candidate.
        MachineBusy: nor is it where other work kept the training from its processor time.
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
        compiles=order.compiles,
    )
    with (
        sandbox.start(job) as process,
        # Its start is the program's: the host's own set-up is over by then.
        Clock(clock_of(order.device), process) as clock,
    ):
        training = _Training(order, process, clock, on_point, stop_when)
        failure = training.start_up(Deadline.after(order.startup_seconds))
        if failure is None:
            failure = training.charge_start_up()
        if failure is None:
            on_gate()
            failure = training.train(tokens)
        clock.stop()
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
        clock: Clock,
        on_point: Callable[[CurvePoint], None],
        stop_when: Callable[[Curve, int | None], str | None] | None,
    ) -> None:
        self._order = order
        self._process = process
        self._channel: Channel = process.channel
        self._on_point = on_point
        self._stop_when = stop_when
        self._clock = clock
        self._startup_seconds: float | None = None
        self._charged_seconds = 0.0
        self._trained: Seen | None = None
        self._saved: Seen | None = None
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
            "budget_tokens": order.budget_tokens,
            "startup_seconds": order.startup_seconds,
            "checkpoint": self._process.layout.checkpoint,
        }
        try:
            self._channel.send(start, deadline)
            message = self._channel.receive(deadline)
        except PeerLate:
            self._require_quiet_start()
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

    def _require_quiet_start(self) -> None:
        if self._clock.kind == "processor":
            require_quiet("A start-up", self._order.startup_seconds, self._clock.seen)

    def charge_start_up(self) -> Failure | None:
        """Take start-up beyond its free part off the budget in seconds, or off the cap.

        Whatever runs in a sandbox can be read there, compiled or not, and learnt from. So time
        before the gate is no more free than honest starts need.
        """
        order, taken = self._order, self._clock.look().used_seconds
        self._startup_seconds = taken
        if order.startup_free_seconds is None:
            return None
        self._charged_seconds = max(0.0, taken - order.startup_free_seconds)
        if self._charged_seconds < order.budget_seconds:
            return None
        whole = "budget" if order.budget_tokens is None else "cap"
        return Failure(
            reason=Reason.STARTUP_TIMEOUT,
            message=f"Start-up took {taken:.0f} {self._clock.unit}; "
            f"{order.startup_free_seconds:g} are free, and the rest used up the whole {whole} of "
            f"{order.budget_seconds:g}.",
        )

    @property
    def _budget_seconds(self) -> float:
        return self._order.budget_seconds - self._charged_seconds

    def train(self, tokens: TokenFile) -> Failure | None:
        """Open the gate and follow the candidate until it ends or time is up."""
        budget = self._budget_seconds
        go = {
            "type": "go",
            "num_tokens": tokens.num_tokens,
            "clock": self._clock.kind,
            "budget_seconds": budget - end_margin_seconds(budget),
            "budget_tokens": self._order.budget_tokens,
            "rehearsal_seconds": self._order.rehearsal_seconds,
        }
        limit = budget + self._order.grace_seconds
        self._clock.allow(limit, wall_cap_seconds(limit))
        try:
            self._channel.send(go, Deadline.after(wall_cap_seconds(budget)), tokens.give())
            tokens.close()
            failure = self._follow()
        except PeerLate:
            failure = None if self._clock.is_over() else _untaken()
        except PeerClosed:
            failure = self._closed()
        except ContractBreach as breach:
            failure = _breach(breach)
        self._clock.stop()
        self._trained = self._clock.since_allowed
        # What was saved before the last look may be late all the same.
        if failure is None and self._clock.end is not None:
            return self._time_is_up(self._clock.end)
        return failure

    def _follow(self) -> Failure | None:
        """Take messages until one of them, or their lack, is the end."""
        while True:
            message = self._next_message()
            if isinstance(message, Step):
                self._take_step(message)
                end = self._overrun(message) or self._pruned()
                if end is not None:
                    return end
            elif isinstance(message, Saved):
                self._device_memory_mb = message.peak_memory_mb
                if message.final:
                    self._said_final = True
                    self._clock.stop()
                self._saved = self._clock.since_allowed
                if message.final:
                    return None
            else:
                return _breach(f"the candidate sent {message.type!r} after the gate")

    def _next_message(self) -> Message:
        """Wait for one.

        Raises:
            PeerLate: the training's time is over.
        """
        while not self._clock.is_over():
            try:
                return self._channel.receive(Deadline.after(ASK_SECONDS))
            except PeerLate:
                continue
        raise PeerLate("the training's time is over")

    def _closed(self) -> Failure | None:
        """The socket is closed: wait for the process's end, or its time's."""
        while self._exit_code is None and not self._clock.is_over():
            self._exit_code = self._process.wait(ASK_SECONDS)
        self._clock.stop()
        if self._clock.end is not None:
            # Killed by the clock, most likely: its exit code says nothing.
            self._exit_code = None
        return self._crash() if self._exit_code else None

    def _time_is_up(self, end: End) -> Failure | None:
        """Its time is over, to the clock; at a budget in seconds that is no failure."""
        end.require_own_fault()
        seen, unit = end.seen, self._clock.unit
        if seen.at == "wall cap":
            return Failure(
                reason=Reason.TIMEOUT,
                message=f"The candidate used {seen.used_seconds:.1f} of {end.limit_seconds:g} "
                f"{unit} in {seen.wall_seconds:.0f} s of wall clock: it slept or waited.",
            )
        if end.is_overrun:
            return Failure(
                reason=Reason.TIMEOUT,
                message=f"The candidate used {seen.used_seconds:.1f} {unit} of a budget of "
                f"{end.limit_seconds:g} before it could be ended.",
            )
        return self._cap_reached()

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
            message=f"No complete checkpoint after {self._budget_seconds:g} {self._clock.unit}: "
            f"{missing}.",
        )

    def result(self, failure: Failure | None) -> TrainingResult:
        """All that is known, as a record."""
        last = self._curve.last
        trained = self._saved or self._trained
        seconds = trained.used_seconds if trained is not None else None
        rate = last.tokens / seconds if last and last.tokens and seconds else None
        memory = self._process.peak_memory_mb
        if self._order.device.kind == "cuda":
            memory = self._device_memory_mb
        return TrainingResult(
            failure=failure.reason if failure else None,
            message=failure.message if failure else "",
            clock=self._clock.kind,
            startup_seconds=(
                self._clock.seen.used_seconds
                if self._startup_seconds is None
                else self._startup_seconds
            ),
            charged_seconds=self._charged_seconds,
            training_seconds=seconds,
            wall_seconds=trained.wall_seconds if trained is not None else None,
            num_steps=last.step if last else None,
            num_tokens=last.tokens if last else None,
            num_params=self._num_params,
            final_loss=last.loss if last else None,
            tokens_per_second=rate,
            peak_memory_mb=memory,
            other_work=self._process.other_work,
            mfu_percent=self._mfu_percent(rate),
            exit_code=self._exit_code,
            curve=self._curve.points(),
            loss_profile=self._curve.profile(),
            log=self._process.log,
        )

    def _take_step(self, step: Step) -> None:
        if step.num_params is not None:
            self._num_params = step.num_params
        if step.flops_per_token is not None:
            self._flops_per_token = step.flops_per_token
        seen = self._clock.since_allowed
        point = CurvePoint(
            seconds=seen.used_seconds,
            step=step.step,
            loss=step.loss,
            learning_rate=step.learning_rate,
            tokens=step.tokens,
        )
        self._curve.add(point, self._share_gone(point))
        if seen.wall_seconds - self._told >= MIN_POINT_SECONDS:
            self._told = seen.wall_seconds
            self._on_point(point)

    def _share_gone(self, point: CurvePoint) -> float:
        if self._order.budget_tokens is None:
            return point.seconds / self._budget_seconds
        return (point.tokens or 0) / self._order.budget_tokens

    def _pruned(self) -> Failure | None:
        if self._stop_when is None:
            return None
        why = self._stop_when(self._curve, self._num_params)
        return Failure(reason=Reason.PRUNED, message=why) if why is not None else None

    def _overrun(self, step: Step) -> Failure | None:
        budget = self._order.budget_tokens
        if budget is None or step.tokens <= budget:
            return None
        return _breach(f"the candidate reported {step.tokens:,} tokens of a budget of {budget:,}")

    def _cap_reached(self) -> Failure | None:
        """The clock's end of a token budget; where seconds are the budget, it is no failure.

        A checkpoint that stands then does not count: how far it came is the machine's doing.
        """
        budget, last = self._order.budget_tokens, self._curve.last
        if budget is None:
            return None
        reported = last.tokens or 0 if last is not None else 0
        return Failure(
            reason=Reason.TIMEOUT,
            message=f"The cap of {self._budget_seconds:g} {self._clock.unit} was reached before "
            f"the budget of {budget:,} tokens was used up: {reported:,} were reported.",
        )

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


def _untaken() -> Failure:
    text = "The candidate did not take its training tokens."
    return Failure(reason=Reason.TIMEOUT, message=text)


def _breach(breach: ContractBreach | str) -> Failure:
    text = str(breach)
    return Failure(reason=Reason.CONTRACT, message=f"{text[0].upper()}{text[1:]}.")
