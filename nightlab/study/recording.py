"""The end of a trial: its verdict, and its record in git and MLflow."""

import platform

from nightlab import events
from nightlab.errors import LedgerError, MachineryError, ModelError, ModelRefused, NoEdit
from nightlab.judging import decision
from nightlab.judging.scores import level_bpb, mean_bpb
from nightlab.ledger import settle_suggestions
from nightlab.proposers import knob_values
from nightlab.proposers.command.agent import last_lines
from nightlab.proposers.command.proposer import CommandProposer
from nightlab.proposers.program import program_version
from nightlab.records import (
    Approval,
    Decision,
    Evidence,
    InFlight,
    PreflightResult,
    Proposal,
    Reason,
    TrialRecord,
    Verdict,
    utc_now,
)
from nightlab.records.counting import counted
from nightlab.sandbox.failure import failed_import
from nightlab.study.conditions import allowed_answering, free_startup
from nightlab.study.measurement import is_baseline, judged_case, trained_here
from nightlab.study.prefetch import is_prefetched
from nightlab.study.rebase import with_set_aside
from nightlab.study.session import Session, flat_settings
from nightlab.study.showing import show_record
from nightlab.study.trial import UNANSWERED

LOG_TAIL_LINES = 40
WITHOUT_CANDIDATE = (Reason.NO_EDIT, Reason.MODEL, Reason.MODEL_REFUSED, Reason.INVALID_EDIT)


def decide_trial(session: Session, mark: InFlight) -> Decision:
    """The verdict on a trial whose replicates are done."""
    proposal = mark.proposal
    if proposal is not None and proposal.error is not None:
        return Decision(verdict=Verdict.CRASH, reason=Reason.INVALID_EDIT, sentence=proposal.error)
    if is_baseline(mark) and (broken := _broken_library(mark)) is not None:
        return broken
    if mark.preflight is not None and mark.preflight.failure is not None:
        return _failed_dry_run(mark.preflight, mark.repairs)
    if is_baseline(mark):
        return decision.decide_baseline(trained_here(session, mark))
    judged = decision.judge(judged_case(session, mark))
    if not isinstance(judged, Decision):
        raise RuntimeError(f"trial {mark.number} is judged before all replicates are done")
    return judged


def _broken_library(mark: InFlight) -> Decision | None:
    """The verdict on a baseline that got no further than the library's own imports.

    Of a baseline only, which nobody proposed: a candidate's traceback is the candidate's word.
    """
    logs = [each.training.log for each in mark.replicates if each.failure is not None]
    if mark.preflight is not None and mark.preflight.failure is not None:
        logs.append(mark.preflight.log)
    said = next(filter(None, map(failed_import, logs)), None)
    if said is None:
        return None
    return Decision(
        verdict=Verdict.FAILED,
        reason=Reason.MACHINERY,
        sentence=f"The library that candidates see could not be imported ({said}): `nightlab "
        "doctor` says what is missing, and `make setup` installs the release that was tried.",
    )


def _failed_dry_run(result: PreflightResult, repairs: int) -> Decision:
    mended = f" It was mended {counted(repairs, 'time')} before." if repairs else ""
    return Decision(
        verdict=Verdict.CRASH,
        reason=result.failure or Reason.EXCEPTION,
        sentence=f"In the dry run before its training: {result.message}{mended}",
    )


def failed(error: MachineryError) -> Decision:
    """The verdict on a trial that the machinery could not carry out."""
    reason, cause = Reason.MACHINERY, ""
    if isinstance(error, NoEdit):
        reason = Reason.NO_EDIT
    elif isinstance(error, ModelError):
        refused = isinstance(error, ModelRefused)
        reason, cause = Reason.MODEL_REFUSED if refused else Reason.MODEL, error.cause
    return Decision(verdict=Verdict.FAILED, reason=reason, sentence=str(error), cause=cause)


def interrupted(mark: InFlight) -> Decision:
    """The verdict on a trial that was cut off too often to be taken up once more."""
    return Decision(
        verdict=Verdict.FAILED,
        reason=Reason.INTERRUPTED,
        sentence=(
            f"Interrupted {counted(mark.attempts - 1, 'time')}, so it was not taken up again: "
            f"`nightlab retry {mark.study} {mark.number}` tries it once more."
        ),
    )


