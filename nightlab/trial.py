"""The steps of a trial, as functions of a session and the trial's in-flight mark.

The mark stands in git and is moved forward after every step that was paid for: the
proposal, each replicate. A killed trial goes on from there, on this machine or, through
the remote, on another.
"""

import ast
import math
import platform
from pathlib import Path

from nightlab import decision, events
from nightlab.errors import UsageError
from nightlab.evaluation import evaluate
from nightlab.proposers import Brief, apply_edits, knob_values
from nightlab.records import (
    CurvePoint,
    Evaluation,
    InFlight,
    Proposal,
    Replicate,
    TrainingResult,
    TrialRecord,
    Verdict,
    utc_now,
)
from nightlab.session import (
    Session,
    device_turn,
    flat_settings,
    read_program,
    replicate_seed,
    standing_record,
    study_noise_bpb,
)
from nightlab.tracking import TrialFacts
from nightlab.training import TrainingOrder, train_replicate

MAX_ATTEMPTS = 3
"""A trial that was interrupted this often is recorded as failed: it may be its own fault."""


def begin_trial(
    session: Session,
    number: int,
    proposal: Proposal | None = None,
    retry_of: int | None = None,
) -> InFlight:
    """Mark a trial as in flight, or take up the mark that an interrupted session left."""
    left = current_mark(session, number)
    if left is not None:
        resumed = left.model_copy(
            update={"attempts": left.attempts + 1, "session": session.identifier}
        )
        session.ledger.mark(resumed)
        return resumed
    incumbent = session.ledger.incumbent()
    mark = InFlight(
        study=session.ledger.study,
        number=number,
        parent=incumbent,
        commit=incumbent,
        proposal=proposal,
        retry_of=retry_of,
        session=session.identifier,
        settings=dict(flat_settings(session.settings)),
        corpus_fingerprint=session.ready_corpus.fingerprint,
        started_at=utc_now(),
    )
    session.ledger.mark(mark)
    return mark


def current_mark(session: Session, number: int) -> InFlight | None:
    """The trial's in-flight mark as it stands in git, or None."""
    for mark in session.ledger.marks():
        if mark.number == number:
            return mark
    return None


def baseline_proposal() -> Proposal:
    """The proposal of the baseline: the trainer as it stands."""
    return Proposal(
        title="baseline", hypothesis="The trainer as the study begins.", proposer="baseline"
    )


def check_retryable(record: TrialRecord) -> None:
    """Refuse to retry what was measured.

    Raises:
        UsageError: the trial did not fail.
    """
    if record.verdict is not Verdict.FAILED:
        raise UsageError(
            f"Only a failed trial is retried, and trial {record.number} of study {record.study!r} "
            f"has the verdict {record.verdict.value}: its measurement stands."
        )


def retry_proposal(session: Session, record: TrialRecord) -> Proposal | None:
    """The proposal of a failed trial, for today's incumbent; None where it never had one."""
    earlier = session.ledger.evidence(record.number).proposal
    if not earlier.edits and earlier.proposer != "baseline":
        return None
    return earlier.model_copy(update={"error": None})


def brief(session: Session, mark: InFlight) -> Brief:
    """What a proposer is told."""
    records = session.ledger.records()
    standing = standing_record(records)
    runtime = (session.places.root / "trainer" / "runtime.py").read_text(encoding="utf-8")
    sizes = session.settings.sizes
    return Brief(
        study=mark.study,
        number=mark.number,
        seed=session.settings.seed,
        program=read_program(session.settings, session.places),
        runtime_contract=ast.get_docstring(ast.parse(runtime)) or "",
        incumbent_commit=mark.parent,
        incumbent_source=session.ledger.source(mark.parent),
        incumbent_bpb=standing.val_bpb if standing is not None else None,
        noise_bpb=study_noise_bpb(records),
        records=records,
        device=session.device.description,
        budget_seconds=sizes.budget_seconds,
        startup_free_seconds=sizes.startup_free_seconds,
        sequence_length=sizes.sequence_length,
        vocab_size=sizes.vocab_size,
    )


def apply_proposal(session: Session, mark: InFlight, proposal: Proposal) -> InFlight:
    """Make the candidate's commit and move the mark to it.

    A proposal that cannot be applied keeps the parent's commit; its ``error`` says why.
    """
    commit = mark.parent
    if proposal.edits and proposal.error is None:
        source = session.ledger.source(mark.parent)
        outcome = apply_edits(source, proposal.edits)
        problem = outcome.error or _unstorable(outcome.source)
        if problem is not None:
            proposal = proposal.model_copy(update={"error": problem})
        else:
            commit = session.ledger.write_candidate(
                mark.parent, outcome.source, proposal.title, proposal.hypothesis
            )
    applied = mark.model_copy(update={"commit": commit, "proposal": proposal})
    session.ledger.mark(applied)
    return applied


