"""What to try next: what is unsure, what was near, what nobody tried; clauses with commands."""

from collections.abc import Iterator, Sequence

from nightlab.judging.scores import expected_false_keeps
from nightlab.judging.verdict_sentence import percent
from nightlab.proposers.arms import Arm, arm_of
from nightlab.proposers.history import is_stalled, trials_since_keep
from nightlab.records import Reason, TrialRecord, Verdict
from nightlab.records.counting import counted
from nightlab.report.study import Study

MANY_FALSE = 0.5
"""Expected false keeps from which finding them is the next thing to do."""
NEAR_PROBABILITY = 0.3
"""From which an idea that was not kept was near."""
SHOWN = 3
SHOWN_KNOBS = 10


def next_steps(study: Study, *, asked_models: bool) -> list[str]:
    """What to try next, the most useful first, as clauses with their commands in backticks.

    Args:
        study: as it stands; with a baseline.
        asked_models: whether a model or a command had ideas in it.
    """
    name, records = study.name, study.records
    tried = trials_since_keep(records)
    steps = [*_unsure(study)]
    if not asked_models:
        steps.append(
            "now with a model, since nobody has edited the code itself yet: "
            f"`nightlab research --study {name} --model PROVIDER/NAME`"
        )
    elif is_stalled(records) or (tried and not study.improvements()):
        steps.append(
            f"{counted(tried, 'idea')} in a row brought nothing; tell it what to try: "
            f"`nightlab suggest {name} 'YOUR IDEA'`"
        )
    else:
        steps.append(f"go on from here: `nightlab research --study {name}`")
    steps += [*_near(study), *_unjudged(study)]
    if asked_models and not any(arm_of(record) is Arm.TUNING for record in records):
        steps.append(
            "have an optimiser tune the constants as well: "
            f"`nightlab research --study {name} --proposer hybrid`"
        )
    if untouched := _untouched(study):
        named = ", ".join(untouched[:SHOWN_KNOBS])
        more = f" and {len(untouched) - SHOWN_KNOBS} more" if len(untouched) > SHOWN_KNOBS else ""
        steps.append(f"constants that no trial has moved: {named}{more}")
    return steps


def _unsure(study: Study) -> Iterator[str]:
    """What is to be found out before anybody relies on the gain."""
    again, find = study.confirmation, f"`nightlab consolidate {study.name}`"
    if again is not None and not again.holds:
        yield f"the gain did not hold; find the changes that do: {find}"
    elif expected_false_keeps(study.records) >= MANY_FALSE:
        yield f"find the changes that help nothing: {find}"


def _near(study: Study) -> Iterator[str]:
    """Ideas that were likely good, and not surely enough."""
    rescued = {record.rescue_of for record in study.records if record.verdict is Verdict.KEEP}
    near = [
        (record.decision.probability_better or 0.0, record)
        for record in study.records
        if record.reason is Reason.WITHIN_NOISE
        and (record.decision.probability_better or 0.0) >= NEAR_PROBABILITY
        and record.number not in rescued
    ]
    near = sorted(near, key=lambda each: -each[0])[:SHOWN]
    if not near:
        return
    told = ", ".join(
        f"trial {each.number}, “{each.title}” ({percent(chance)})" for chance, each in near
    )
    if len(near) == 1:
        yield f"maybe better, and not surely enough: {told}; more of the same may be"
        return
    numbers = " and ".join(str(each.number) for _, each in near[:2])
    yield (
        f"maybe better, and not surely enough: {told}; have a model try two at once: "
        f"`nightlab suggest {study.name} 'Trials {numbers} together'`"
    )


def _unjudged(study: Study) -> Iterator[str]:
    """Ideas of which nobody knows whether they are good."""
    retried = {record.retry_of for record in study.records}
    for verdict in (Verdict.FAILED, Verdict.CRASH):
        found = [
            record
            for record in study.records
            if record.verdict is verdict
            and record.commit != record.parent
            and record.number not in retried
        ]
        if not found:
            continue
        latest = found[-1].number
        if verdict is Verdict.FAILED:
            yield (
                f"{_named(found)} failed, and no idea is to blame: "
                f"`nightlab retry {study.name} {latest}`"
            )
        else:
            yield (
                f"{_named(found)} crashed, so nobody knows whether the idea is good: "
                f"`nightlab show {study.name} {latest}`"
            )


def _named(records: Sequence[TrialRecord]) -> str:
    latest = records[-1]
    if len(records) == 1:
        return f"trial {latest.number}, “{latest.title}”,"
    return f"{counted(len(records), 'trial')}, the latest of them {latest.number},"


def _untouched(study: Study) -> list[str]:
    """The incumbent's constants that stand in every trial as they do in its parent."""
    records = study.records
    by_commit = {record.commit: record.knobs for record in records if record.knobs}
    moved = {
        name
        for record in records
        for name, value in record.knobs.items()
        if by_commit.get(record.parent, record.knobs).get(name, value) != value
    }
    standing = study.incumbent.knobs if study.incumbent and moved else {}
    return [name for name in standing if name not in moved]
