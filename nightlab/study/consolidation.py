"""Which kept changes a study could do without: each left out of the incumbent, in pairs.

A keep is right with the study's ``keep_probability`` at least, so among many a few are passengers.
Each code-without is trained on fresh seeds beside the incumbent, whose trainings all share, and
scored on ``val``: ``holdout`` never chooses. The rule is nightlab/judging/consolidating.py's, the
record nightlab/ledger/consolidations.py's.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from nightlab import events
from nightlab.evaluation.evaluation import evaluate
from nightlab.judging import consolidation_sentences as sentences
from nightlab.judging.crashes import broken_down
from nightlab.judging.scores import standing_record
from nightlab.ledger import (
    ConsolidationRecord,
    Ledger,
    LeftOut,
    Together,
    consolidations,
    offer_branch,
    write_consolidation,
)
from nightlab.records import Replicate, utc_now
from nightlab.settings import recorded_settings
from nightlab.study.consolidation_codes import (
    INCUMBENT,
    TOGETHER,
    check_consolidatable,
    left_out,
    most_pairs,
    pairs,
    replicates,
    source_of,
    without,
)
from nightlab.study.consolidation_outcomes import settle
from nightlab.study.lanes import device_turn
from nightlab.study.measurement import train_code, training_order
from nightlab.study.session import Session, flat_settings, seed_from


def latest_consolidation(ledger: Ledger) -> ConsolidationRecord | None:
    """The latest one of today's incumbent, finished or under way, or None."""
    standing = standing_record(ledger.records())
    for record in reversed(consolidations(ledger)):
        if standing is not None and record.incumbent_commit == standing.commit:
            return record
    return None


def consolidation_of(session: Session) -> ConsolidationRecord | None:
    """The one that a session finished: since it began, or in an earlier try of its run."""
    latest = latest_consolidation(session.ledger)
    if latest is None or latest.finished_at is None:
        return None
    is_own = latest.session == session.identifier or latest.finished_at >= session.began
    return latest if is_own else None


def begin_consolidation(session: Session, limit: int) -> ConsolidationRecord:
    """Take up the consolidation of the incumbent that is under way, or begin one.

    What another place measured makes no pairs here: such a one is left as it is.

    Args:
        session: a session whose corpus is ready.
        limit: most pairs of one code; one that is under way is not made shorter by it.

    Raises:
        UsageError: nothing was kept.
    """
    ledger = session.ledger
    changes = check_consolidatable(ledger.study, ledger.records())
    left = latest_consolidation(ledger)
    if left is not None and left.finished_at is None and left.place == session.place:
        if left.most_pairs < limit:
            left = left.model_copy(update={"most_pairs": limit})
            write_consolidation(ledger, left)
        return left
    incumbent = changes[-1]
    today = ledger.source(incumbent.commit)
    record = ConsolidationRecord(
        study=ledger.study,
        number=len(consolidations(ledger)),
        incumbent_commit=incumbent.commit,
        incumbent_trial=incumbent.number,
        place=session.place,
        most_pairs=limit,
        changes=tuple(left_out(ledger, each, today) for each in changes),
        session=session.identifier,
        settings=dict(flat_settings(session.settings)),
        engine_version=session.engine_version,
        started_at=utc_now(),
    )
    write_consolidation(ledger, record)
    _say_settled((), record.changes)
    return record


# What is trained


@dataclass(frozen=True, slots=True)
class Due:
    """A training that a consolidation needs."""

    code: str
    seed: int
    source: str
    checkpoint: Path


def next_round(session: Session, record: ConsolidationRecord) -> tuple[Due, ...]:
    """What to train next, side by side; nothing when the consolidation can be finished.

    The codes with the fewest pairs go first; a lane that is left over trains a pair ahead.
    """
    if broken_down(record.incumbent_replicates) is not None:
        return ()
    codes = sorted(_open_codes(record), key=lambda code: len(pairs(record, code)))
    wanted: list[tuple[str, int]] = []
    for ahead in range(session.lanes):
        for code in codes:
            if len(pairs(record, code)) + ahead < most_pairs(record, code):
                wanted += [each for each in _missing(record, code, ahead) if each not in wanted]
    return tuple(_due(session, record, *each) for each in wanted[: session.lanes])


def _open_codes(record: ConsolidationRecord) -> list[str]:
    codes = [without(change) for change in record.changes if change.outcome is None]
    if record.together is not None and record.together.holds is None:
        codes.append(TOGETHER)
    return codes


def _missing(record: ConsolidationRecord, code: str, ahead: int) -> list[tuple[str, int]]:
    """The trainings that a code's next pair lacks, the incumbent's first; or those of one ahead."""
    twins = {each.seed: each for each in record.incumbent_replicates}
    own = {each.seed: each for each in replicates(record, code)}

    def is_open(seed: int) -> bool:
        """Whether the pair is not whole, and neither of its trainings has failed."""
        done = [each for each in (twins.get(seed), own.get(seed)) if each is not None]
        return len(done) < 2 and all(each.failure is None for each in done)

    seed = next(islice(filter(is_open, _seeds(record, code)), ahead, None))
    return [(name, seed) for name, done in ((INCUMBENT, twins), (code, own)) if seed not in done]


