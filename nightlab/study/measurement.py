"""The measured part of a trial: whose replicate is next, its training, its evaluation.

Which replicates a trial needs is decided anew after each, from what stands in git and in
the trial's mark, so that a resumed trial asks for just what is missing.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from nightlab import events
from nightlab.errors import EvaluationError
from nightlab.evaluation.evaluation import evaluate
from nightlab.judging import crashes, decision
from nightlab.judging.case import Case, noise_of
from nightlab.judging.contention import contention_sentence, first_since_change, mark_contended
from nightlab.judging.decision import Subject
from nightlab.judging.scores import counted, incumbent_evidence, measure_noise, reference_bpb
from nightlab.records import (
    CurvePoint,
    Evaluation,
    InFlight,
    Reason,
    Replicate,
    TrainingResult,
    TrialRecord,
    Verdict,
)
from nightlab.source.code_size import code_lines
from nightlab.source.schedule import touched_schedule
from nightlab.study.session import Session, device_turn, replicate_seed
from nightlab.training import pruning
from nightlab.training.training import TrainingOrder, train_replicate

FIRST_INCUMBENT_INDEX = 1_000
SPARED_INDEX = 999_999
"""Of the draw that decides which trials are not pruned: no replicate has it."""


def next_subject(session: Session, mark: InFlight) -> Subject | None:
    """Whose replicate the trial needs next, before it can be judged; None when it can be.

    Raises:
        EvaluationError: the incumbent, which has trained before, does not train any more.
    """
    if is_baseline(mark):
        failed = crashes.first_crash(mark.replicates) is not None
        enough = decision.is_baseline_complete(mark.replicates)
        return None if failed or enough else Subject.CANDIDATE
    broken = crashes.broken_down(mark.incumbent_replicates)
    if broken is not None:
        raise EvaluationError(
            f"The incumbent was trained again to compare with trial {mark.number}, and failed "
            f"{crashes.FAILURES_IN_A_ROW} times in a row, the last time with: "
            f"{broken.failure_message} "
            "It did train before, so look at what else this machine is doing, then "
            f"`nightlab retry {mark.study} {mark.number}`."
        )
    judged = decision.judge(judged_case(session, mark))
    return judged if isinstance(judged, Subject) else None


def judged_case(session: Session, mark: InFlight) -> Case:
    """What the decision on a trial rests on: all that was measured of both codes so far."""
    records, ledger = session.ledger.records(), session.ledger
    judged = [
        record
        for record in records
        if record.reason is not Reason.BASELINE
        and (record.verdict in (Verdict.KEEP, Verdict.DISCARD) or _was_compared(record))
    ]
    incumbent = _of_subject(session, mark, Subject.INCUMBENT)
    anew = incumbent[len(incumbent) - len(mark.incumbent_replicates) :]
    reference = reference_bpb(records, mark.parent)
    return Case(
        candidate=mark.replicates,
        incumbent=incumbent,
        incumbent_anew=anew,
        reference_bpb=math.inf if reference is None else reference,
        other_noise=measure_noise(records, without={mark.parent, mark.commit}),
        earlier_trials=len(judged),
        earlier_against=sum(record.parent == mark.parent for record in judged),
        earlier_since_trained=_since_trained(records, judged, mark.parent),
        saves_code=code_lines(ledger.source(mark.commit)) < code_lines(ledger.source(mark.parent)),
    )


def _was_compared(record: TrialRecord) -> bool:
    """Whether a trial that came to no verdict could have been kept before it failed."""
    return len(counted(record.replicates)) > 1


def _since_trained(
    records: Sequence[TrialRecord], judged: Sequence[TrialRecord], incumbent: str
) -> int:
    """How many trials were judged against the incumbent since one trained it."""
    trained_it = [
        record.number
        for record in records
        if record.parent == incumbent
        and any(each.val_bpb is not None for each in record.incumbent_replicates)
    ]
    last = max(trained_it, default=-1)
    return sum(record.parent == incumbent and record.number > last for record in judged)


def _of_subject(session: Session, mark: InFlight, subject: Subject) -> tuple[Replicate, ...]:
    """All replicates of a code so far, those under contention marked."""
    if subject is Subject.INCUMBENT:
        earlier = incumbent_evidence(session.ledger.records(), mark.parent)
        replicates = (*earlier, *mark.incumbent_replicates)
    else:
        replicates = mark.replicates
    counts_tokens = session.settings.sizes.counts_tokens
    return mark_contended(replicates, counts_tokens=counts_tokens)


def is_baseline(mark: InFlight) -> bool:
    """Whether the trial is the study's baseline, or a try at it."""
    return mark.proposal is not None and mark.proposal.proposer == "baseline"


