"""Whether a study's gain holds: baseline and incumbent once more, on what chose neither.

An incumbent was chosen among many by its scores on ``val``, so those flatter it. Here both
codes are trained on the same fresh seeds and scored on ``holdout``, which chooses nothing;
every such scoring is written down (nightlab/ledger/holdout.py). The test is valid at every look
(nightlab/judging/sequential_test.py), so confirming again adds pairs and is no second chance.
"""

import math
import threading
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from statistics import median

from nightlab.errors import UsageError
from nightlab.evaluation.evaluation import HOLDOUT, evaluate
from nightlab.judging.case import learnt_from, noise_of
from nightlab.judging.crashes import FAILURES_IN_A_ROW, broken_down
from nightlab.judging.scores import find_baseline, standing_record
from nightlab.judging.sequential_test import ALPHA, SequentialResult, sequential_test
from nightlab.ledger import (
    ConfirmationRecord,
    HoldoutUse,
    Ledger,
    confirmations,
    record_holdout_use,
    write_confirmation,
)
from nightlab.records import Evaluation, Pair, Reason, Replicate, TrialRecord, utc_now
from nightlab.records.counting import counted
from nightlab.settings import SessionSettings, recorded_settings
from nightlab.study.lanes import device_turn
from nightlab.study.measurement import train_code, training_order
from nightlab.study.session import (
    Session,
    flat_settings,
    seed_from,
)

MEASURED_STEPS = ("sandbox", "startup", "train", "evaluate")

LEAST_PAIRS = 2
"""Before a confirmation may end early: a single pair rests on the study's noise alone."""

_WRITING = threading.Lock()
"""Uses of the holdout are numbered: trainings side by side write theirs one after the other."""


class Code(StrEnum):
    """Which of the two is trained."""

    BASELINE = "baseline"
    INCUMBENT = "incumbent"


def latest_confirmation(session: Session) -> ConfirmationRecord | None:
    """The confirmation of today's incumbent, finished or under way, or None."""
    standing = standing_record(session.ledger.records())
    for record in reversed(confirmations(session.ledger)):
        if standing is not None and record.incumbent_commit == standing.commit:
            return record
    return None


def confirmation_of(session: Session) -> ConfirmationRecord | None:
    """The confirmation that a session finished: since it began, or in an earlier try of its run."""
    latest = latest_confirmation(session)
    if latest is None or latest.finished_at is None:
        return None
    is_own = latest.session == session.identifier or latest.finished_at >= session.began
    return latest if is_own else None


def confirmation_due(session: Session) -> bool:
    """Whether a session that ends has a gain that nothing confirmed yet."""
    if not session.settings.confirm_replicates or _gain(session.ledger.records()) is None:
        return False
    latest = latest_confirmation(session)
    return latest is None or latest.finished_at is None


def seconds_to_confirm(session: Session) -> float:
    """What confirming the gain at the session's end is going to take; 0 where nothing is due.

    As long as the study's whole trainings took so far, in the median.
    """
    if not confirmation_due(session):
        return 0.0
    rounds = math.ceil(2 * session.settings.confirm_replicates / session.lanes)
    return rounds * seconds_of_round(session)


def seconds_of_round(session: Session) -> float:
    """How long a round of whole trainings and their scoring takes; 0 at first."""
    seconds = [
        sum(record.step_seconds.get(step, 0.0) for step in MEASURED_STEPS) / rounds
        for record in session.ledger.records()
        if (rounds := _rounds(record, session.lanes))
        and all(each.val_bpb is not None for each in record.replicates)
    ]
    return median(seconds) if seconds else 0.0


def _rounds(record: TrialRecord, lanes: int) -> int:
    return math.ceil((len(record.replicates) + len(record.incumbent_replicates)) / lanes)


def check_confirmable(
    study: str, records: tuple[TrialRecord, ...]
) -> tuple[TrialRecord, TrialRecord]:
    """Return the baseline's and the incumbent's record.

    Raises:
        UsageError: there is no baseline, or nothing that was kept as better than it.
    """
    gain = _gain(records)
    if gain is None:
        what = "kept nothing as better than its baseline" if records else "no trials"
        raise UsageError(
            f"Study {study!r} has {what}, so there is no gain to "
            f"confirm: `nightlab research --study {study}` continues it."
        )
    return gain


def _gain(records: tuple[TrialRecord, ...]) -> tuple[TrialRecord, TrialRecord] | None:
    """The baseline's and the incumbent's record; None where they are missing, or no gain between.

    Code that was kept because it is shorter claims none.
    """
    baseline, standing = find_baseline(records), standing_record(records)
    improved = any(record.reason is Reason.IMPROVED for record in records)
    if baseline is None or standing is None or not improved:
        return None
    return baseline, standing


