"""The engine's own measurement of one replicate: bits per byte on a fixed set of rows.

Two steps, kept apart. ``claim_losses`` has a fresh sandbox answer a loss for every
token: a claim, of which only shape and range are checked. ``bits_per_byte`` turns losses
into a score with the engine's own byte lengths:

    bits per byte = sum of nats / ln 2 / sum of the bytes of the targets

over the targets that stand for text; special tokens (of byte length 0) count in neither
sum. The rows are spaced evenly over the split, and depend on the split, the sequence
length and the number of tokens only, never on the candidate.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nightlab.errors import EvaluationError
from nightlab.protocol import (
    Channel,
    ContractBreach,
    Deadline,
    Loaded,
    Losses,
    PeerClosed,
    PeerLate,
)
from nightlab.records import Evaluation, Reason
from nightlab.sandbox import Job, Sandbox, SandboxedProcess
from nightlab.sandbox.failure import Failure, classify_crash
from nightlab.training import TrainingOrder

DEFAULT_SECONDS = 900.0
"""Longest evaluation, from its start to the last loss."""

# Logits of one batch, in numbers: what bounds the memory of an evaluation.
_BATCH_LOGITS = {"cpu": 2**24, "cuda": 2**28}

TokenArray = npt.NDArray[np.uint16]
LossArray = npt.NDArray[np.float32]


class ScoredText(Protocol):
    """What an evaluation needs of a corpus."""

    def token_bytes(self) -> npt.NDArray[np.integer[Any]]:
        """Exact byte length of every token id; 0 for special tokens: [vocab_size]."""

    def tokens(self, split: str) -> TokenArray:
        """The token ids of a split, one after the other: [n]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a candidate answered: losses [rows, T] in nats, or why there are none."""

    losses: LossArray | None = None
    failure: Failure | None = None
    log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A score in bits per byte, with what it rests on."""

    bits_per_byte: float
    standard_error: float | None
    """Sampling error over rows; None with a single one."""
    num_tokens: int
    num_bytes: int


def evaluate(
    source: str,
    checkpoint: Path,
    corpus: ScoredText,
    split: str,
    order: TrainingOrder,
    evaluation_tokens: int,
    sandbox: Sandbox,
    *,
    timeout_seconds: float = DEFAULT_SECONDS,
) -> Evaluation:
    """Score a checkpoint on a split.

    Args:
        source: the text of the candidate's train.py.
        checkpoint: the weights that it saved.
        corpus: the text, with its byte lengths.
        split: ``val`` or ``holdout``.
        order: what the training was asked for.
        evaluation_tokens: how many tokens to score, at most; whole rows are taken.
        sandbox: where the model answers.
        timeout_seconds: the longest that all of it may take.

    Raises:
        EvaluationError: the split or the checkpoint cannot be read.
        SandboxError: the sandbox broke.
    """
    began = time.monotonic()
    rows = select_rows(corpus.tokens(split), order.sequence_length, evaluation_tokens)
    lengths = corpus.token_bytes()
    _check_corpus(rows, lengths, order.vocab_size)
    claims = claim_losses(order, source, checkpoint, rows, sandbox, timeout_seconds)
    seconds = time.monotonic() - began
    if claims.failure is not None or claims.losses is None:
        failure = claims.failure or Failure(reason=Reason.CONTRACT, message="No losses came.")
        return Evaluation(
            split=split,
            failure=failure.reason,
            message=failure.message,
            seconds=seconds,
            log=claims.log,
        )
    score = bits_per_byte(claims.losses, lengths[rows[:, 1:]])
    return Evaluation(
        split=split,
        val_bpb=score.bits_per_byte,
        standard_error=score.standard_error,
        num_tokens=score.num_tokens,
        num_bytes=score.num_bytes,
        seconds=seconds,
        log=claims.log,
    )


