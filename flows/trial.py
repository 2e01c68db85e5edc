"""One trial of a study, as a subflow with its own run."""

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import SkipValidation

from nightlab import events
from nightlab.errors import EvaluationError, ModelError, SandboxError
from nightlab.recording import decide_trial, failed, interrupted
from nightlab.records import Decision, InFlight, Proposal, Replicate, Verdict
from nightlab.session import Session
from nightlab.step_clock import StepClock
from nightlab.trial import (
    MAX_ATTEMPTS,
    add_replicate,
    apply_proposal,
    begin_trial,
    current_mark,
    is_applied,
    missing_seeds,
    track_start,
)
from tasks.evaluate import evaluate
from tasks.propose import propose
from tasks.record import record
from tasks.train import train


@flow(name="trial", flow_run_name="{study} {number}", validate_parameters=False)
def trial(
    session: Annotated[Session, SkipValidation],
    study: str,
    number: int,
    proposal: Proposal | None = None,
    retry_of: int | None = None,
) -> State[Any]:
    """Propose, apply, train, evaluate, decide, record; or go on where a kill cut in.

    The run fails only where the machinery did: a candidate that crashes is a result.
    """
    clock = StepClock()
    mark = begin_trial(session, number, proposal, retry_of)
    if mark.attempts > MAX_ATTEMPTS:
        return _recorded(session, mark, interrupted(mark), clock)
    try:
        mark = _proposed(session, mark, clock)
        mark = _measured(session, mark, clock)
        verdict = decide_trial(session, mark)
    except (ModelError, SandboxError, EvaluationError) as error:
        mark = current_mark(session, number) or mark
        verdict = failed(error)
    return _recorded(session, mark, verdict, clock)


def _proposed(session: Session, mark: InFlight, clock: StepClock) -> InFlight:
    if not is_applied(mark):
        with clock("propose"):
            _say(mark, "propose", session.proposer.name)
            idea = mark.proposal or propose(session, mark)
            mark = apply_proposal(session, mark, idea)
    track_start(session, mark)
    return mark


def _measured(session: Session, mark: InFlight, clock: StepClock) -> InFlight:
    if mark.proposal is not None and mark.proposal.error is not None:
        return mark
    for seed in missing_seeds(session, mark):
        replicate = _replicate(session, mark, seed, clock)
        mark = add_replicate(session, mark, replicate)
        if replicate.failure is not None:
            break
    return mark


def _replicate(session: Session, mark: InFlight, seed: int, clock: StepClock) -> Replicate:
    _say(mark, "train", seed=seed)
    with clock("sandbox"):
        training = train(session, mark, seed)
    clock.split_training(training)
    if training.failure is not None:
        return Replicate(seed=seed, training=training)
    _say(mark, "evaluate", seed=seed)
    with clock("evaluate"):
        evaluation = evaluate(session, mark, seed)
    return Replicate(seed=seed, training=training, evaluation=evaluation)


def _recorded(session: Session, mark: InFlight, verdict: Decision, clock: StepClock) -> State[Any]:
    _say(mark, "record")
    record(session, mark, verdict, clock.totals())
    message = f"{verdict.verdict.value} ({verdict.reason.value}): {verdict.sentence}"
    if verdict.verdict is Verdict.FAILED:
        return Failed(message=message)
    return Completed(message=message)


def _say(mark: InFlight, step: str, detail: str = "", seed: int | None = None) -> None:
    title = mark.proposal.title if mark.proposal is not None else ""
    events.publish(
        events.StepBegun(
            study=mark.study, number=mark.number, step=step, title=title, detail=detail, seed=seed
        )
    )
