"""The measured part of a trial: what is trained next, each training, its evaluation.

What a trial needs is decided anew after each round, from what stands in git and in the trial's
mark, so that a resumed trial asks for just what is missing. A round's trainings run side by
side, so all that they need of git is gathered before they begin.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nightlab import events
from nightlab.errors import EvaluationError, MachineBusy
from nightlab.evaluation.evaluation import evaluate
from nightlab.judging import crashes, decision
from nightlab.judging.bank import bank_of, is_due
from nightlab.judging.case import Case, learnt_from, noise_of, pairs_of
from nightlab.judging.decision import Subject, Wanted
from nightlab.judging.scores import lost_since_improvement_bpb
from nightlab.records import (
    CurvePoint,
    Decision,
    Evaluation,
    InFlight,
    Replicate,
    TrainingResult,
    TrialRecord,
    utc_now,
)
from nightlab.source.code_size import is_clearly_less
from nightlab.source.schedule import touched_schedule
from nightlab.study.checkpoints import checkpoint_path, drop_checkpoints
from nightlab.study.lanes import device_turn
from nightlab.study.session import (
    Session,
    free_startup_now,
    seed_from,
    study_seeds,
)
from nightlab.training import pruning
from nightlab.training.training import TrainingOrder, train_replicate

SPARED = "spared"
"""What the draw is named that decides which trials are not pruned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training of a round, with all that it needs of git."""

    number: int
    """Of the trial."""
    wanted: Wanted
    source: str
    checkpoint: Path
    """Where it stands between training and evaluation."""
    keep_below_bpb: float
    """The score below which the audit is to be as exact as for a keep."""
    watch: pruning.Watch | None = None
    """What may stop it early."""
    twin: Replicate | None = None
    """The incumbent's training with its seed, where that is done."""

    @property
    def seed(self) -> int:
        """Short for ``wanted.seed``."""
        return self.wanted.seed

    @property
    def label(self) -> str:
        """Trial, code and seed, for people."""
        return f"{self.number} {self.wanted.subject.value} seed {self.seed}"

    @property
    def whose(self) -> str:
        """``incumbent``, or empty for the trial's own code."""
        return "incumbent" if self.wanted.subject is Subject.INCUMBENT else ""


def next_round(session: Session, mark: InFlight) -> tuple[Training, ...]:
    """What the trial needs trained next, side by side; nothing once it can be judged.

    Raises:
        EvaluationError: the incumbent, which has trained before, does not train any more.
    """
    if is_baseline(mark):
        here, seeds = trained_here(session, mark), study_seeds(session.settings)
        wanted = decision.wanted_for_baseline(here, seeds, session.lanes)
        return tuple(_training(session, mark, each) for each in wanted)
    broken = crashes.broken_down(mark.incumbent_replicates)
    if broken is not None:
        raise EvaluationError(
            f"The incumbent was trained again to compare with trial {mark.number}, and failed "
            f"{crashes.FAILURES_IN_A_ROW} times in a row, the last time with: "
            f"{broken.failure_message} "
            "It did train before, so look at what else this machine is doing, then "
            f"`nightlab retry {mark.study} {mark.number}`."
        )
    case = judged_case(session, mark)
    judged = decision.judge(case)
    if isinstance(judged, Decision):
        return ()
    own = sum(each.subject is Subject.CANDIDATE for each in judged)
    return tuple(_training(session, mark, each, case, own) for each in judged)


def judged_case(session: Session, mark: InFlight) -> Case:
    """What the decision on a trial rests on: its pairs, and what the study has learnt."""
    records, ledger = session.ledger.records(), session.ledger
    learnt = learnt_from(records)
    usual = session.settings.sizes.pair_noise_bpb
    return Case(
        candidate=trained_here(session, mark),
        bank=_bank(session, mark, records, noise_of(learnt.gains_bpb, usual).pair_bpb),
        seeds=study_seeds(session.settings),
        learnt=learnt,
        preset_noise_bpb=usual,
        keep_probability=session.settings.keep_probability,
        saves_code=is_clearly_less(ledger.source(mark.commit), ledger.source(mark.parent)),
        lost_bpb=lost_since_improvement_bpb(records, mark.parent),
        lanes=session.lanes,
    )


