"""One trial of a study, as a subflow with its own run."""

from functools import partial
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.naming import label_run, name_of_trial
from flows.pushing import push_or_say
from flows.side_by_side import Outcomes, outcomes_of
from nightlab import events
from nightlab.errors import (
    BudgetReached,
    EvaluationError,
    ModelError,
    SandboxError,
    SessionOver,
)
from nightlab.records import Decision, InFlight, Proposal, Replicate, TrialRecord, Verdict
from nightlab.study.kept_models import keep_model
from nightlab.study.measurement import Training, add_replicates, next_round, say_pairs, say_twin
from nightlab.study.prefetch import begin_asking
from nightlab.study.preflight import (
    apply_repair,
    is_broken,
    is_repairable,
    note_preflight,
    preflight_due,
)
from nightlab.study.recording import decide_trial, failed, interrupted
from nightlab.study.session import Session, current_session
from nightlab.study.step_clock import StepClock
from nightlab.study.trial import (
    apply_proposal,
    begin_trial,
    current_mark,
    is_applied,
    is_given_up,
    put_back,
    track_start,
    with_unanswered,
)
from nightlab.study.waiting import ModelWait
from tasks.evaluate import evaluate
from tasks.finished import result_of
from tasks.preflight import preflight, repair
from tasks.propose import propose, propose_ahead
from tasks.record import record
from tasks.train import train


@flow(name="trial", flow_run_name="trial {number}")
def trial(
    study: str,
    number: int,
    proposal: Proposal | None = None,
    retry_of: int | None = None,
    ask_ahead: bool = False,
) -> State[Any]:
    """Propose, apply, rehearse, train, evaluate, decide, record; or go on where a kill cut in.

    The run fails only where the machinery did: a candidate that crashes is a result.

    Args:
        study: the study that the session works on.
        number: the trial's.
        proposal: an idea that is there already; empty to ask for one.
        retry_of: the failed trial that this one tries again.
        ask_ahead: whether the next trial's idea is asked for while this one trains.

    Raises:
        BudgetReached, SessionOver: no idea can be paid for, or no model answers for long; the
            trial waits for a session that gets one.
    """
    session = current_session()
    mark = begin_trial(session, number, proposal, retry_of)
    clock = StepClock(mark)
    if is_given_up(mark):
        return _recorded(session, mark, interrupted(mark), clock)
    try:
        mark = _proposed(session, mark, clock)
        if ask_ahead:
            begin_asking(session, session.ledger.next_number(), mark, propose_ahead)
        mark = _rehearsed(session, mark, clock)
        mark = _measured(session, mark, clock)
        verdict = decide_trial(session, mark)
    except (BudgetReached, SessionOver):
        put_back(session, number)
        raise
    except (ModelError, SandboxError, EvaluationError) as error:
        mark = current_mark(session, number) or mark
        verdict = failed(error)
    return _recorded(session, mark, verdict, clock)


def end_state(verdict: Decision) -> State[Any]:
    """How the run of a trial ends."""
    message = f"{verdict.verdict.value} ({verdict.reason.value}): {verdict.sentence}"
    if verdict.verdict is Verdict.FAILED:
        return Failed(message=message)
    return Completed(message=message)


def record_of(session: Session, number: int, state: State[Any]) -> TrialRecord:
    """The record of a trial that has run; without one, what kept it from it is raised."""
    if all(record.number != number for record in session.ledger.records()):
        state.result()  # Its mark stands.
    return session.ledger.record(number)


def _proposed(session: Session, mark: InFlight, clock: StepClock) -> InFlight:
    if not is_applied(mark):
        with clock("propose"):
            _say(mark, "propose", session.proposer.name)
            idea = mark.proposal or ModelWait(session).ask(
                lambda: result_of(propose(session, mark))
            )
            mark = apply_proposal(session, mark, idea)
        push_or_say(session)
    _label(mark)
    track_start(session, mark)
    return mark


def _rehearsed(session: Session, mark: InFlight, clock: StepClock) -> InFlight:
    """Run the candidate dry, and have its proposer mend what breaks."""
    while True:
        if preflight_due(session, mark):
            with clock("preflight"):
                _say(mark, "preflight")
                mark = note_preflight(session, mark, result_of(preflight(session, mark)))
        if not is_repairable(mark):
            return mark
        with clock("propose"):
            _say(mark, "repair", session.proposer.name)
            mark = apply_repair(session, mark, result_of(repair(session, mark)))
        push_or_say(session)


def _measured(session: Session, mark: InFlight, clock: StepClock) -> InFlight:
    if is_broken(mark):
        return mark
    while trainings := next_round(session, mark):
        measured, outcomes = _round(session, mark, trainings, clock)
        mark = add_replicates(session, mark, measured)
        outcomes.require_all()
        say_pairs(session, mark)
        push_or_say(session)
    return mark


def _round(
    session: Session, mark: InFlight, trainings: tuple[Training, ...], clock: StepClock
) -> tuple[list[tuple[Training, Replicate]], Outcomes[Any]]:
    """Train what a trial needs next side by side, then score what was trained.

    What is whole comes with what was raised, if anything was.
    """
    for each in trainings:
        _say(mark, "train", each.whose, seed=each.seed)
        say_twin(session, mark, each)
    with clock("sandbox"):
        training = outcomes_of(
            session, [partial(train.submit, session, each) for each in trainings]
        )
    results = [
        (each, result)
        for each, result in zip(trainings, training.results, strict=True)
        if result is not None
    ]
    clock.split_training([result for _, result in results])
    trained = [(each, result) for each, result in results if result.failure is None]
    for each, _ in trained:
        _say(mark, "evaluate", each.whose, seed=each.seed)
    with clock("evaluate"):
        scoring = outcomes_of(
            session, [partial(evaluate.submit, session, each) for each, _ in trained]
        )
    scores = {
        each.label: evaluation
        for (each, _), evaluation in zip(trained, scoring.results, strict=True)
    }
    measured = [
        (each, Replicate(seed=each.seed, training=result, evaluation=scores.get(each.label)))
        for each, result in results
        if result.failure is not None or scores[each.label] is not None
    ]
    return measured, training if training.error is not None else scoring


def _recorded(session: Session, mark: InFlight, verdict: Decision, clock: StepClock) -> State[Any]:
    _say(mark, "record")
    # Taken before the task: what it is tried again with has them still.
    mark = with_unanswered(session, mark)
    keep_model(session, result_of(record(session, mark, verdict, clock.totals())))
    _label(mark, f"verdict:{verdict.verdict.value}")
    return end_state(verdict)


def _label(mark: InFlight, *tags: str) -> None:
    """Say on Prefect's page what the trial tries."""
    name = name_of_trial(mark.number, mark.proposal.title) if mark.proposal is not None else None
    label_run(f"study:{mark.study}", *tags, name=name)


def _say(mark: InFlight, step: str, detail: str = "", seed: int | None = None) -> None:
    title = mark.proposal.title if mark.proposal is not None else ""
    events.publish(
        events.StepBegun(
            study=mark.study, number=mark.number, step=step, title=title, detail=detail, seed=seed
        )
    )
