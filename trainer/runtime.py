"""The trainer's side of the wall: the data, the clock and the checkpoint of one training.

``train.py`` uses it as ``import runtime``; it needs torch and numpy only. It is mounted
from the engine's own tree, never from a candidate's commit.

By hand, for debugging, without an engine and without a sandbox::

    python trainer/runtime.py --corpus FOLDER --seconds 20 trainer/train.py

runs ``train.py`` in this one process on the text that ``--seed`` draws from
``FOLDER/train.bin`` (the folder of a prepared corpus), as the engine would draw it, prints its
progress and saves ``checkpoint.pt``. On a CPU the seconds are the process's own processor seconds.

Where ``NIGHTLAB_COMPILES`` is 0, as in a dry run, torch.compile gives back what it is given
from the moment that this module is imported.

The protocol
------------
One inherited AF_UNIX stream socket; its descriptor's number stands in ``NIGHTLAB_SOCKET``.
A frame is a 4-byte big-endian length, then that many bytes: UTF-8 JSON, one object with
a ``type``, at most 64 KiB. NaN and infinity are not JSON. A *data frame* has the same
length before raw bytes; the frame before it fixes how many they must be. Both sides
ignore fields that they do not know. Training:

    host                          candidate
    start                  ──>                 at once
                           <──    ready        it asked for its first batch
    go + descriptor        ──>                 the clock starts; a sealed memory file
                           <──    step         any number of times
                           <──    saved        checkpoint.pt is complete

    start  spec {vocab_size, sequence_length, device}, seed, budget_seconds,
           budget_tokens (null where the study counts seconds), startup_seconds (longest
           wait for ready), checkpoint (path to save to)
    ready  nothing else
    go     num_tokens, clock ("processor" or "wall", the default: what seconds are),
           budget_seconds (what a long start-up has left of it, less the host's own margin for
           the end), budget_tokens, rehearsal_seconds (null but in a dry run: the batches end
           then at the latest); with the frame's first byte comes, by SCM_RIGHTS, one descriptor
           of a file of exactly num_tokens little-endian uint16 training tokens: rows of
           sequence_length + 1, in the order in which they are to be seen
    step   step, loss (number or null), tokens (so far), and maybe learning_rate,
           flops_per_token, num_params
    saved  final (true once the batches have come to their end: the host need not wait
           for the process to end), and on a GPU peak_memory_mb

Where the clock is "processor", as on a CPU, a second is one that any process of the candidate
computed for, on any processor, children among them, as the kernel tells the host. Time from ``go``
on counts, and the host kills the tree at the budget, whatever this side believes; its wall clock
only has a cap of a few times the budget, at which a candidate that slept has failed. Where the
clock is "wall", the host kills when so much time has passed.

With budget_tokens the batches end once they have given out that many tokens, whatever the
time; budget_seconds is then the cap at which the host kills, and a training that meets it
failed. No step may report more tokens than the budget has.

Evaluation, with ``score.py`` as the candidate's side, in three sandboxes one after the
other: the first is asked for rows, the other two for positions:

                      <──  ready   nothing of the candidate's has run yet
    load              ──>          spec, source (path of train.py), checkpoint (path)
                      <──  loaded  num_params
    rows + data       ──>          rows B, length T; data: uint16 [B, T + 1]
                      <──  losses + data   rows B; data: float32 [B, T], nats
    positions + data  ──>          rows B, length T, positions (B numbers below T);
                                   data: uint16 [B, T], filler after each row's position
                      <──  logits + data   rows B; data: float32 [B, vocab_size], each
                                   row's in its position
    (repeated; the host kills the tree when it has all it wants)

B and T are the same throughout an evaluation. Before ``load`` no candidate's code runs, and from
there to the end the host counts, on the study's clock, a time that is a small multiple of what
the study's baseline took. A checkpoint is tensors, and but for a small margin no more than they.

A model that is kept, with ``weights.py`` and then ``sample.py`` as the other side, one job each:

    convert           ──>          checkpoint (path), weights (path to write safetensors to)
                      <──  saved   final
    sample            ──>          spec, source and weights (paths), tokens (numbers), length,
                                   temperature, seed, end (the token that ends a text)
                      <──  sampled tokens (numbers)

Whatever else the candidate's side sends, or sends late, is a breach of contract: the
host notes it and kills the tree. Nothing that it sends is ever trusted: reports inform
the picture. Losses are claims; the score is computed by the host, from the claims and
from what the logits in secret positions say of them.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import math
import mmap
import os
import runpy
import socket
import struct
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

try:
    import numpy as np
except ModuleNotFoundError:  # beside a model that was exported, which is built and not trained
    np = None  # type: ignore[assignment]

SOCKET_VARIABLE = "NIGHTLAB_SOCKET"
COMPILES_VARIABLE = "NIGHTLAB_COMPILES"
MAX_FRAME_BYTES = 64 * 1024

# What the iterator leaves for saving: the rehearsal's time with room for a busy disk, whose delays
# no processor's time has in it; and the step that is under way when time runs out. That rests on
# the median of recent steps: one that stalled says nothing of the next.
SAVE_TIME_FACTOR = 3.0
MIN_SAVE_SECONDS = {"processor": 0.2, "wall": 0.5}
STEP_TIME_FACTOR = {"cpu": 1.25, "cuda": 2.0}  # a GPU has one step at work and one in hand
RECENT_STEPS = 32

_TORCH_COMPILE = torch.compile

Batch = tuple[torch.Tensor, torch.Tensor]


def _without_compiling(model: Any = None, *, backend: Any = None, **options: Any) -> Any:
    """Stand in for torch.compile where nothing is to be compiled: give back what came in.

    Torch's own switch (TORCH_COMPILE_DISABLE) refuses whatever asks for ``fullgraph``. A backend
    that is a function is the caller's own and stays: FlexAttention has itself traced by one
    when it runs without a compiler.
    """
    if callable(backend):
        return _TORCH_COMPILE(model, backend=backend, **options)
    if model is None:
        return _without_compiling  # the decorator with arguments
    if isinstance(model, torch.nn.Module):
        # Where a compiled module keeps the original. A plain attribute, or the model would be
        # a part of itself.
        object.__setattr__(model, "_orig_mod", model)
    return model


def _keep_compiler_out() -> None:
    """Have torch's optimisers not import its compiler, which they do to tell it to keep off.

    That is half of a short training's start-up: 1.1 of 2.4 processor seconds.
    """
    for function in vars(torch.optim.Optimizer).values():
        plain = getattr(function, "__wrapped__", None)
        if plain is not None:
            # Where torch._disable_dynamo keeps what the compiler made of the function.
            setattr(plain, "__dynamo_disable", plain)
    for kind in torch.optim.Optimizer.__subclasses__():
        step: Any = vars(kind).get("step")
        code = getattr(step, "__code__", None)
        if code is not None and code.co_name == "_use_grad":
            kind.step = _without_graph_breaks(step.__wrapped__)  # type: ignore[method-assign]


def _without_graph_breaks(step: Any) -> Any:
    """What torch makes of an optimiser's step, but for its words to the compiler."""

    @functools.wraps(step)
    def with_gradients_as_asked(self: torch.optim.Optimizer, *given: Any, **named: Any) -> Any:
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step(self, *given, **named)

    return with_gradients_as_asked


