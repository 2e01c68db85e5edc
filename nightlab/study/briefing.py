"""What a proposer is told of a study, gathered from its ledger for each trial."""

import ast
from collections import Counter

from nightlab.judging.scores import standing_record
from nightlab.ledger import Ledger, suggestions_for
from nightlab.proposers import Brief, NearMiss, TriedChange, UnderWay
from nightlab.proposers.arms import Arm, arm_of
from nightlab.proposers.program import read_program
from nightlab.records import InFlight, Reason, TrialRecord, Verdict
from nightlab.source.source_tree import parse_tree
from nightlab.study.session import Session, free_startup_now, study_noise_bpb

NEAR_MISSES = 5
"""So many of the newest ones are told."""
NEAR_NOISES = 2.0
"""An edit that was worse by no more than so many standard deviations missed nearly."""
MAX_RESCUES = 2
"""An edit that missed is tried again so often."""


def brief(
    session: Session,
    mark: InFlight,
    ledger: Ledger | None = None,
    *,
    under_way: UnderWay | None = None,
) -> Brief:
    """What a proposer is told.

    Args:
        session: the session.
        mark: the trial that the idea is for.
        ledger: the study's, where the calling thread has its own.
        under_way: a trial that trains meanwhile.
    """
    ledger = ledger or session.ledger
    records = ledger.records()
    standing = standing_record(records)
    runtime = (session.places.root / "trainer" / "runtime.py").read_text(encoding="utf-8")
    sizes = session.settings.sizes
    return Brief(
        study=mark.study,
        number=mark.number,
        seed=session.settings.seed,
        program=mark.program or read_program(session.settings, session.places),
        runtime_contract=ast.get_docstring(parse_tree(runtime)) or "",
        runtime_source=runtime,
        incumbent_commit=mark.parent,
        incumbent_source=ledger.source(mark.parent),
        incumbent_bpb=standing.val_bpb if standing is not None else None,
        noise_bpb=study_noise_bpb(session.settings, records),
        records=records,
        device=session.device.description,
        budget_seconds=sizes.budget_seconds,
        budget_tokens=sizes.budget_tokens,
        startup_free_seconds=free_startup_now(session),
        sequence_length=sizes.sequence_length,
        vocab_size=sizes.vocab_size,
        suggestions=suggestions_for(ledger, mark.number),
        tried=_tried(session, ledger, records),
        near_misses=near_misses(ledger, records) if session.proposer.name == "hybrid" else (),
        under_way=under_way,
    )


def near_misses(ledger: Ledger, records: tuple[TrialRecord, ...]) -> tuple[NearMiss, ...]:
    """The newest edits of models that were set aside by little, and not tried again too often.

    Args:
        ledger: the study's.
        records: its finished trials.
    """
    rescues = Counter(record.rescue_of for record in records)
    found: list[NearMiss] = []
    for record in reversed(records):
        difference, noise = record.decision.difference_bpb, record.decision.noise_bpb
        if record.verdict is not Verdict.DISCARD or arm_of(record) is not Arm.STRUCTURE:
            continue
        if difference is None or noise is None or difference > NEAR_NOISES * noise:
            continue
        if record.reason is Reason.PRUNED:
            continue  # never scored: the difference is a forecast, and says no more than "behind"
        if record.reason is Reason.REFUSED:
            continue  # by a person, to whom it would come again
        if rescues[record.number] >= MAX_RESCUES:
            continue
        edits = ledger.evidence(record.number).proposal.edits
        found.append(
            NearMiss(
                number=record.number, title=record.title, edits=edits, difference_bpb=difference
            )
        )
        if len(found) == NEAR_MISSES:
            break
    return tuple(found)


def _tried(
    session: Session, ledger: Ledger, records: tuple[TrialRecord, ...]
) -> tuple[TriedChange, ...]:
    """What finished trials changed; nothing for a proposer that does not read."""
    if not session.proposer.reads:
        return ()
    for record in records:
        if record.number not in session.tried and record.commit != record.parent:
            change = TriedChange(number=record.number, diff=ledger.diff(record))
            session.tried[record.number] = change
    return tuple(session.tried[number] for number in sorted(session.tried))
