"""The engine's own measurement of one replicate: audited bits per byte on fixed rows.

Three sandboxes, each fresh, one after the other, so that nothing that one of them learnt
reaches the next:

1. The first is shown whole rows and commits to a loss for every token (``claims``).
2. Then positions are drawn in secret (``audit``). The second is shown each drawn row up
   to its position and gives the logits there; the host knows the target (``answers``).
3. The third is asked some of the same again, in another order and company: a row's
   answer may not depend on other rows.

The score is the claims, corrected by what the second one's answers say of them:

    bits per byte = (sum of claims + estimated sum of deviations) / ln 2 / bytes of targets

over the targets that stand for text; special tokens (of byte length 0) count nowhere. Its
expectation is the loss of the answers that could not see the next token, whatever was
claimed. The protocol, its tolerances and its limits: docs/decisions/0006.

The rows are spaced evenly over the split and have no token in common. They depend on the
split, the sequence length and the number of tokens only, never on the candidate.
"""

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from nightlab.errors import EvaluationError
from nightlab.evaluation.answers import AnswerPositions
from nightlab.evaluation.audit import (
    TOLERANCES,
    Correction,
    Design,
    Draw,
    Tolerances,
    breach_of_claims,
    breach_of_independence,
    design_draw,
    draw_positions,
    estimate_correction,
    secret_generator,
)
from nightlab.evaluation.claims import ClaimLosses, LossArray, TokenArray
from nightlab.evaluation.reference import reference_losses
from nightlab.evaluation.scorer import Answer, Candidate, Question, Scorers
from nightlab.judging.scores import is_better
from nightlab.records import Answering, Evaluation, Reason
from nightlab.sandbox import Sandbox
from nightlab.sandbox.failure import Failure
from nightlab.sandbox.protocol import Deadline
from nightlab.training.clock import clock_of
from nightlab.training.training import TrainingOrder

HOLDOUT = "holdout"
"""The split that never chooses."""

DEFAULT_SECONDS = 900.0
"""Longest evaluation, from its start to the last answer."""

SCREEN_POSITIONS = 96
REPEATED_POSITIONS = 32
"""How many positions the third sandbox is asked again, at most."""


class ScoredText(Protocol):
    """What an evaluation needs of a corpus."""

    def token_bytes(self) -> npt.NDArray[np.integer[Any]]:
        """Exact byte length of every token id; 0 for special tokens: [vocab_size]."""

    def tokens(self, split: str) -> TokenArray:
        """The token ids of a split, one after the other: [n]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A score in bits per byte, with what it rests on."""

    bits_per_byte: float
    row_standard_error: float | None
    """Sampling error over rows; None with a single one."""
    num_tokens: int
    num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What an audit found."""

    correction: Correction
    positions: int
    largest_deviation_nats: float
    breach: str | None
    """Why the claims are not to be believed, for people."""


def evaluate(
    source: str,
    checkpoint: Path,
    corpus: ScoredText,
    split: str,
    order: TrainingOrder,
    evaluation_tokens: int,
    sandbox: Sandbox,
    *,
    screen_positions: int = SCREEN_POSITIONS,
    keep_below_bpb: float | None = math.inf,
    tolerances: Tolerances = TOLERANCES,
    timeout_seconds: float = DEFAULT_SECONDS,
    allowed: Answering | None = None,
    record_use: Callable[[Evaluation], None] | None = None,
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
        screen_positions: how many positions a first look audits, at most one a row.
        keep_below_bpb: a score below this could be kept, so it gets a thorough audit, with
            positions in every row; None never asks for that.
        tolerances: what an audit lets pass.
        timeout_seconds: the longest that all of it may take.
        allowed: what the candidate's code may take in each sandbox (see ``allowance``); None for
            as long as all of it may.
        record_use: writes down, before the score is returned, that the holdout split was used;
            that split is not to be scored without.

    Raises:
        EvaluationError: the split or the checkpoint cannot be read.
        SandboxError: the sandbox broke.
        MachineBusy: other work on the machine kept a candidate from being held to its time.
    """
    if split == HOLDOUT and record_use is None:
        raise ValueError("every use of the holdout split is recorded: give record_use")
    began = time.monotonic()
    rows = select_rows(corpus.tokens(split), order.sequence_length, evaluation_tokens)
    lengths = corpus.token_bytes()
    _check_corpus(rows, lengths, order.vocab_size)
    candidate = Candidate(source=source, checkpoint=checkpoint, order=order)
    with Scorers(candidate, sandbox) as scorers:
        examination = _Examination(
            candidate=candidate,
            scorers=scorers,
            rows=rows,
            target_bytes=lengths[rows[:, 1:]],
            tolerances=tolerances,
            deadline=Deadline.after(timeout_seconds),
            allowed=allowed or Answering(),
        )
        found = examination.run(screen_positions, keep_below_bpb)
    told = {"split": split, "seconds": time.monotonic() - began}
    found = found.model_copy(update={**told, "answering": examination.answering})
    if record_use is not None:
        record_use(found)
    return found