# Here and not in ``connect``: functions of train.py may be decorated as soon as it is imported.
if os.environ.get(COMPILES_VARIABLE) == "0":
    torch.compile = _without_compiling
    _keep_compiler_out()


@dataclass(frozen=True)
class Spec:
    """What the host fixes about a model."""

    vocab_size: int
    sequence_length: int
    """Longest input, in tokens."""
    device: str
    """``cpu`` or ``cuda``."""


class Frames:
    """Frames over a stream socket, for a side that trusts the other one."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, message: dict[str, Any], descriptor: int | None = None) -> None:
        """Send one JSON frame, and with its first byte a descriptor."""
        payload = json.dumps(message, allow_nan=False).encode()
        frame = struct.pack(">I", len(payload)) + payload
        if descriptor is not None:
            sent = socket.send_fds(self._connection, [frame], [descriptor])
            frame = frame[sent:]
        self._connection.sendall(frame)

    def send_data(self, data: bytes) -> None:
        """Send one data frame."""
        self._connection.sendall(struct.pack(">I", len(data)))
        self._connection.sendall(data)

    def receive(self) -> tuple[dict[str, Any], int | None]:
        """Wait for one JSON frame, and the descriptor that came with it if one did.

        Raises:
            EOFError: the other side closed the socket.
        """
        header, descriptors, _, _ = socket.recv_fds(self._connection, 4, 1)
        if not header:
            raise EOFError("the host closed the socket")
        header += self._exactly(4 - len(header))
        payload = self._exactly(struct.unpack(">I", header)[0])
        return json.loads(payload), (descriptors[0] if descriptors else None)

    def receive_data(self) -> bytes:
        """Wait for one data frame."""
        return self._exactly(struct.unpack(">I", self._exactly(4))[0])

    def _exactly(self, count: int) -> bytes:
        received = bytearray()
        while len(received) < count:
            chunk = self._connection.recv(min(count - len(received), 1 << 20))
            if not chunk:
                raise EOFError("the socket was closed in the middle of a frame")
            received += chunk
        return bytes(received)


def processor_seconds() -> float:
    """What this process has used, all its threads and the children that it waited for."""
    spent = os.times()
    return time.process_time() + spent.children_user + spent.children_system


CLOCKS = {"wall": time.monotonic, "processor": processor_seconds}


class TokenWindows:
    """Rows of a training's own text, gathered on a device.

    The host drew the text and its order: windows of ``sequence_length + 1`` tokens. They are given
    out as they stand; whoever comes to the end sees them again, each time in another order. Shorter
    rows are cut from the windows, in their order; longer ones are consecutive tokens of the file,
    across windows that have nothing to do with each other.
    """

    def __init__(
        self, tokens: np.ndarray, sequence_length: int, device: torch.device, seed: int
    ) -> None:
        self._device = device
        self._random = np.random.default_rng(seed)
        self._num_tokens = len(tokens)
        self._window = sequence_length + 1
        # Torch can hardly index uint16, so the same bits travel as int16, masked later.
        self._bits = torch.from_numpy(tokens.view(np.int16))
        self._pin = False
        if device.type == "cuda":
            free_bytes, _ = torch.cuda.mem_get_info(device)
            if tokens.nbytes < free_bytes // 4:
                self._bits = self._bits.to(device)
            else:
                self._pin = True

    def batches(self, batch_size: int, sequence_length: int) -> Iterator[Batch]:
        """Yield (inputs, targets) without end: int64 [batch, time] on the device."""
        starts = self._starts(sequence_length)
        if len(starts) == 0:
            raise ValueError(
                f"a row of length {sequence_length} needs {sequence_length + 1} training tokens, "
                f"and this training has {self._num_tokens}"
            )
        steps = torch.arange(sequence_length + 1, device=self._bits.device)
        epoch = starts
        while True:
            while len(epoch) < batch_size:
                epoch = np.concatenate([epoch, self._random.permutation(starts)])
            now, epoch = epoch[:batch_size], epoch[batch_size:]
            first = torch.from_numpy(now)
            if self._bits.is_cuda:
                # From pageable memory the copy would wait until the GPU is done with its work.
                # Torch reuses pinned memory only once the copies from it are over.
                first = first.pin_memory().to(self._bits.device, non_blocking=True)
            rows = self._bits[first[:, None] + steps].long() & 0xFFFF
            if self._pin:
                rows = rows.pin_memory().to(self._device, non_blocking=True)
            yield rows[:, :-1].contiguous(), rows[:, 1:].contiguous()

    def _starts(self, sequence_length: int) -> np.ndarray:
        """Where rows begin in the file, in its order."""
        if sequence_length >= self._window:
            count = max(0, (self._num_tokens - 1) // sequence_length)
            return sequence_length * np.arange(count)
        windows = np.arange(self._num_tokens // self._window)
        cuts = np.arange((self._window - 1) // sequence_length)
        return (self._window * windows[:, None] + sequence_length * cuts).reshape(-1)


class Run:
    """One training: what ``connect`` returns."""

    def __init__(self, frames: Frames, start: dict[str, Any]) -> None:
        self.spec = Spec(**start["spec"])
        self.seed: int = start["seed"]
        self.budget_seconds: float = start["budget_seconds"]
        self.budget_tokens: int | None = start.get("budget_tokens")
        self._checkpoint = Path(start["checkpoint"])
        self._frames = frames
        self._clock = "wall"
        self._save_seconds = dict(MIN_SAVE_SECONDS)
        self._recent_steps: deque[float] = deque(maxlen=RECENT_STEPS)
        self._reported: tuple[int, float] | None = None
        self._started: float | None = None
        self._exhausted = False
        self._rehearsal_seconds: float | None = None
        self._tokens_given = 0
        self._warm_up = torch.Generator().manual_seed(self.seed)

    def synthetic_batch(self, batch_size: int, sequence_length: int | None = None) -> Batch:
        """Random tokens for warm-up and compilation before the gate.

        Returns:
            (inputs, targets), int64 [batch_size, sequence_length] on the device.
        """
        shape = (batch_size, (sequence_length or self.spec.sequence_length) + 1)
        rows = torch.randint(self.spec.vocab_size, shape, generator=self._warm_up)
        rows = rows.to(self.spec.device)
        return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()

    def rehearse_save(self, model: torch.nn.Module) -> None:
        """Time a save before the gate, so that the batches can end in time for the real one."""
        scratch = self._checkpoint.with_name(self._checkpoint.name + ".rehearsal")
        begun = {name: clock() for name, clock in CLOCKS.items()}
        torch.save(_plain_state(model), scratch)
        for name, clock in CLOCKS.items():  # which of them counts is told at the gate
            seconds = clock() - begun[name]
            self._save_seconds[name] = max(MIN_SAVE_SECONDS[name], SAVE_TIME_FACTOR * seconds)
        scratch.unlink()

    def batches(self, batch_size: int, sequence_length: int | None = None) -> Iterator[Batch]:
        """Training batches until the budget is used up: tokens, or seconds less those to save.

        Under a token budget every batch is whole: what is left and fills none is not given
        out, so that a batch size always trains on the same number of tokens.

        The first one passes the gate: it tells the host that start-up is over and waits
        for the clock to start and for the tokens. Targets are the inputs shifted by one.

        Yields:
            (inputs, targets), int64 [batch_size, sequence_length] on the device.

        Raises:
            ValueError: the token budget does not hold one such batch.
        """
        length = sequence_length or self.spec.sequence_length
        if self.budget_tokens is not None and batch_size * length > self.budget_tokens:
            raise ValueError(
                f"a batch has {batch_size} x {length} = {batch_size * length} tokens, and the "
                f"whole budget is {self.budget_tokens}: make the batch smaller"
            )
        tokens = self._pass_gate()
        windows = TokenWindows(
            tokens, self.spec.sequence_length, torch.device(self.spec.device), self.seed
        )
        recent: deque[float] = deque(maxlen=RECENT_STEPS)
        previous = self._now()
        for batch in windows.batches(batch_size, length):
            self._tokens_given += batch_size * length
            yield batch
            if self.budget_tokens is not None:
                self._exhausted = self._tokens_given + batch_size * length > self.budget_tokens
            else:
                now = self._now()
                recent.append(now - previous)
                previous = now
                # A GPU takes the batches of one step at once and works on them for longer: what
                # the reports of whole steps say counts too.
                step = max(median(recent), median(self._recent_steps or (0.0,)))
                likely_end = now + STEP_TIME_FACTOR[self.spec.device] * step
                self._exhausted = likely_end > self._last_moment()
            self._exhausted = self._exhausted or self._is_rehearsed()
            if self._exhausted:
                return

    @property
    def fraction(self) -> float:
        """Share of the budget that is gone, 0 (also before the gate) to 1.

        Seconds are counted without those kept for saving, so that a schedule that ends at
        1 comes to its end. Tokens count from when they are given out.
        """
        if self._started is None:
            return 0.0
        if self.budget_tokens is not None:
            return min(1.0, self._tokens_given / self.budget_tokens)
        whole = self._last_moment() - self._started
        return min(1.0, (self._now() - self._started) / max(whole, 1e-9))

    def report(
        self,
        step: int,
        loss: float,
        tokens: int,
        learning_rate: float | None = None,
        flops_per_token: float | None = None,
        num_params: int | None = None,
    ) -> None:
        """Stream one step to the host.

        Args:
            step: steps done so far.
            loss: mean training loss, in nats per token.
            tokens: training tokens seen so far.
            learning_rate: any one rate that tells the schedule.
            flops_per_token: floating-point operations of training on one token.
            num_params: the model's parameters.

        Raises:
            FloatingPointError: the loss is not finite; training on is pointless.
        """
        self._note_step(step)
        finite = math.isfinite(loss)
        optional = {
            "learning_rate": learning_rate,
            "flops_per_token": flops_per_token,
            "num_params": num_params,
        }
        self._frames.send(
            {
                "type": "step",
                "step": int(step),
                "loss": float(loss) if finite else None,
                "tokens": int(tokens),
                **{name: value for name, value in optional.items() if value is not None},
            }
        )
        if not finite:
            raise FloatingPointError(f"the training loss is {loss} at step {step}")

    def save(self, model: torch.nn.Module) -> None:
        """Save the weights: written beside the checkpoint and renamed, so complete or absent."""
        partial = self._checkpoint.with_name(self._checkpoint.name + ".partial")
        torch.save(_plain_state(model), partial)
        partial.replace(self._checkpoint)
        message: dict[str, Any] = {"type": "saved", "final": self._exhausted}
        if self.spec.device == "cuda":
            message["peak_memory_mb"] = torch.cuda.max_memory_allocated() / 2**20
        self._frames.send(message)

    def _pass_gate(self) -> np.ndarray:
        if self._started is not None:
            raise RuntimeError("batches() was asked twice: the gate opens once in a training")
        if self.spec.device == "cuda":
            torch.cuda.synchronize()
        # The collector walks through every object that lives, for up to half a second at a time
        # in the middle of training (reported by karpathy/autoresearch). What start-up made
        # stays to the end, so it is taken out of these walks.
        gc.collect()
        gc.freeze()
        self._frames.send({"type": "ready"})
        message, descriptor = self._frames.receive()
        if message.get("type") != "go" or descriptor is None:
            raise RuntimeError(f"expected 'go' with the tokens, received {message.get('type')!r}")
        self._clock, self._reported = message.get("clock", "wall"), None
        self._started = self._now()
        self.budget_seconds = message.get("budget_seconds", self.budget_seconds)
        self.budget_tokens = message.get("budget_tokens", self.budget_tokens)
        self._rehearsal_seconds = message.get("rehearsal_seconds")
        view = mmap.mmap(descriptor, 2 * message["num_tokens"], access=mmap.ACCESS_COPY)
        os.close(descriptor)
        return np.frombuffer(view, dtype="<u2")

    def _now(self) -> float:
        return CLOCKS[self._clock]()

    def _note_step(self, step: int) -> None:
        now = self._now()
        if self._reported is not None and step > self._reported[0]:
            self._recent_steps.append((now - self._reported[1]) / (step - self._reported[0]))
        self._reported = (step, now)

    def _is_rehearsed(self) -> bool:
        if self._rehearsal_seconds is None or self._started is None:
            return False
        return self._now() - self._started >= self._rehearsal_seconds

    def _last_moment(self) -> float:
        if self._started is None:
            raise RuntimeError("the clock has not started")
        # However slow the disk, half of the budget is for training.
        return self._started + max(
            self.budget_seconds - self._save_seconds[self._clock], 0.5 * self.budget_seconds
        )


def connect() -> Run:
    """Meet the host over the inherited socket.

    Raises:
        RuntimeError: there is no host; the message says how to run by hand.
    """
    number = os.environ.get(SOCKET_VARIABLE)
    if number is None:
        raise RuntimeError(
            f"train.py needs a host at the socket that {SOCKET_VARIABLE} names, and it is not "
            "set; by hand: python trainer/runtime.py --corpus FOLDER --seconds 20 trainer/train.py"
        )
    frames = Frames(socket.socket(fileno=int(number)))
    message, _ = frames.receive()
    if message.get("type") != "start":
        raise RuntimeError(f"expected 'start' from the host, received {message.get('type')!r}")
    return Run(frames, message)


def _plain_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights on the CPU, under the names that they have without torch.compile."""
    state = {}
    for name, tensor in model.state_dict().items():
        plain = tensor.detach().cpu()
        # Of a view all is saved that it is a view of.
        is_part = plain.untyped_storage().nbytes() > plain.nbytes
        state[name.replace("_orig_mod.", "")] = plain.clone() if is_part else plain
    return state