def record_trial(
    session: Session, mark: InFlight, verdict: Decision, step_seconds: dict[str, float]
) -> TrialRecord:
    """Write the trial's record, with its evidence, in one transaction; then tell MLflow."""
    ledger = session.ledger
    proposal = mark.proposal or Proposal(title="no proposal", proposer=session.proposer.name)
    proposal = with_set_aside(mark, proposal)
    source = ledger.source(mark.commit)
    lines = ledger.line_counts(mark.parent, mark.commit)
    record = TrialRecord(
        study=mark.study,
        number=mark.number,
        parent=mark.parent,
        commit=mark.commit,
        title=proposal.title,
        hypothesis=proposal.hypothesis,
        proposer=proposal.proposer,
        model=proposal.model,
        mode=proposal.mode,
        expected_bpb=proposal.expected_bpb,
        prompt_version=proposal.prompt_version,
        program_version=program_version(mark.program),
        suggestions=proposal.suggestions,
        rescue_of=proposal.rescue_of,
        note=proposal.note,
        decision=verdict,
        val_bpb=_level(session, mark, verdict),
        replicates=mark.replicates,
        incumbent_replicates=mark.incumbent_replicates,
        preflight=mark.preflight and mark.preflight.model_copy(update={"log": ""}),
        repairs=mark.repairs,
        knobs=knob_values(source),
        lines_added=lines.added,
        lines_removed=lines.removed,
        cost=proposal.cost,
        step_seconds=step_seconds,
        confinement=session.sandbox.confinement,
        device=session.device.description,
        host=platform.node(),
        corpus=session.settings.corpus,
        corpus_fingerprint=session.ready_corpus.fingerprint,
        engine_version=session.engine_version,
        budget_seconds=session.settings.sizes.budget_seconds,
        budget_tokens=session.settings.sizes.budget_tokens,
        retry_of=mark.retry_of,
        approval=_approval(session, mark, verdict),
        session=session.identifier,
        settings=dict(flat_settings(session.settings)),
        log_tail=_log_tail(mark, verdict),
        started_at=mark.started_at,
        finished_at=utc_now(),
    )
    evidence = Evidence(
        proposal=proposal,
        replicates=mark.replicates,
        incumbent_replicates=mark.incumbent_replicates,
        program=mark.program,
    )
    ledger.finish(record, evidence)
    recorded = ledger.record(record.number)
    if recorded.reason is Reason.BASELINE:
        at = session.place
        session.startup_free_seconds = free_startup(session.settings, (recorded,), at)
        session.answering_allowed = allowed_answering((recorded,), at, session.device)
    _settle(session, recorded)
    show_record(session.tracker, ledger, recorded)
    events.publish(events.TrialEnded(record=recorded))
    return recorded


def show_last_trial(session: Session) -> None:
    """Close in MLflow what a killed session left open, and complete its last trial."""
    ledger = session.ledger
    if not session.hold.killed:
        return
    session.tracker.took_over([mark.number for mark in ledger.marks() if is_prefetched(mark)])
    if records := ledger.records():
        show_record(session.tracker, ledger, records[-1])


def _level(session: Session, mark: InFlight, verdict: Decision) -> float | None:
    """The number that stands beside those of the study's other trials; see ``TrialRecord``."""
    if is_baseline(mark):
        return mean_bpb(trained_here(session, mark))
    difference = verdict.difference_bpb if verdict.pairs else None
    return level_bpb(session.ledger.records(), mark.parent, difference)


def _approval(session: Session, mark: InFlight, verdict: Decision) -> Approval | None:
    """Whether a keep waits for a person's word: what stands on one that waits does, too."""
    if verdict.verdict is not Verdict.KEEP or is_baseline(mark):
        return None
    records = session.ledger.records()
    below = next((each for each in records if each.commit == mark.parent and each.approval), None)
    unapproved = below is not None and below.approval is not Approval.APPROVED
    waits = session.settings.approve == "keeps" or unapproved
    return Approval.WAITS if waits else None


def _settle(session: Session, record: TrialRecord) -> None:
    """Take the suggestions that the trial was shown; its record stands, whatever git says."""
    try:
        settle_suggestions(session.ledger, [record])
    except LedgerError as error:
        text = f"The suggestions of trial {record.number} still wait, until the next session: "
        events.publish(events.Notice(text=f"{text}{error}"))


def _log_tail(mark: InFlight, verdict: Decision) -> str:
    if verdict.reason in WITHOUT_CANDIDATE:
        return _last_words(mark)
    if mark.preflight is not None and mark.preflight.failure is not None:
        return "\n".join(mark.preflight.log.splitlines()[-LOG_TAIL_LINES:])
    for replicate in mark.replicates:
        if replicate.failure is not None:
            step = replicate.training if replicate.training.failure else replicate.evaluation
            return "\n".join(step.log.splitlines()[-LOG_TAIL_LINES:]) if step else ""
    return ""


def _last_words(mark: InFlight) -> str:
    """The end of what a command printed whose run left nothing to train; else nothing."""
    idea = mark.proposal or next(iter(reversed(mark.set_aside)), None)
    if idea is None or not idea.exchanges:
        return ""
    is_of_command = idea.proposer == CommandProposer.name or idea.title == UNANSWERED
    return last_lines(idea.exchanges[-1].answer) if is_of_command else ""