class _Examination:
    """One evaluation under way."""

    def __init__(
        self,
        candidate: Candidate,
        scorers: Scorers,
        rows: TokenArray,
        target_bytes: npt.NDArray[np.integer[Any]],
        tolerances: Tolerances,
        deadline: Deadline,
        allowed: Answering,
    ) -> None:
        self._order = candidate.order
        self._batch_rows = candidate.batch_rows(len(rows))
        self._scorers = scorers
        self._rows = rows
        self._target_bytes = target_bytes
        self._tolerances = tolerances
        self._deadline = deadline
        self._allowed = allowed
        self.answering = Answering(clock=clock_of(candidate.order.device))
        """What the candidate's code took so far."""
        self._logs: list[str] = []

    def run(self, screen_positions: int, keep_below_bpb: float | None) -> Evaluation:
        """Claims, then as much of an audit as is called for."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="nightlab-reference") as aside:
            reference = aside.submit(reference_losses, self._rows, self._order.vocab_size)
            claims = self._claims()
            if isinstance(claims, Failure):
                return self._failed(Evaluation(), claims)
            claimed = bits_per_byte(claims, self._target_bytes)
            design = design_draw(claims, reference.result(), self._target_bytes > 0)
        began = time.monotonic()
        # A look at few positions is for what does not even claim to be worth keeping: two more
        # sandboxes for a second look take longer than the other positions.
        could_be_kept = self._is_below(claimed.bits_per_byte, keep_below_bpb)
        first = design.drawable_rows if could_be_kept else screen_positions
        audit = self._audit(claims, design, first)
        found = self._evaluation(claimed, audit, began)
        if self._is_below(found.val_bpb, keep_below_bpb) and first < design.drawable_rows:
            self._scorers.start_ahead(2)
            audit = self._audit(claims, design, design.drawable_rows)
            found = self._evaluation(claimed, audit, began)
        return found

    def _claims(self) -> LossArray | Failure:
        """Ask for a loss for every token, while those that audit it are started."""
        question = ClaimLosses(self._rows, self._batch_rows)
        if self._order.device.kind == "cuda":
            self._scorers.start_ahead(3)
            return self._ask(question, "claims")
        return self._ask(question, "claims", on_loaded=lambda: self._scorers.start_ahead(2))

    def _audit(self, claims: LossArray, design: Design, count: int) -> Audit | Failure:
        """Ask in new secret positions, and some of them again."""
        draw = draw_positions(design, count, secret_generator())
        answered = self._ask(self._question(draw), "audit")
        if isinstance(answered, Failure):
            return answered
        deviations = answered - claims[draw.rows, draw.positions]
        correction = estimate_correction(draw, deviations, int((self._target_bytes > 0).sum()))
        breach = breach_of_claims(deviations, self._tolerances)
        if breach is None:
            places = secret_generator().permutation(len(draw))[:REPEATED_POSITIONS]
            repeated = self._ask(self._question(draw.take(places)), "repeats")
            if isinstance(repeated, Failure):
                return repeated
            breach = breach_of_independence(repeated - answered[places], self._tolerances)
        return Audit(
            correction=correction,
            positions=len(draw),
            largest_deviation_nats=float(np.abs(deviations).max()),
            breach=breach,
        )

    def _question(self, draw: Draw) -> AnswerPositions:
        return AnswerPositions(self._rows, draw, self._batch_rows, self._order.vocab_size)

    def _ask(
        self,
        question: Question[Answer],
        part: Literal["claims", "audit", "repeats"],
        on_loaded: Callable[[], None] = lambda: None,
    ) -> Answer | Failure:
        """Have a fresh scorer answer one question; it is dead when this returns."""
        scorer = self._scorers.fresh()
        try:
            return scorer.answer(question, self._deadline, on_loaded, getattr(self._allowed, part))
        finally:
            self._logs.append(scorer.log)
            took = max(scorer.seconds or 0.0, getattr(self.answering, part) or 0.0)
            self.answering = self.answering.model_copy(update={part: took or None})

    def _evaluation(self, claimed: Score, audit: Audit | Failure, began: float) -> Evaluation:
        found = Evaluation(
            claimed_bpb=claimed.bits_per_byte,
            row_standard_error=claimed.row_standard_error,
            num_tokens=claimed.num_tokens,
            num_bytes=claimed.num_bytes,
            audit_seconds=time.monotonic() - began,
        )
        if isinstance(audit, Failure):
            return self._failed(found, audit)
        scale = 1 / (math.log(2) * claimed.num_bytes)
        correction, error = audit.correction.nats * scale, audit.correction.standard_error
        values = {
            "correction_bpb": correction,
            "standard_error": None if error is None else error * scale,
            "audited_positions": audit.positions,
            "largest_deviation_nats": audit.largest_deviation_nats,
        }
        found = found.model_copy(update=values)
        if audit.breach is not None:
            return self._failed(found, Failure(reason=Reason.AUDIT, message=audit.breach))
        score = {"val_bpb": claimed.bits_per_byte + correction, "log": self._log()}
        return found.model_copy(update=score)

    def _failed(self, found: Evaluation, failure: Failure) -> Evaluation:
        said = {"failure": failure.reason, "message": failure.message, "log": self._log()}
        return found.model_copy(update=said)

    def _log(self) -> str:
        """What the candidate printed: mostly the same in each sandbox, so said once."""
        return "\n".join(dict.fromkeys(log for log in self._logs if log))

    @staticmethod
    def _is_below(score_bpb: float | None, keep_below_bpb: float | None) -> bool:
        if score_bpb is None or keep_below_bpb is None:
            return False
        return is_better(score_bpb, keep_below_bpb)


def select_rows(tokens: TokenArray, sequence_length: int, evaluation_tokens: int) -> TokenArray:
    """The rows to score: spaced evenly over the split, with no token in common.

    Not even a last target is another row's first token: what one row is asked, no other shows.

    Returns:
        uint16 [rows, sequence_length + 1]; row r predicts its last ``sequence_length``
        tokens, each from those before it.

    Raises:
        EvaluationError: the split is shorter than one row.
    """
    width = sequence_length + 1
    windows = len(tokens) // width
    if windows < 1:
        raise EvaluationError(
            f"An evaluation needs at least {width} tokens, and the split has {len(tokens)}: "
            "prepare a larger corpus."
        )
    count = max(1, min(windows, evaluation_tokens // sequence_length))
    chosen = np.arange(count, dtype=np.int64) * windows // count
    rows: TokenArray = np.asarray(tokens)[chosen[:, None] * width + np.arange(width)]
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
        row_standard_error=error,
        num_tokens=int(counted.sum()),
        num_bytes=total,
    )


def _check_corpus(rows: TokenArray, lengths: npt.NDArray[np.integer[Any]], vocab_size: int) -> None:
    largest = int(np.max(rows))
    if largest >= vocab_size or len(lengths) != vocab_size:
        raise EvaluationError(
            f"The model's vocabulary has {vocab_size} tokens, the corpus {len(lengths)} byte "
            f"lengths and token ids up to {largest}: prepare the corpus again."
        )