def _unstorable(source: str) -> str | None:
    try:
        source.encode()
    except UnicodeEncodeError as error:
        return f"The changed file holds half a character at position {error.start}: not UTF-8."
    return None


def is_applied(mark: InFlight) -> bool:
    """Whether the mark's proposal stands, with its commit or with the reason why not."""
    proposal = mark.proposal
    if proposal is None:
        return False
    return not proposal.edits or proposal.error is not None or mark.commit != mark.parent


def track_start(session: Session, mark: InFlight) -> None:
    """Open the trial's run in MLflow."""
    proposal = mark.proposal
    session.tracker.trial_started(
        mark,
        TrialFacts(
            knobs=knob_values(session.ledger.source(mark.commit)),
            proposer=proposal.proposer if proposal else "",
            model=proposal.model if proposal else None,
            corpus=session.settings.corpus,
            corpus_fingerprint=session.ready_corpus.fingerprint,
            device=session.device.description,
            sandbox=session.sandbox.confinement.label,
            budget_seconds=session.settings.sizes.budget_seconds,
            engine_version=session.engine_version,
            host=platform.node(),
            preset=session.settings.preset,
            settings=dict(flat_settings(session.settings)),
        ),
    )


def missing_seeds(session: Session, mark: InFlight) -> tuple[int, ...]:
    """Seeds of the replicates that the trial still needs; none once one has failed."""
    if decision.first_failure(mark.replicates) is not None:
        return ()
    is_baseline = mark.proposal is not None and mark.proposal.proposer == "baseline"
    count = decision.BASELINE_REPLICATES if is_baseline else 1
    seeds = (replicate_seed(session.settings.seed, mark.number, index) for index in range(count))
    done = {replicate.seed for replicate in mark.replicates}
    return tuple(seed for seed in seeds if seed not in done)


def training_order(session: Session, seed: int) -> TrainingOrder:
    """What the training host is asked for."""
    sizes = session.settings.sizes
    return TrainingOrder(
        vocab_size=session.ready_corpus.vocab_size,
        sequence_length=sizes.sequence_length,
        device=session.device,
        seed=seed,
        budget_seconds=sizes.budget_seconds,
        startup_seconds=sizes.startup_seconds,
        startup_free_seconds=sizes.startup_free_seconds,
        memory_mb=sizes.memory_mb,
        scratch_mb=sizes.scratch_mb,
    )


def train_candidate(session: Session, mark: InFlight, seed: int) -> TrainingResult:
    """Train the candidate once, telling listeners and MLflow while it goes on."""
    order = training_order(session, seed)
    study, number = mark.study, mark.number
    session.tracker.replicate_started(number, seed)

    def on_gate() -> None:
        events.publish(
            events.GateOpened(
                study=study, number=number, seed=seed, budget_seconds=order.budget_seconds
            )
        )

    def on_point(point: CurvePoint) -> None:
        session.tracker.point(number, seed, point)
        events.publish(events.Trained(study=study, number=number, seed=seed, point=point))

    with device_turn(session):
        return train_replicate(
            order,
            session.ledger.source(mark.commit),
            session.tokens,
            session.sandbox,
            checkpoint_path(session, mark, seed),
            on_gate,
            on_point,
        )


def evaluate_candidate(session: Session, mark: InFlight, seed: int) -> Evaluation:
    """Score the checkpoint of one replicate on ``val``, then drop the checkpoint.

    An evaluation that raises keeps it: another try needs it.
    """
    sizes = session.settings.sizes
    checkpoint = checkpoint_path(session, mark, seed)
    with device_turn(session):
        evaluation = evaluate(
            session.ledger.source(mark.commit),
            checkpoint,
            session.ready_corpus,
            "val",
            training_order(session, seed),
            sizes.evaluation_tokens,
            session.sandbox,
            screen_positions=sizes.screen_positions,
            keep_below_bpb=_keep_below_bpb(session),
        )
    checkpoint.unlink(missing_ok=True)
    return evaluation


def _keep_below_bpb(session: Session) -> float:
    """The score below which a candidate could be kept; without an incumbent, any."""
    standing = standing_record(session.ledger.records())
    if standing is None or standing.val_bpb is None:
        return math.inf
    return standing.val_bpb


def checkpoint_path(session: Session, mark: InFlight, seed: int) -> Path:
    """Where a replicate's checkpoint stands between training and evaluation."""
    return session.work / f"{mark.number:04d}-{seed}.pt"


def add_replicate(session: Session, mark: InFlight, replicate: Replicate) -> InFlight:
    """Move the mark forward by one finished replicate."""
    grown = mark.model_copy(update={"replicates": (*mark.replicates, replicate)})
    session.ledger.mark(grown)
    return grown
