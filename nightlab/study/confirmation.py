"""Whether a study's gain holds: baseline and incumbent once more, on what chose neither.

An incumbent was chosen among many by its scores on ``val``, so those flatter it. Here both
codes are trained with the same fresh seeds and scored on ``holdout``, which chooses nothing;
every such scoring is written down (nightlab/ledger/holdout.py).
"""

import math
from enum import StrEnum
from pathlib import Path

from nightlab.errors import EvaluationError, UsageError
from nightlab.evaluation.evaluation import HOLDOUT, evaluate
from nightlab.judging.case import compare
from nightlab.judging.contention import mark_contended
from nightlab.judging.crashes import FAILURES_IN_A_ROW, broken_down
from nightlab.judging.scores import (
    Noise,
    find_baseline,
    incumbent_evidence,
    measure_noise,
    no_finer_than_audits,
    pairs_of,
    pool_noise,
    scores_of,
    standing_record,
)
from nightlab.judging.sequential_test import Comparison
from nightlab.ledger import (
    ConfirmationRecord,
    HoldoutUse,
    confirmations,
    record_holdout_use,
    write_confirmation,
)
from nightlab.records import Evaluation, Reason, Replicate, TrialRecord, utc_now
from nightlab.settings import recorded_settings
from nightlab.study.measurement import train_code, training_order
from nightlab.study.session import (
    Session,
    device_turn,
    flat_settings,
    seed_from,
)


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


def confirmation_due(session: Session) -> bool:
    """Whether a session that ends has a gain that nothing confirmed yet."""
    if not session.settings.confirm_replicates or _gain(session.ledger.records()) is None:
        return False
    latest = latest_confirmation(session)
    return latest is None or latest.finished_at is None


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
    # What another engine measured does not compare: such a confirmation is left as it is.
    if left is not None and left.engine_version != session.engine_version:
        left = None
    if left is not None and left.finished_at is None:
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
    """Add the pairs of a finished confirmation of the same codes, where both did train."""
    trained = [
        {each.seed for each in replicates(earlier, code) if each.failure is None} for code in Code
    ]
    both = set.intersection(*trained)
    kept = {
        f"{code.value}_replicates": tuple(
            each for each in replicates(earlier, code) if each.seed in both
        )
        for code in Code
    }
    carried = len(pairs(earlier))
    return record.model_copy(update={"wanted": carried + record.wanted, "carried": carried, **kept})


def next_code(record: ConfirmationRecord) -> Code | None:
    """Which code to train next, strictly in turn; None when the confirmation can be finished.

    To repeat the one code's trainings until they count would set it beside another hour of the
    machine. A code that fails twice in a row ends the confirmation.
    """
    trained = {code: len(replicates(record, code)) for code in Code}
    is_whole = trained[Code.BASELINE] == trained[Code.INCUMBENT]
    if _failure(record) is not None or (is_whole and len(pairs(record)) >= record.wanted):
        return None
    return min(Code, key=lambda code: trained[code])


def replicates(record: ConfirmationRecord, code: Code) -> tuple[Replicate, ...]:
    """The trainings of one code so far."""
    if code is Code.BASELINE:
        return record.baseline_replicates
    return record.incumbent_replicates


def pairs(record: ConfirmationRecord) -> list[tuple[Replicate, Replicate]]:
    """The trainings of baseline and incumbent with one seed, where both of them count.

    The two come one after the other, so what the machine does for a while it does to both.
    """
    return pairs_of(record.baseline_replicates, record.incumbent_replicates)


def confirm_once(session: Session, record: ConfirmationRecord, code: Code) -> ConfirmationRecord:
    """Train one code with a fresh seed, score it on ``holdout``, and write that down.

    Raises:
        SandboxError: the sandbox broke.
        EvaluationError: the split cannot be read.
        LedgerError: git refused; then no score was told.
    """
    own = replicates(record, code)
    own = (*own, _measure(session, record, code, fresh_seed(record, code)))
    known = incumbent_evidence(session.ledger.records(), _commit(record, code))
    counts_tokens = session.settings.sizes.counts_tokens
    marked = mark_contended((*known, *own), counts_tokens=counts_tokens)[len(known) :]
    grown = record.model_copy(update={f"{code.value}_replicates": marked})
    write_confirmation(session.ledger, grown)
    return grown