def _bank(
    session: Session, mark: InFlight, records: tuple[TrialRecord, ...], noise_bpb: float
) -> Mapping[int, Replicate]:
    """The incumbent's trainings that count; without the first where it is to be looked at again."""
    anew = mark.incumbent_replicates
    bank = bank_of(records, mark.parent, session.place, anew, noise_bpb)
    first = study_seeds(session.settings)[0]
    is_looked_at = is_due(records, mark.parent, first)
    if is_looked_at and first in bank and all(each.seed != first for each in anew):
        bank = {seed: each for seed, each in bank.items() if seed != first}
    return bank


def trained_here(session: Session, mark: InFlight) -> list[Replicate]:
    """The trial's own trainings that count: those of this machine, device and engine."""
    return [each for each in mark.replicates if each.place == session.place]


def is_baseline(mark: InFlight) -> bool:
    """Whether the trial is the study's baseline, or a try at it."""
    return mark.proposal is not None and mark.proposal.proposer == "baseline"


def _training(
    session: Session, mark: InFlight, wanted: Wanted, case: Case | None = None, beside: int = 1
) -> Training:
    """Gather what one training needs.

    Args:
        session: the session.
        mark: of the trial.
        wanted: what is trained.
        case: of the trial; None for the baseline's.
        beside: how many trainings of the candidate share the trial's allowance for false stops.
    """
    twin, watch, keep_below = None, None, math.inf
    if case is not None and wanted.subject is Subject.CANDIDATE:
        twin = case.bank.get(wanted.seed)
        # What a first pair needs is no measure for a later one, which counts with those before
        # it: that one runs to its end, and its score is audited exactly.
        if (
            twin is not None
            and twin.val_bpb is not None
            and not pairs_of(case.candidate, case.bank)
        ):
            keep_below = twin.val_bpb - decision.needed_gain_bpb(case)
            watch = _watch(session, mark, case, twin, keep_below, beside)
    return Training(
        number=mark.number,
        wanted=wanted,
        source=session.ledger.source(subject_commit(mark, wanted.subject)),
        checkpoint=checkpoint_path(session, mark.number, wanted.subject, wanted.seed),
        keep_below_bpb=keep_below,
        watch=watch,
        twin=twin,
    )


def _watch(
    session: Session,
    mark: InFlight,
    case: Case,
    twin: Replicate,
    needed_bpb: float,
    beside: int,
) -> pruning.Watch | None:
    """What may stop a training beside its twin; None where nothing is pruned.

    An edit of the schedule may be behind on the way and ahead at the end.
    """
    if not session.settings.prune or not pruning.can_be_followed(twin):
        return None
    ledger = session.ledger
    if touched_schedule(ledger.source(mark.parent), ledger.source(mark.commit)) is not None:
        return None
    records = ledger.records()
    judged = len(case.learnt.gains_bpb) + case.learnt.pruned
    allowed = pruning.FALSE_STOP_RATE * (judged + 1) - pruning.chances_taken(records)
    draw = seed_from(session.settings.seed, mark.number, SPARED)
    return pruning.Watch(
        twin,
        pruning.finished_pairs(records),
        sigma_bpb=noise_of(case.learnt.gains_bpb, case.preset_noise_bpb).pair_bpb,
        needed_bpb=needed_bpb,
        most_chance=allowed / beside,
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
        startup_free_seconds=free_startup_now(session),
        memory_mb=sizes.memory_mb,
        scratch_mb=sizes.scratch_mb,
    )


def subject_commit(mark: InFlight, subject: Subject) -> str:
    """The commit of the code that is trained: the candidate's, or its parent's."""
    return mark.parent if subject is Subject.INCUMBENT else mark.commit