# --- By hand: the smallest host, in a thread of the same process.


def _text_by_hand(path: Path, sequence_length: int, seed: int) -> int:
    """A memory file of all windows of a corpus, as nightlab/training/token_file.py draws them."""
    tokens, random = np.fromfile(path, dtype="<u2"), np.random.default_rng(seed)
    offset = int(random.integers(0, min(sequence_length, len(tokens) - sequence_length)))
    count = (len(tokens) - 1 - offset) // sequence_length
    descriptor = os.memfd_create("tokens")
    with open(descriptor, "wb", closefd=False) as file:
        for start in offset + sequence_length * random.permutation(count):
            file.write(tokens[start : start + sequence_length + 1].tobytes())
    return descriptor


def _host_by_hand(connection: socket.socket, start: dict[str, Any], tokens: int) -> None:
    kind = "wall" if start["spec"]["device"] == "cuda" else "processor"
    frames, clock = Frames(connection), CLOCKS[kind]
    begun = clock()
    frames.send({"type": "start", **start})
    while True:
        try:
            message, _ = frames.receive()
        except (EOFError, OSError):
            return
        seconds = clock() - begun
        if message["type"] == "ready":
            print(f"ready after {seconds:.1f} s")
            begun = clock()
            size = os.fstat(tokens).st_size
            frames.send({"type": "go", "clock": kind, "num_tokens": size // 2}, tokens)
        elif message["type"] == "step":
            loss = "not finite" if message["loss"] is None else f"{message['loss']:.4f}"
            rate = message["tokens"] / seconds
            print(f"{seconds:6.1f} s  step {message['step']:5d}  loss {loss}  {rate:,.0f} tok/s")
        elif message["type"] == "saved":
            late = start["budget_tokens"] is None and seconds > start["budget_seconds"]
            print(f"saved after {seconds:.1f} s" + (": too late, a timeout" if late else ""))


def main() -> None:
    """Run a train.py by hand: see this file's docstring."""
    parser = argparse.ArgumentParser(description="Run a train.py by hand, without a sandbox.")
    parser.add_argument("train_file", type=Path, help="such as trainer/train.py")
    parser.add_argument("--corpus", type=Path, required=True, help="folder of a prepared corpus")
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="training budget; on a CPU of its processor"
    )
    parser.add_argument("--tokens", type=int, help="count tokens: then --seconds is no limit")
    parser.add_argument("--sequence-length", type=int, default=256)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="folder for checkpoint.pt; default: a new one")
    arguments = parser.parse_args()

    tokens, manifest = arguments.corpus / "train.bin", arguments.corpus / "manifest.json"
    for needed in (arguments.train_file, tokens, manifest):
        if not needed.is_file():
            parser.error(f"needed {needed}, and it is not there; --corpus takes a prepared corpus")
    vocab_size = json.loads(manifest.read_text())["vocab_size"]
    output = arguments.output or Path(tempfile.mkdtemp(prefix="nightlab-by-hand-"))
    output.mkdir(parents=True, exist_ok=True)
    start = {
        "spec": asdict(Spec(vocab_size, arguments.sequence_length, arguments.device)),
        "seed": arguments.seed,
        "budget_seconds": arguments.seconds,
        "budget_tokens": arguments.tokens,
        "checkpoint": str(output / "checkpoint.pt"),
    }

    text = _text_by_hand(tokens, arguments.sequence_length, arguments.seed)
    host, candidate = socket.socketpair()
    os.environ[SOCKET_VARIABLE] = str(candidate.detach())
    thread = threading.Thread(target=_host_by_hand, args=(host, start, text), daemon=True)
    thread.start()
    sys.argv = [str(arguments.train_file)]
    runpy.run_path(str(arguments.train_file), run_name="__main__")
    host.shutdown(socket.SHUT_RD)
    thread.join()
    saved = output / "checkpoint.pt"
    print(f"checkpoint: {saved}" if saved.is_file() else "train.py ended without saving")


if __name__ == "__main__":
    main()