def select_rows(tokens: TokenArray, sequence_length: int, evaluation_tokens: int) -> TokenArray:
    """The rows to score: disjoint in their targets, spaced evenly over the split.

    Returns:
        uint16 [rows, sequence_length + 1]; row r predicts its last ``sequence_length``
        tokens, each from those before it.

    Raises:
        EvaluationError: the split is shorter than one row.
    """
    windows = (len(tokens) - 1) // sequence_length
    if windows < 1:
        raise EvaluationError(
            f"An evaluation needs at least {sequence_length + 1} tokens, and the split has "
            f"{len(tokens)}: prepare a larger corpus."
        )
    count = max(1, min(windows, evaluation_tokens // sequence_length))
    chosen = np.arange(count, dtype=np.int64) * windows // count
    places = chosen[:, None] * sequence_length + np.arange(sequence_length + 1)
    rows: TokenArray = np.asarray(tokens)[places]
    return rows


def bits_per_byte(
    losses: npt.NDArray[np.floating[Any]], target_bytes: npt.NDArray[np.integer[Any]]
) -> Score:
    """Turn losses into a score.

    Args:
        losses: nats, [rows, T].
        target_bytes: byte length of every target, 0 for one that does not count: [rows, T].

    Raises:
        EvaluationError: no target stands for text.
    """
    counted = target_bytes > 0
    bits = np.where(counted, losses, 0.0).sum(axis=1, dtype=np.float64) / math.log(2)
    sizes = target_bytes.sum(axis=1, dtype=np.int64)
    total = int(sizes.sum())
    if total == 0:
        raise EvaluationError("An evaluation needs text, and every token of the rows is special.")
    score = float(bits.sum() / total)
    # The score is a ratio of two sums over rows, so its error is that of the residuals
    # (the ratio estimator: Cochran, "Sampling Techniques", chapter 6).
    error = None
    rows = len(bits)
    if rows > 1:
        residuals = bits - score * sizes
        error = math.sqrt(rows / (rows - 1) * float((residuals**2).sum())) / total
    return Score(
        bits_per_byte=score,
        standard_error=error,
        num_tokens=int(counted.sum()),
        num_bytes=total,
    )


def claim_losses(
    order: TrainingOrder,
    source: str,
    checkpoint: Path,
    rows: TokenArray,
    sandbox: Sandbox,
    timeout_seconds: float = DEFAULT_SECONDS,
) -> Claims:
    """Have a fresh sandbox claim a loss for every token of the rows.

    Raises:
        EvaluationError: the checkpoint cannot be read.
        SandboxError: the sandbox broke.
    """
    if not checkpoint.is_file():
        raise EvaluationError(f"An evaluation needs the weights at {checkpoint}: they are gone.")
    deadline = Deadline.after(timeout_seconds)
    job = Job(
        program="score",
        source=source,
        device=order.device,
        memory_mb=order.memory_mb,
        weights=checkpoint,
    )
    with sandbox.start(job) as process:
        losses, failure = None, None
        try:
            losses = _ask(order, rows, process, deadline)
        except PeerLate:
            text = f"The evaluation did not end within {timeout_seconds:g} seconds."
            failure = Failure(reason=Reason.CONTRACT, message=text)
        except ContractBreach as breach:
            failure = Failure(reason=Reason.CONTRACT, message=f"In the evaluation, {breach}.")
        except PeerClosed:
            code = process.wait(min(10.0, deadline.remaining_seconds))
            text = "The candidate ended in the middle of its evaluation."
            failure = Failure(reason=Reason.CONTRACT, message=text)
            if code:
                failure = classify_crash(code, process.log)
        except _NotFinite as error:
            failure = Failure(reason=Reason.NONFINITE, message=str(error))
        process.kill()
        return Claims(losses=losses, failure=failure, log=process.log)


class _NotFinite(Exception):  # noqa: N818
    """A claimed loss is NaN or infinite."""


def _ask(
    order: TrainingOrder, rows: TokenArray, process: SandboxedProcess, deadline: Deadline
) -> LossArray:
    channel, layout = process.channel, process.layout
    load = {
        "type": "load",
        "spec": order.spec,
        "source": layout.source,
        "checkpoint": layout.saved_weights,
    }
    channel.send(load, deadline)
    message = channel.receive(deadline)
    if not isinstance(message, Loaded):
        raise ContractBreach(f"the candidate sent {message.type!r} where 'loaded' was due")
    answers = [_ask_batch(channel, batch, deadline) for batch in _batches(order, rows)]
    return np.concatenate(answers)


def _batches(order: TrainingOrder, rows: TokenArray) -> Iterator[TokenArray]:
    size = _BATCH_LOGITS[order.device.kind] // (order.sequence_length * order.vocab_size)
    size = max(1, min(size, 256))
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _ask_batch(channel: Channel, batch: TokenArray, deadline: Deadline) -> LossArray:
    count, length = len(batch), batch.shape[1] - 1
    channel.send({"type": "rows", "rows": count, "length": length}, deadline)
    channel.send_data(batch.astype("<u2").tobytes(), deadline)
    message = channel.receive(deadline)
    if not isinstance(message, Losses) or message.rows != count:
        raise ContractBreach(f"the candidate did not answer with the losses of {count} rows")
    data = channel.receive_data(4 * count * length, deadline)
    losses = np.frombuffer(data, dtype="<f4").reshape(count, length)
    if not np.isfinite(losses).all():
        raise _NotFinite("The model gives losses that are not finite on text it has not seen.")
    if (losses < 0).any():
        raise ContractBreach("the candidate answered losses below zero")
    return losses.astype(np.float32)


def _check_corpus(rows: TokenArray, lengths: npt.NDArray[np.integer[Any]], vocab_size: int) -> None:
    largest = int(rows.max())
    if largest >= vocab_size or len(lengths) != vocab_size:
        raise EvaluationError(
            f"The model's vocabulary has {vocab_size} tokens, the corpus {len(lengths)} byte "
            f"lengths and token ids up to {largest}: prepare the corpus again."
        )