def begin_confirmation(session: Session, wanted: int) -> ConfirmationRecord:
    """Take up the confirmation of the incumbent that is under way, or begin one.

    One that follows a finished one keeps its trainings: whoever confirms again until a gain
    holds sets all of them against each other, not the luckiest.

    Args:
        session: a session whose corpus is ready.
        wanted: new pairs of scored replicates; one that is under way is not made shorter by it.

    Raises:
        UsageError: there is no baseline, or nothing that was kept as better than it.
    """
    ledger = session.ledger
    baseline, standing = check_confirmable(ledger.study, ledger.records())
    left = latest_confirmation(session)
    # One that another engine began is left as it is. Its pairs count all the same, each of which
    # was made at one place: a new engine is no second chance either.
    is_ours = left is not None and left.engine_version == session.engine_version
    if left is not None and left.finished_at is None and is_ours:
        if left.carried + wanted <= left.wanted:
            return left
        longer = left.model_copy(update={"wanted": left.carried + wanted})
        write_confirmation(ledger, longer)
        return longer
    claimed = (baseline.val_bpb or math.nan) - (standing.val_bpb or math.nan)
    record = ConfirmationRecord(
        study=ledger.study,
        number=len(confirmations(ledger)),
        baseline_commit=baseline.commit,
        incumbent_commit=standing.commit,
        incumbent_trial=standing.number,
        wanted=wanted,
        claimed_gain_bpb=claimed,
        session=session.identifier,
        settings=dict(flat_settings(session.settings)),
        engine_version=session.engine_version,
        started_at=utc_now(),
    )
    if left is not None:
        record = _with_earlier(record, left)
    write_confirmation(ledger, record)
    return record


def _with_earlier(record: ConfirmationRecord, earlier: ConfirmationRecord) -> ConfirmationRecord:
    """Add the pairs of an earlier confirmation of the same codes, where both did train."""
    both = {pair.seed for pair in pairs(earlier)}
    kept = {
        f"{code.value}_replicates": tuple(
            each for each in replicates(earlier, code) if each.seed in both
        )
        for code in Code
    }
    return record.model_copy(
        update={"wanted": len(both) + record.wanted, "carried": len(both), **kept}
    )


@dataclass(frozen=True, slots=True)
class Due:
    """A training that a confirmation needs."""

    code: Code
    seed: int
    source: str
    checkpoint: Path


def next_round(session: Session, record: ConfirmationRecord) -> tuple[Due, ...]:
    """What to train next, side by side; nothing when the confirmation can be finished.

    Pair after pair, both codes of one before the next, and no seed that no pair needs: every
    training uses the holdout once more. A code that fails twice in a row ends it.
    """
    if _failure(record) is not None:
        return ()
    due: list[Due] = []
    index, whole = 0, len(pairs(record))
    while whole < record.wanted and len(due) < session.lanes:
        seed, index = fresh_seed(record, index), index + 1
        missing = _missing(record, seed, session.place)
        for code in missing:
            source = session.ledger.source(_commit(record, code))
            checkpoint = session.work / f"confirm-{code.value}-{seed}.pt"
            due.append(Due(code, seed, source, checkpoint))
        whole += bool(missing)
    return tuple(due[: session.lanes])


def _missing(record: ConfirmationRecord, seed: int, place: str) -> list[Code]:
    """The codes whose training makes a pair of a seed; none where there is one, or can be none."""
    done = {code: each for code in Code for each in replicates(record, code) if each.seed == seed}
    if any(each.place != place or each.val_bpb is None for each in done.values()):
        return []
    return [code for code in Code if code not in done]


def replicates(record: ConfirmationRecord, code: Code) -> tuple[Replicate, ...]:
    """The trainings of one code so far."""
    if code is Code.BASELINE:
        return record.baseline_replicates
    return record.incumbent_replicates


def pairs(record: ConfirmationRecord) -> list[Pair]:
    """The pairs so far: incumbent and baseline with one seed, at one place."""
    found = {each.seed: each for each in record.baseline_replicates}
    return [
        Pair(seed=each.seed, candidate_bpb=each.val_bpb, incumbent_bpb=other.val_bpb)
        for each in record.incumbent_replicates
        if (other := found.get(each.seed)) is not None
        and other.place == each.place
        and each.val_bpb is not None
        and other.val_bpb is not None
    ]


def confirm_once(session: Session, record: ConfirmationRecord, due: Due) -> Replicate:
    """Train one code with a fresh seed and score it on ``holdout``, which is written down.

    Raises:
        SandboxError: the sandbox broke.
        EvaluationError: the split cannot be read.
        LedgerError: git refused; then no score was told.
    """
    with device_turn(session):
        training = train_code(
            session,
            due.source,
            due.checkpoint,
            number=record.incumbent_trial,
            seed=due.seed,
            whose=due.code.value,
        )
        if training.failure is not None:
            return Replicate(seed=due.seed, training=training, place=session.place)
        evaluation = evaluate(
            due.source,
            due.checkpoint,
            session.ready_corpus,
            HOLDOUT,
            training_order(session, due.seed),
            session.settings.sizes.evaluation_tokens,
            session.sandbox,
            keep_below_bpb=math.inf,
            allowed=session.answering_allowed,
            record_use=lambda scored: _record_use(session, record, due, scored),
        )
    due.checkpoint.unlink(missing_ok=True)
    return Replicate(seed=due.seed, training=training, evaluation=evaluation, place=session.place)


