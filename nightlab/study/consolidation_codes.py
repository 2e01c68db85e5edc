"""The codes that a consolidation trains: the incumbent, and what it is without kept changes."""

from nightlab.errors import UsageError
from nightlab.judging import consolidation_sentences as sentences
from nightlab.judging.consolidating import MOST_PAIRS, Outcome
from nightlab.judging.scores import standing_record
from nightlab.ledger import ConsolidationRecord, Ledger, LeftOut, Together
from nightlab.records import Pair, Reason, Replicate, TrialRecord, Verdict
from nightlab.source.code_size import is_clearly_less
from nightlab.source.contract import check_source
from nightlab.source.three_way import without_change

INCUMBENT = "incumbent"
TOGETHER = "without all passengers"
"""Names of codes; the others are named by ``without``."""


def without(change: LeftOut) -> str:
    """The name of the incumbent without a change."""
    return f"without trial {change.trial}"


def kept_changes(records: tuple[TrialRecord, ...]) -> tuple[TrialRecord, ...]:
    """The keeps that lead from the baseline to the incumbent, in order."""
    kept = {each.commit: each for each in records if each.verdict is Verdict.KEEP}
    standing, chain = standing_record(records), []
    while standing is not None and standing.reason is not Reason.BASELINE:
        chain.append(standing)
        standing = kept.get(standing.parent)
    return tuple(reversed(chain))


def check_consolidatable(study: str, records: tuple[TrialRecord, ...]) -> tuple[TrialRecord, ...]:
    """Return the kept changes.

    Raises:
        UsageError: there are none.
    """
    changes = kept_changes(records)
    if not changes:
        what = "kept no change since its baseline" if records else "no trials"
        raise UsageError(
            f"Study {study!r} has {what}, so there is nothing to leave out: `nightlab research "
            f"--study {study}` continues it."
        )
    return changes


def left_out(ledger: Ledger, kept: TrialRecord, today: str) -> LeftOut:
    """A kept change, with what can be known of leaving it out before anything is trained."""
    changed, before = ledger.source(kept.commit), ledger.source(kept.parent)
    change = LeftOut(
        trial=kept.number,
        commit=kept.commit,
        parent=kept.parent,
        title=kept.title,
        saves_code=is_clearly_less(changed, before),
    )
    name = sentences.label(change.trial, change.title)
    source = without_change(changed, before, today)
    if source is None:
        return settled(change, Outcome.ENTANGLED, f"{name} {sentences.ENTANGLED}")
    if source == today:
        return settled(change, Outcome.UNDONE, f"{name} {sentences.UNDONE}")
    problem = check_source(source)
    if problem is not None:
        sentence = f"{name} cannot be left out alone, so it stays: {problem}"
        return settled(change, Outcome.ENTANGLED, sentence)
    return change


def settled(change: LeftOut, outcome: Outcome, sentence: str) -> LeftOut:
    """The change with what became of it."""
    return change.model_copy(update={"outcome": outcome, "sentence": sentence})


def taken_out(ledger: Ledger, record: ConsolidationRecord) -> Together:
    """Take the passengers out one after the other, the latest first."""
    source = ledger.source(record.incumbent_commit)
    out: list[int] = []
    left_in: list[int] = []
    for change in reversed(record.changes):
        if change.outcome is not Outcome.PASSENGER:
            continue
        merged = _without(ledger, change, source)
        (left_in if merged is None else out).append(change.trial)
        source = source if merged is None else merged
    return Together(trials=tuple(out), left_in=tuple(left_in))


def source_of(ledger: Ledger, record: ConsolidationRecord, code: str) -> str:
    """The text of a code."""
    source = ledger.source(record.incumbent_commit)
    for change in _taken_from(record, code):
        merged = _without(ledger, change, source)
        if merged is None:
            raise RuntimeError(f"trial {change.trial} could be left out before")
        source = merged
    return source


def _taken_from(record: ConsolidationRecord, code: str) -> list[LeftOut]:
    """The changes that a code lacks, in the order in which they are taken out."""
    if code == INCUMBENT:
        return []
    if code == TOGETHER and record.together is not None:
        by_trial = {each.trial: each for each in record.changes}
        return [by_trial[trial] for trial in record.together.trials]
    return [_change(record, code)]


def _without(ledger: Ledger, change: LeftOut, source: str) -> str | None:
    """A text without a change; None where it cannot be taken out of it."""
    merged = without_change(ledger.source(change.commit), ledger.source(change.parent), source)
    return merged if merged is not None and check_source(merged) is None else None


def replicates(record: ConsolidationRecord, code: str) -> tuple[Replicate, ...]:
    """The trainings of one code so far."""
    if code == INCUMBENT:
        return record.incumbent_replicates
    if code == TOGETHER:
        return record.together.replicates if record.together is not None else ()
    return _change(record, code).replicates


def most_pairs(record: ConsolidationRecord, code: str) -> int:
    """Of a code, after which it is decided in any case.

    What is to be offered gets the usual number at least: two pairs hardly ever suffice for it.
    """
    return max(record.most_pairs, MOST_PAIRS) if code == TOGETHER else record.most_pairs


def _change(record: ConsolidationRecord, code: str) -> LeftOut:
    return next(each for each in record.changes if without(each) == code)


def pairs(record: ConsolidationRecord, code: str) -> tuple[Pair, ...]:
    """The pairs of a code with the incumbent so far."""
    twins = {each.seed: each.val_bpb for each in record.incumbent_replicates}
    return tuple(
        Pair(seed=each.seed, candidate_bpb=each.val_bpb, incumbent_bpb=twin)
        for each in replicates(record, code)
        if each.val_bpb is not None and (twin := twins.get(each.seed)) is not None
    )