def next_seed(session: Session, mark: InFlight, subject: Subject) -> int:
    """A fresh seed; but a candidate that may be pruned begins with its twin's.

    Fresh seeds of the incumbent begin far up.
    """
    twin = find_twin(session, mark, subject)
    if twin is not None:
        return twin.seed
    if subject is Subject.INCUMBENT:
        index = FIRST_INCUMBENT_INDEX + len(mark.incumbent_replicates)
    else:
        index = len(mark.replicates)
    return replicate_seed(session.settings.seed, mark.number, index)


def find_twin(session: Session, mark: InFlight, subject: Subject) -> Replicate | None:
    """The incumbent's training whose curve the next replicate is followed beside.

    None where nothing is pruned: the baseline, the incumbent itself, a candidate's later
    replicates (its first one was promising), and edits of the schedule.
    """
    first = subject is Subject.CANDIDATE and not mark.replicates
    if not session.settings.prune or not first or is_baseline(mark):
        return None
    ledger = session.ledger
    if touched_schedule(ledger.source(mark.parent), ledger.source(mark.commit)) is not None:
        return None
    # Two trainings of one trial do not share a seed; those of this one only say what is outdated.
    evidence = _of_subject(session, mark, Subject.INCUMBENT)
    return pruning.find_twin(evidence[: len(evidence) - len(mark.incumbent_replicates)])


def _watch(session: Session, mark: InFlight, subject: Subject) -> pruning.Watch | None:
    twin = find_twin(session, mark, subject)
    if twin is None:
        return None
    case = judged_case(session, mark)
    if len(counted(case.incumbent)) < decision.BASELINE_REPLICATES:
        return None
    records = session.ledger.records()
    allowed = pruning.FALSE_STOP_RATE * (case.earlier_trials + 1)
    draw = replicate_seed(session.settings.seed, mark.number, SPARED_INDEX)
    return pruning.Watch(
        twin,
        pruning.finished_pairs(records),
        sigma_bpb=noise_of(case).sigma_bpb,
        needed_bpb=decision.could_be_kept_below_bpb(case),
        most_chance=allowed - pruning.chances_taken(records),
        is_spared=draw % pruning.SPARED_ONE_IN == 0,
    )


def training_order(session: Session, seed: int) -> TrainingOrder:
    """What the training host is asked for."""
    sizes = session.settings.sizes
    return TrainingOrder(
        vocab_size=session.ready_corpus.vocab_size,
        sequence_length=sizes.sequence_length,
        device=session.device,
        seed=seed,
        budget_seconds=sizes.budget_seconds,
        budget_tokens=sizes.budget_tokens,
        startup_seconds=sizes.startup_seconds,
        startup_free_seconds=sizes.startup_free_seconds,
        memory_mb=sizes.memory_mb,
        scratch_mb=sizes.scratch_mb,
    )


def subject_commit(mark: InFlight, subject: Subject) -> str:
    """The commit of the code that is trained: the candidate's, or its parent's."""
    return mark.parent if subject is Subject.INCUMBENT else mark.commit


def train_subject(session: Session, mark: InFlight, subject: Subject, seed: int) -> TrainingResult:
    """Train the candidate or the incumbent once; listeners and MLflow are told as it goes."""
    session.tracker.replicate_started(mark.number, seed)
    watch = _watch(session, mark, subject)
    with device_turn(session):
        result = train_code(
            session,
            session.ledger.source(subject_commit(mark, subject)),
            checkpoint_path(session, mark, seed),
            number=mark.number,
            seed=seed,
            on_point=lambda point: session.tracker.point(mark.number, seed, point),
            watch=watch,
        )
    forecast = watch.forecast if watch is not None else None
    return result.model_copy(update={"forecast": forecast})