def add_confirmed(
    session: Session, record: ConfirmationRecord, measured: list[tuple[Due, Replicate]]
) -> ConfirmationRecord:
    """Move the confirmation forward by a finished round."""
    grown = {
        f"{code.value}_replicates": (
            *replicates(record, code),
            *(replicate for due, replicate in measured if due.code is code),
        )
        for code in Code
    }
    record = record.model_copy(update=grown)
    write_confirmation(session.ledger, record)
    return record


def with_enough(session: Session, record: ConfirmationRecord) -> ConfirmationRecord:
    """Want no more pairs once those so far confirm the gain: the test is valid at every look."""
    count = len(pairs(record))
    if not LEAST_PAIRS <= count < record.wanted:
        return record
    is_sure = concluded(record, session.settings, session.ledger.records()).holds
    return record.model_copy(update={"wanted": count}) if is_sure else record


def fresh_seed(record: ConfirmationRecord, index: int) -> int:
    """The seed of a pair: no trial has had any of them, nor has another confirmation.

    Of the session that began it: another one, which goes on with it, may have another seed.
    """
    begun = recorded_settings(record.settings)
    return seed_from(begun.seed, "confirm", record.number, index)


def finish_confirmation(session: Session, record: ConfirmationRecord) -> ConfirmationRecord:
    """Say what came out, and write it down."""
    finished = concluded(record, session.settings, session.ledger.records())
    finished = finished.model_copy(update={"finished_at": utc_now()})
    write_confirmation(session.ledger, finished)
    return finished


def concluded(
    record: ConfirmationRecord, settings: SessionSettings, records: tuple[TrialRecord, ...]
) -> ConfirmationRecord:
    """The record with its gain, interval, evidence and sentence.

    The variance of a pair is pooled over these pairs and the study's own: the noise is that of
    training, so it is taken to be the same on both splits.

    Args:
        record: whose trainings are done.
        settings: of the session; its preset says what noise is usual.
        records: of the study.
    """
    failure = _failure(record)
    if failure is not None:
        return record.model_copy(update={"holds": False, "sentence": failure})
    noise = noise_of(learnt_from(records).gains_bpb, settings.sizes.pair_noise_bpb)
    gains = [-pair.difference_bpb for pair in pairs(record)]
    squares = noise.pair_bpb**2 * noise.degrees_of_freedom
    result = sequential_test(gains, squares, noise.degrees_of_freedom)
    holds = result.mean > 0 and result.evidence >= 1 / ALPHA
    return record.model_copy(
        update={
            "gain_bpb": result.mean,
            "interval_bpb": result.interval,
            "evidence": result.evidence,
            "holds": holds,
            "sentence": _sentence(record, result, len(gains), holds),
        }
    )


def _sentence(record: ConfirmationRecord, result: SequentialResult, count: int, holds: bool) -> str:
    low, high = result.interval
    claimed = record.claimed_gain_bpb
    head = "Confirmed on holdout" if holds else "NOT confirmed on holdout"
    claim = f"{claimed:.4f} was claimed by the pairs that chose it"
    earlier = f", {record.carried} of them from an earlier confirmation" if record.carried else ""
    if holds and high < claimed:
        claim += ", which is above the interval"
    if not holds and low <= claimed <= high:
        claim += (
            ", which so few pairs neither bear out nor rule out: "
            f"`nightlab confirm {record.study}` adds more, and they count with these"
        )
    share = f", {100 * result.mean / _baseline_bpb(record):.1f} %" if pairs(record) else ""
    failed = sum(each.failure is not None for each in record.incumbent_replicates)
    if failed:
        claim += f"; besides, {failed} of the incumbent's trainings failed"
    return (
        f"{head}: the gain is {result.mean:.4f} bpb{share} (95 % interval {low:+.4f} to "
        f"{high:+.4f}, valid however often one looks; {counted(count, 'pair')} of fresh "
        f"seeds{earlier}); {claim}."
    )


def _baseline_bpb(record: ConfirmationRecord) -> float:
    found = pairs(record)
    return math.fsum(pair.incumbent_bpb for pair in found) / len(found)


def _failure(record: ConfirmationRecord) -> str | None:
    """The sentence on a code that no longer trains, or None."""
    for code in Code:
        broken = broken_down(replicates(record, code))
        if broken is not None:
            return (
                f"NOT confirmed: the {code.value} failed {FAILURES_IN_A_ROW} fresh trainings in a "
                f"row, the last one with: {broken.failure_message}"
            )
    return None


def _commit(record: ConfirmationRecord, code: Code) -> str:
    return record.baseline_commit if code is Code.BASELINE else record.incumbent_commit


def _record_use(
    session: Session, record: ConfirmationRecord, due: Due, evaluation: Evaluation
) -> None:
    use = HoldoutUse(
        study=session.ledger.study,
        commit=_commit(record, due.code),
        trial=record.incumbent_trial if due.code is Code.INCUMBENT else 0,
        seed=due.seed,
        session=session.identifier,
        evaluation=evaluation,
        used_at=utc_now(),
    )
    with _WRITING:
        # Git's helpers serve one thread each.
        record_holdout_use(Ledger(session.places.root, session.ledger.study), use)
