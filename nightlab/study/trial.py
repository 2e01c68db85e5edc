"""The steps of a trial, as functions of a session and the trial's in-flight mark.

The mark stands in git and is moved forward after every step that was paid for: the
proposal, each replicate. A killed trial goes on from there, on this machine or, through
the remote, on another.
"""

import platform
from typing import Any

from nightlab import events
from nightlab.errors import UsageError
from nightlab.ledger import Ledger
from nightlab.proposers import apply_edits, check_syntax, knob_values
from nightlab.proposers.program import read_program
from nightlab.records import InFlight, Proposal, ProposalCost, TrialRecord, Verdict, utc_now
from nightlab.study.rebase import asked_of_another, rebase, with_set_aside
from nightlab.study.session import Session, flat_settings
from nightlab.tracking import TrialFacts

MAX_ATTEMPTS = 3
"""A trial that was interrupted this often without getting any further is recorded as failed: it may
be its own fault."""


UNANSWERED = "Calls without an answer"
"""Title of what stands for calls that may be billed, and for runs of a command, without one."""


def begin_trial(
    session: Session,
    number: int,
    proposal: Proposal | None = None,
    retry_of: int | None = None,
) -> InFlight:
    """Mark a trial as in flight, or take up the mark that an interrupted session left."""
    ledger = session.ledger
    left = current_mark(session, number)
    if left is None:
        mark = new_mark(session, number, ledger)
        begun: dict[str, Any] = {"attempts": 1, "proposal": proposal, "retry_of": retry_of}
    else:
        mark = _carried_over(session, left)
        begun = {"attempts": mark.attempts + 1, "session": session.identifier}
        if left.attempts == 0 or left.session != session.identifier:
            # A session's hours count from its trials' starts: not from when an idea was asked for
            # ahead of time, nor from an earlier session's.
            begun["started_at"] = utc_now()
    mark = mark.model_copy(update=begun)
    ledger.mark(mark)
    return mark


def _carried_over(session: Session, left: InFlight) -> InFlight:
    """A mark that an earlier session left, on today's incumbent.

    What was trained on a former incumbent cannot be judged: no keep could follow
    from it. Its idea is tried again.
    """
    incumbent = session.ledger.incumbent()
    if left.attempts and is_applied(left) and left.parent == incumbent:
        return left
    if left.replicates:
        text = f"Trial {left.number} was begun on an incumbent that another trial has replaced"
        events.publish(events.Notice(text=f"{text}: its idea is trained again on the new one."))
    untrained = left.model_copy(
        update={
            "commit": left.parent,
            "attempts": 0,
            "preflight": None,
            "repairs": 0,
            "is_given_up": False,
            "replicates": (),
            "incumbent_replicates": (),
        }
    )
    other = asked_of_another(left, session.proposer, session.settings.command)
    if other is not None and left.proposal is not None:
        text = f"The idea in hand for trial {left.number} is by {other}, which is not asked now"
        events.publish(events.Notice(text=f"{text}: it is set aside, and another one asked for."))
        set_aside = (*left.set_aside, left.proposal)
        untrained = untrained.model_copy(update={"proposal": None, "set_aside": set_aside})
    told = read_program(session.settings, session.places)
    return rebase(untrained, incumbent, session.ledger.source(incumbent), told)


def new_mark(session: Session, number: int, ledger: Ledger) -> InFlight:
    """A mark on today's incumbent of a trial that has not begun; it is not written yet.

    Args:
        session: the session.
        number: of the trial.
        ledger: the study's, of the calling thread.
    """
    incumbent = ledger.incumbent()
    return InFlight(
        study=ledger.study,
        number=number,
        parent=incumbent,
        commit=incumbent,
        attempts=0,
        session=session.identifier,
        settings=dict(flat_settings(session.settings)),
        corpus_fingerprint=session.ready_corpus.fingerprint,
        program=read_program(session.settings, session.places),
        started_at=utc_now(),
    )


def current_mark(session: Session, number: int) -> InFlight | None:
    """The trial's in-flight mark as it stands in git, or None."""
    for mark in session.ledger.marks():
        if mark.number == number:
            return mark
    return None


def is_given_up(mark: InFlight) -> bool:
    """Whether a trial was interrupted so often that it is not taken up again."""
    trained = len(mark.replicates) + len(mark.incumbent_replicates)
    return mark.attempts > MAX_ATTEMPTS + trained


def put_back(session: Session, number: int) -> None:
    """Leave a trial to a later session: as if it had not begun, or with what it measured so far."""
    mark = current_mark(session, number)
    if mark is not None:
        mark = with_unanswered(session, mark)
        attempts = max(1, mark.attempts - 1) if is_applied(mark) else 0
        session.ledger.mark(mark.model_copy(update={"attempts": attempts}))


def with_unanswered(session: Session, mark: InFlight) -> InFlight:
    """Put down what calls came to that may be billed though no answer came of them."""
    cost, failed_runs = session.spending.take_unanswered(), session.spending.take_failed_runs()
    if not cost.calls:
        return mark
    unanswered = Proposal(
        title=UNANSWERED, proposer=session.proposer.name, cost=cost, exchanges=failed_runs
    )
    return mark.model_copy(update={"set_aside": (*mark.set_aside, unanswered)})


def keep_unanswered(session: Session) -> None:
    """At a session's end, put what such calls came to into the next trial's mark."""
    ledger = session.ledger
    waiting = ledger.marks()
    mark = waiting[0] if waiting else new_mark(session, ledger.next_number(), ledger)
    grown = with_unanswered(session, mark)
    if grown is not mark:
        ledger.mark(grown)


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


def number_of_retry(session: Session, number: int) -> int:
    """The number of the trial that retries another one: of one that was cut off, or a new one."""
    begun = [mark.number for mark in session.ledger.marks() if mark.retry_of == number]
    return begun[0] if begun else session.ledger.next_number()


def retried_by(session: Session, number: int) -> TrialRecord | None:
    """What became of a trial that a session, or an earlier try of its run, tried again."""
    for record in session.ledger.records():
        if record.retry_of == number and record.session == session.identifier:
            return record
    return None


def retry_proposal(session: Session, record: TrialRecord) -> Proposal | None:
    """The proposal of a failed trial, for today's incumbent; None where it never had one."""
    earlier = session.ledger.evidence(record.number).proposal
    if not earlier.edits and earlier.proposer != "baseline":
        return None
    # What it cost stands in the record of the trial that failed.
    return earlier.model_copy(update={"error": None, "cost": ProposalCost()})


def apply_proposal(session: Session, mark: InFlight, proposal: Proposal) -> InFlight:
    """Make the candidate's commit and move the mark to it.

    A proposal that cannot be applied keeps the parent's commit; its ``error`` says why.
    """
    commit = mark.parent
    proposal = with_set_aside(mark, proposal)
    if proposal.edits and proposal.error is None:
        source = session.ledger.source(mark.parent)
        outcome = apply_edits(source, proposal.edits)
        problem = outcome.error or check_syntax(outcome.source)
        if problem is not None:
            proposal = proposal.model_copy(update={"error": problem})
        else:
            commit = session.ledger.write_candidate(
                mark.parent, outcome.source, proposal.title, proposal.hypothesis
            )
    applied = mark.model_copy(update={"commit": commit, "proposal": proposal, "set_aside": ()})
    session.ledger.mark(applied)
    return applied


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
            budget_tokens=session.settings.sizes.budget_tokens,
            engine_version=session.engine_version,
            host=platform.node(),
            preset=session.settings.preset,
            settings=dict(flat_settings(session.settings)),
        ),
    )
