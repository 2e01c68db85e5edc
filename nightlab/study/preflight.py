"""A dry run of seconds before a budget is spent: does the candidate train, save and answer?

It goes through all that a trial goes through, on random tokens: start-up, a moment of
training, the checkpoint, the evaluation's first question. What breaks goes back to the
proposer with its traceback, and costs seconds instead of a budget.

Nothing that it leaves is used. A candidate can read the sandbox's own files while it starts
up, and start-up is not charged here, so weights or a compiler's cache that were carried over
into the training would be a way around the budget. For the same reason torch.compile does
nothing here: compiling twice would cost more than a dry run saves, and what does not compile
shows in the training's own start-up, before its budget.

Without a compiler a model may take many times its memory, most of all on a GPU, where attention
in blocks then writes out all its scores. So there a dry run has few rows: ``with_few_rows``.
"""

import re
import time
from pathlib import Path

import numpy as np

from nightlab.evaluation.claims import ClaimLosses
from nightlab.evaluation.scorer import Candidate, Scorers
from nightlab.records import InFlight, PreflightResult, Proposal, Reason
from nightlab.sandbox.failure import Failure
from nightlab.sandbox.protocol import Deadline
from nightlab.study.lanes import device_turn
from nightlab.study.measurement import training_order
from nightlab.study.rebase import with_earlier
from nightlab.study.session import Session, seed_from
from nightlab.study.trial import apply_proposal
from nightlab.training.token_file import TokenFile
from nightlab.training.training import TrainingOrder, train_replicate

MAX_REPAIRS = 2
"""How often a trial's candidate goes back to its proposer."""

RANDOM_TOKENS = 2**19
SCORED_ROWS = 4
ANSWER_SECONDS = 120.0
MOST_ROWS = 8
"""That go through the model at once on a GPU: the scores of 8 x 2,048 positions and 4 heads take
0.5 GB in float32, so that several copies of them fit into 16 GB (arithmetic, not measured)."""
GRACE_SECONDS = 20.0
"""For the end of a step that takes longer than the dry run, and for a traceback."""

_FEW_ROWS_NOTE = (
    f"(On a GPU a dry run sets DEVICE_BATCH_SIZE to {MOST_ROWS} at most, and TOTAL_BATCH_TOKENS in "
    "proportion.)"
)
_BATCH_CONSTANT = re.compile(
    r"^(?P<start>(?P<name>DEVICE_BATCH_SIZE|TOTAL_BATCH_TOKENS) *(?:: *int *)?= *)"
    r"(?P<number>[0-9][0-9_]{0,15})(?= *(?:#|$))",
    re.MULTILINE,
)


def preflight_due(session: Session, mark: InFlight) -> bool:
    """Whether the trial's candidate is to have a dry run that it has not had."""
    proposal = mark.proposal
    unusable = proposal is None or proposal.error is not None
    measured = bool(mark.replicates or mark.incumbent_replicates)
    wanted = session.settings.sizes.preflight_seconds > 0
    return wanted and mark.preflight is None and not unusable and not measured


def run_preflight(session: Session, mark: InFlight) -> PreflightResult:
    """Train for seconds on random tokens, then have random rows answered.

    Raises:
        SandboxError: the sandbox broke; nothing is said about the candidate.
    """
    seed = seed_from(session.settings.seed, mark.number, "preflight")
    seconds = session.settings.sizes.preflight_seconds
    order = training_order(session, seed).model_copy(
        update={
            "budget_seconds": seconds,
            "rehearsal_seconds": seconds,
            "startup_free_seconds": None,
            "grace_seconds": GRACE_SECONDS,
            "compiles": False,
        }
    )
    whole = session.ledger.source(mark.commit)
    source = with_few_rows(whole) if session.device.kind == "cuda" else whole
    checkpoint = session.work / f"preflight-{mark.number:04d}.pt"
    began = time.monotonic()
    with device_turn(session):
        failure, log = _rehearse(session, order, source, checkpoint)
    checkpoint.unlink(missing_ok=True)
    has_few_rows = source != whole
    if failure is not None and _left_to_the_training(failure.reason, session, has_few_rows):
        failure = None
    said = failure.message if failure else ""
    return PreflightResult(
        failure=failure.reason if failure else None,
        message=f"{said} {_FEW_ROWS_NOTE}" if failure and has_few_rows else said,
        log=log if failure else "",
        seconds=time.monotonic() - began,
    )