def _seeds(record: ConsolidationRecord, code: str) -> Iterator[int]:
    """Fresh seeds: no trial has had any of them, nor has another consolidation.

    Those of the code without all passengers have chosen none of them.
    """
    begun = recorded_settings(record.settings)
    what = "together" if code == TOGETHER else "alone"
    return (seed_from(begun.seed, "consolidate", record.number, what, at) for at in count())


def _due(session: Session, record: ConsolidationRecord, code: str, seed: int) -> Due:
    name = f"consolidate-{code.replace(' ', '-')}-{seed}.pt"
    return Due(code, seed, source_of(session.ledger, record, code), session.work / name)


def consolidate_once(session: Session, record: ConsolidationRecord, due: Due) -> Replicate:
    """Train one code with a fresh seed and score it on ``val``.

    Raises:
        SandboxError: the sandbox broke.
        EvaluationError: the split cannot be read.
    """
    sizes, seed = session.settings.sizes, due.seed
    with device_turn(session):
        training = train_code(
            session,
            due.source,
            due.checkpoint,
            number=record.incumbent_trial,
            seed=seed,
            whose=due.code,
        )
        if training.failure is not None:
            return Replicate(seed=seed, training=training, place=session.place)
        evaluation = evaluate(
            due.source,
            due.checkpoint,
            session.ready_corpus,
            "val",
            training_order(session, seed),
            sizes.evaluation_tokens,
            session.sandbox,
            screen_positions=sizes.screen_positions,
            keep_below_bpb=math.inf,
            allowed=session.answering_allowed,
        )
    due.checkpoint.unlink(missing_ok=True)
    return Replicate(seed=seed, training=training, evaluation=evaluation, place=session.place)


# What comes of it


def add_trained(
    session: Session, record: ConsolidationRecord, measured: list[tuple[Due, Replicate]]
) -> ConsolidationRecord:
    """Move the consolidation forward by a finished round, and settle what that settles."""

    def grown(code: str) -> tuple[Replicate, ...]:
        return (*replicates(record, code), *(each for due, each in measured if due.code == code))

    together = record.together
    if together is not None:
        together = together.model_copy(update={"replicates": grown(TOGETHER)})
    changes = tuple(
        each.model_copy(update={"replicates": grown(without(each))}) for each in record.changes
    )
    trained = {
        "incumbent_replicates": grown(INCUMBENT),
        "changes": changes,
        "together": together,
    }
    settled = settle(session, record.model_copy(update=trained))
    write_consolidation(session.ledger, settled)
    _say_settled(record.changes, settled.changes)
    return settled


def _say_settled(before: Sequence[LeftOut], after: Sequence[LeftOut]) -> None:
    """Tell listeners what became of the changes that were settled meanwhile."""
    known = {each.trial for each in before if each.outcome is not None}
    for change in after:
        if change.outcome is not None and change.trial not in known:
            events.publish(events.Notice(text=change.sentence))


def finish_consolidation(session: Session, record: ConsolidationRecord) -> ConsolidationRecord:
    """Say what came out, and write it down."""
    ledger = session.ledger
    commit = None
    broken = broken_down(record.incumbent_replicates)
    if broken is not None:
        sentence = sentences.incumbent_failed_sentence(broken.failure_message)
    else:
        sentence = sentences.found_sentence([each.outcome for each in record.changes])
    if broken is None and record.together is not None:
        commit, told = _offered(ledger, record, record.together)
        sentence = f"{sentence} {told}"
    record = record.model_copy(
        update={"sentence": sentence, "consolidated_commit": commit, "finished_at": utc_now()}
    )
    write_consolidation(ledger, record)
    return record


def _offered(
    ledger: Ledger, record: ConsolidationRecord, together: Together
) -> tuple[str | None, str]:
    """The commit without the passengers, if it holds, and what is to be said of it."""
    stuck = "".join(
        f" Trial {trial} could not be taken out beside the others, and stays in."
        for trial in together.left_in
    )
    if not together.holds:
        return None, f"{together.sentence}{stuck} Nothing is offered."
    numbers = ", ".join(map(str, sorted(together.trials)))
    what = "trial" if len(together.trials) == 1 else "trials"
    why = [each.sentence for each in record.changes if each.trial in together.trials]
    commit = ledger.write_candidate(
        record.incumbent_commit,
        source_of(ledger, record, TOGETHER),
        f"Take out what {what} {numbers} changed: passengers of study {record.study}",
        "\n".join([*why, together.sentence]),
    )
    branch = f"{ledger.branch}-consolidated"
    return commit, (
        f"{together.sentence}{stuck} The code without the changes of {what} {numbers} is offered "
        f"on branch {branch}: `git merge {branch}` adopts it."
    )


def offer(ledger: Ledger, record: ConsolidationRecord) -> str | None:
    """Let the branch stand at what a finished consolidation offers; say why where it cannot."""
    commit = record.consolidated_commit
    return offer_branch(ledger, commit) if commit is not None else None