def fresh_seed(record: ConfirmationRecord, code: Code) -> int:
    """The next seed of a code: both get the same ones, and no trial has had any of them.

    Of the session that began it: another one, which goes on with it, may have another seed.
    """
    begun = recorded_settings(record.settings)
    return seed_from(begun.seed, "confirm", record.number, len(replicates(record, code)))


def finish_confirmation(session: Session, record: ConfirmationRecord) -> ConfirmationRecord:
    """Say what came out, and write it down."""
    finished = concluded(record, measure_noise(session.ledger.records()))
    finished = finished.model_copy(update={"finished_at": utc_now()})
    write_confirmation(session.ledger, finished)
    return finished


def concluded(record: ConfirmationRecord, noise: Noise | None) -> ConfirmationRecord:
    """The record with its gain, interval and sentence.

    The interval is that of a difference of two means by Student's t, with the variance pooled
    over both codes here and over all unselected trainings of the study: the noise is that of
    training, so it is taken to be the same on both splits.

    Args:
        record: whose trainings are done.
        noise: of one training, as the study knows it.
    """
    failure = _failure(record)
    if failure is not None:
        return record.model_copy(update={"holds": False, "sentence": failure})
    found = pairs(record)
    baseline, incumbent = [each for each, _ in found], [other for _, other in found]
    pooled = pool_noise(map(scores_of, (baseline, incumbent)), noise)
    if pooled is None:
        raise EvaluationError(
            f"Study {record.study!r} has no noise to compare the gain with: confirm with at least "
            "two replicates."
        )
    pooled = no_finer_than_audits(pooled, record.incumbent_replicates, record.baseline_replicates)
    comparison = compare(scores_of(incumbent), scores_of(baseline), pooled)
    holds = comparison.interval[0] > 0
    return record.model_copy(
        update={
            "gain_bpb": comparison.gain,
            "interval_bpb": comparison.interval,
            "holds": holds,
            "sentence": _sentence(record, comparison, holds),
        }
    )


def _sentence(record: ConfirmationRecord, comparison: Comparison, holds: bool) -> str:
    low, high = comparison.interval
    claimed = record.claimed_gain_bpb
    head = "Confirmed on holdout" if holds else "NOT confirmed on holdout"
    claim = f"{claimed:.4f} was claimed by the trainings that chose it"
    earlier = f", {record.carried} of them from an earlier confirmation" if record.carried else ""
    if holds and high < claimed:
        claim += ", which is above the interval"
    if not holds and low <= claimed <= high:
        claim += (
            ", which so few seeds neither bear out nor rule out: "
            f"`nightlab confirm {record.study}` adds more"
        )
    return (
        f"{head}: the gain is {comparison.gain:.4f} bpb (95 % interval {low:+.4f} to {high:+.4f}, "
        f"{comparison.candidate_count} fresh seeds against {comparison.incumbent_count}{earlier}); "
        f"{claim}."
    )


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


def _measure(session: Session, record: ConfirmationRecord, code: Code, seed: int) -> Replicate:
    source = session.ledger.source(_commit(record, code))
    checkpoint: Path = session.work / f"confirm-{code.value}-{seed}.pt"
    number = record.incumbent_trial
    with device_turn(session):
        training = train_code(session, source, checkpoint, number=number, seed=seed)
        if training.failure is not None:
            return Replicate(seed=seed, training=training)
        evaluation = evaluate(
            source,
            checkpoint,
            session.ready_corpus,
            HOLDOUT,
            training_order(session, seed),
            session.settings.sizes.evaluation_tokens,
            session.sandbox,
            keep_below_bpb=math.inf,
            record_use=lambda scored: _record_use(session, record, code, seed, scored),
        )
    checkpoint.unlink(missing_ok=True)
    return Replicate(seed=seed, training=training, evaluation=evaluation)


def _record_use(
    session: Session, record: ConfirmationRecord, code: Code, seed: int, evaluation: Evaluation
) -> None:
    use = HoldoutUse(
        study=session.ledger.study,
        commit=_commit(record, code),
        trial=record.incumbent_trial if code is Code.INCUMBENT else 0,
        seed=seed,
        session=session.identifier,
        evaluation=evaluation,
        used_at=utc_now(),
    )
    record_holdout_use(session.ledger, use)