def with_few_rows(source: str) -> str:
    """Lower DEVICE_BATCH_SIZE to the largest of its divisors up to ``MOST_ROWS``.

    The constant itself, and not what the runtime hands out: a model that counts on it (a buffer
    or a ``view`` of that many rows) is right in its training, and so it must be here.
    TOTAL_BATCH_TOKENS goes down with it, so that a step has as many parts as in the training.

    Returns:
        The source as it is where it has no more rows than that, or does not say with a number.
    """
    sizes = {found["name"]: _number(found) for found in _BATCH_CONSTANT.finditer(source)}
    rows = sizes.get("DEVICE_BATCH_SIZE", 0)
    if rows <= MOST_ROWS:
        return source
    few = max(count for count in range(1, MOST_ROWS + 1) if rows % count == 0)
    return _BATCH_CONSTANT.sub(
        lambda found: f"{found['start']}{_number(found) * few // rows}", source
    )


def note_preflight(session: Session, mark: InFlight, result: PreflightResult) -> InFlight:
    """Move the mark forward by a dry run."""
    return _move(session, mark.model_copy(update={"preflight": result}))


def is_repairable(mark: InFlight) -> bool:
    """Whether the candidate failed its dry run and its proposer may mend it."""
    failed = mark.preflight is not None and mark.preflight.failure is not None
    edited = mark.proposal is not None and bool(mark.proposal.edits)
    return failed and edited and not mark.is_given_up and mark.repairs < MAX_REPAIRS


def apply_repair(session: Session, mark: InFlight, mended: Proposal | None) -> InFlight:
    """Put the mended candidate in the place of the broken one, for another dry run.

    An answer that cannot be used ends the repairs: the broken candidate then keeps its commit
    and its verdict, and what was paid for stands in the record.

    Args:
        session: the session.
        mark: whose candidate failed.
        mended: the proposer's answer; None where it had none.
    """
    broken = mark.proposal
    if broken is None or mended is None:
        return _move(session, mark.model_copy(update={"is_given_up": True}))
    mended = with_earlier(broken, mended)
    if mended.error is not None:
        paid = {"cost": mended.cost, "exchanges": mended.exchanges}
        kept = {"is_given_up": True, "proposal": broken.model_copy(update=paid)}
        return _move(session, mark.model_copy(update=kept))
    again = {"commit": mark.parent, "preflight": None, "repairs": mark.repairs + 1}
    return apply_proposal(session, mark.model_copy(update=again), mended)


def _move(session: Session, mark: InFlight) -> InFlight:
    session.ledger.mark(mark)
    return mark


def is_broken(mark: InFlight) -> bool:
    """Whether there is nothing to train: no usable edit, or a candidate that fails dry."""
    if mark.proposal is not None and mark.proposal.error is not None:
        return True
    return mark.preflight is not None and mark.preflight.failure is not None


def problem_text(result: PreflightResult) -> str:
    """What a proposer is told: the sentence, then the end of the output. Data, capped."""
    return f"{result.message}\n\n{result.log[-4_000:]}".strip()


def _rehearse(
    session: Session, order: TrainingOrder, source: str, checkpoint: Path
) -> tuple[Failure | None, str]:
    """Return the first failure, or None, and the output that goes with it."""
    with _random_tokens(session, order) as tokens:
        training = train_replicate(
            order, source, tokens, session.sandbox, checkpoint, lambda: None, lambda _: None
        )
    if training.failure is not None:
        return Failure(reason=training.failure, message=training.message), training.log
    random = np.random.default_rng(order.seed)
    shape = (SCORED_ROWS, order.sequence_length + 1)
    rows = random.integers(0, order.vocab_size, shape).astype("<u2")
    candidate = Candidate(source=source, checkpoint=checkpoint, order=order)
    with Scorers(candidate, session.sandbox) as scorers:
        scorer = scorers.fresh()
        question = ClaimLosses(rows, candidate.batch_rows(SCORED_ROWS))
        answered = scorer.answer(question, Deadline.after(ANSWER_SECONDS))
        return (answered if isinstance(answered, Failure) else None), scorer.log


def _random_tokens(session: Session, order: TrainingOrder) -> TokenFile:
    random = np.random.default_rng(order.seed)
    tokens = random.integers(0, order.vocab_size, RANDOM_TOKENS).astype("<u2")
    path = session.work / "random.bin"
    path.write_bytes(tokens.tobytes())
    return TokenFile.from_path(path)


def _number(found: re.Match[str]) -> int:
    return int(found["number"].replace("_", ""))


def _left_to_the_training(reason: Reason, session: Session, has_few_rows: bool) -> bool:
    # A dry run is too short to say what is late. Without a compiler a model takes more of a GPU's
    # memory than in its training, but not with so much fewer rows.
    is_forgiven_oom = session.device.kind == "cuda" and not has_few_rows
    return reason is Reason.TIMEOUT or (reason is Reason.OOM and is_forgiven_oom)