def train_once(session: Session, training: Training) -> TrainingResult:
    """Carry out one training of a round; listeners and MLflow are told as it goes."""
    number, seed, whose = training.number, training.seed, training.whose
    watch = training.watch.anew() if training.watch is not None else None
    with device_turn(session):
        began = utc_now()
        session.tracker.replicate_started(number, seed, began, whose)
        try:
            result = train_code(
                session,
                training.source,
                training.checkpoint,
                number=number,
                seed=seed,
                whose=whose,
                on_point=lambda point: session.tracker.point(number, seed, point, whose),
                watch=watch,
            )
        except MachineBusy as busy:
            events.publish(events.Notice(text=str(busy)))
            raise
    forecast = watch.forecast if watch is not None else None
    return result.model_copy(update={"forecast": forecast, "started_at": began})


def train_code(
    session: Session,
    source: str,
    checkpoint: Path,
    *,
    number: int,
    seed: int,
    whose: str = "",
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
        whose: the code's name where it is not the trial's own, for listeners.
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
                whose=whose,
                budget_seconds=order.budget_seconds,
                budget_tokens=order.budget_tokens,
            )
        )

    def tell_point(point: CurvePoint) -> None:
        if on_point is not None:
            on_point(point)
        events.publish(
            events.Trained(study=study, number=number, seed=seed, whose=whose, point=point)
        )

    with session.tokens(seed) as tokens:
        return train_replicate(
            order, source, tokens, session.sandbox, checkpoint, on_gate, tell_point, watch
        )


def evaluate_once(session: Session, training: Training) -> Evaluation:
    """Score the checkpoint of one training on ``val``, then drop it, if it is the incumbent's.

    An evaluation that raises keeps it: another try needs it. The trial's own is its model, should
    it be kept.
    """
    sizes = session.settings.sizes
    with device_turn(session):
        evaluation = evaluate(
            training.source,
            training.checkpoint,
            session.ready_corpus,
            "val",
            training_order(session, training.seed),
            sizes.evaluation_tokens,
            session.sandbox,
            screen_positions=sizes.screen_positions,
            keep_below_bpb=training.keep_below_bpb,
            allowed=session.answering_allowed,
        )
    if training.whose:
        training.checkpoint.unlink(missing_ok=True)
    return evaluation


def add_replicates(
    session: Session, mark: InFlight, measured: list[tuple[Training, Replicate]]
) -> InFlight:
    """Move the mark forward by a finished round; the best checkpoint so far stays."""
    own, others = list(mark.replicates), list(mark.incumbent_replicates)
    for training, replicate in measured:
        placed = replicate.model_copy(update={"place": session.place})
        (others if training.whose else own).append(placed)
        session.tracker.replicate_ended(mark, placed, training.whose)
    grown = mark.model_copy(
        update={"replicates": tuple(own), "incumbent_replicates": tuple(others)}
    )
    session.ledger.mark(grown)
    drop_checkpoints(session, mark.number, but_best_of=grown.replicates)
    return grown


def say_twin(session: Session, mark: InFlight, training: Training) -> None:
    """Show listeners the curve that a training is to be seen beside."""
    if training.twin is None:
        return
    profile = training.twin.training.loss_profile
    budget = session.settings.sizes.budget_seconds
    curve = tuple(
        CurvePoint(seconds=budget * (at + 0.5) / len(profile), step=0, loss=loss)
        for at, loss in enumerate(profile)
    )
    events.publish(
        events.TwinFollowed(study=mark.study, number=mark.number, seed=training.seed, curve=curve)
    )


def say_pairs(session: Session, mark: InFlight) -> None:
    """Tell listeners what the trial's pairs show so far."""
    if is_baseline(mark):
        return
    case = judged_case(session, mark)
    pairs = pairs_of(case.candidate, case.bank)
    if pairs:
        better = decision.weigh(case, pairs).belief.better
        events.publish(
            events.PairsMeasured(
                study=mark.study, number=mark.number, pairs=pairs, probability_better=better
            )
        )