def train_code(
    session: Session,
    source: str,
    checkpoint: Path,
    *,
    number: int,
    seed: int,
    on_point: Callable[[CurvePoint], None] | None = None,
    watch: pruning.Watch | None = None,
) -> TrainingResult:
    """Train a code once on the device, whose turn the caller holds; listeners are told as it goes.

    Args:
        session: whose corpus is ready.
        source: the code.
        checkpoint: where its checkpoint is to stand.
        number: of the trial it is trained for, as listeners are told.
        seed: of this training.
        on_point: what else is told each point of the curve.
        watch: what may stop it early.
    """
    order, study = training_order(session, seed), session.ledger.study

    def on_gate() -> None:
        events.publish(
            events.GateOpened(
                study=study,
                number=number,
                seed=seed,
                budget_seconds=order.budget_seconds,
                budget_tokens=order.budget_tokens,
            )
        )

    def tell_point(point: CurvePoint) -> None:
        if on_point is not None:
            on_point(point)
        events.publish(events.Trained(study=study, number=number, seed=seed, point=point))

    return train_replicate(
        order, source, session.tokens, session.sandbox, checkpoint, on_gate, tell_point, watch
    )


def evaluate_subject(session: Session, mark: InFlight, subject: Subject, seed: int) -> Evaluation:
    """Score the checkpoint of one replicate on ``val``, then drop the checkpoint.

    An evaluation that raises keeps it: another try needs it.
    """
    sizes = session.settings.sizes
    checkpoint = checkpoint_path(session, mark, seed)
    with device_turn(session):
        evaluation = evaluate(
            session.ledger.source(subject_commit(mark, subject)),
            checkpoint,
            session.ready_corpus,
            "val",
            training_order(session, seed),
            sizes.evaluation_tokens,
            session.sandbox,
            screen_positions=sizes.screen_positions,
            keep_below_bpb=_keep_below_bpb(session, mark, subject),
        )
    checkpoint.unlink(missing_ok=True)
    return evaluation


def _keep_below_bpb(session: Session, mark: InFlight, subject: Subject) -> float:
    """The score below which the audit is to be as exact as for a keep."""
    if subject is Subject.INCUMBENT or is_baseline(mark):
        return math.inf
    return decision.could_be_kept_below_bpb(judged_case(session, mark), in_doubt=True)


def checkpoint_path(session: Session, mark: InFlight, seed: int) -> Path:
    """Where a replicate's checkpoint stands between training and evaluation."""
    return session.work / f"{mark.number:04d}-{seed}.pt"


def add_replicate(
    session: Session, mark: InFlight, subject: Subject, replicate: Replicate
) -> InFlight:
    """Move the mark forward by one finished replicate."""
    turn = len(mark.replicates) + len(mark.incumbent_replicates)
    replicate = replicate.model_copy(update={"turn": turn})
    if subject is Subject.INCUMBENT:
        name, own = "incumbent_replicates", (*mark.incumbent_replicates, replicate)
    else:
        name, own = "replicates", (*mark.replicates, replicate)
    grown = mark.model_copy(update={name: own})
    marked = _of_subject(session, grown, subject)
    counts = any(each.seed == replicate.seed for each in counted(marked))
    said = contention_sentence(marked, replicate.seed, counts=counts)
    if said is not None:
        events.publish(events.Notice(text=said))
    grown = grown.model_copy(update={name: marked[-len(own) :]})
    if subject is Subject.INCUMBENT:
        grown = _without_earlier_machine(session, grown, marked)
    session.ledger.mark(grown)
    return grown


def _without_earlier_machine(
    session: Session, mark: InFlight, incumbent: Sequence[Replicate]
) -> InFlight:
    """Outdate what the candidate trained before the incumbent's trainings showed a new machine.

    The candidate's own few would tell of it later, and until then the one code would be compared
    on the machine as it was with the other on the machine as it is.
    """
    counts_tokens = session.settings.sizes.counts_tokens
    first = None if counts_tokens else first_since_change(incumbent)
    if first is None or first.seed not in {each.seed for each in mark.incumbent_replicates}:
        return mark
    flagged = [
        each.model_copy(update={"precedes_change": True}) if each.turn < first.turn else each
        for each in mark.replicates
    ]
    return mark.model_copy(update={"replicates": mark_contended(flagged)})
