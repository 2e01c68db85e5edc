"""What the pairs of a consolidation settle, and when."""

from statistics import fmean

from nightlab.judging import consolidation_sentences as sentences
from nightlab.judging.case import learnt_from
from nightlab.judging.consolidating import (
    Outcome,
    judge_change,
    judge_together,
    no_worse,
    weigh_pairs,
)
from nightlab.judging.crashes import broken_down
from nightlab.ledger import ConsolidationRecord, LeftOut, Together
from nightlab.records import Pair
from nightlab.study.consolidation_codes import (
    TOGETHER,
    most_pairs,
    pairs,
    settled,
    taken_out,
    without,
)
from nightlab.study.session import Session


def settle(session: Session, record: ConsolidationRecord) -> ConsolidationRecord:
    """The consolidation with all that its pairs tell by now.

    Once every change is settled the passengers are taken out together.
    """
    changes = tuple(
        each if each.outcome is not None else _judged(session, record, each)
        for each in record.changes
    )
    record = record.model_copy(update={"changes": changes})
    if record.together is not None:
        judged = _judged_together(session, record, record.together)
        return record.model_copy(update={"together": judged})
    outcomes = [each.outcome for each in changes]
    if None in outcomes or Outcome.PASSENGER not in outcomes:
        return record
    return record.model_copy(update={"together": taken_out(session.ledger, record)})


def _judged(session: Session, record: ConsolidationRecord, change: LeftOut) -> LeftOut:
    """The change with its outcome, if its pairs tell one by now."""
    name = sentences.label(change.trial, change.title)
    broken = broken_down(change.replicates)
    if broken is not None:
        sentence = sentences.needed_sentence(name, broken.failure_message)
        return settled(change, Outcome.NEEDED, sentence)
    fresh = tuple(_turned(pair) for pair in pairs(record, without(change)))
    if not fresh:
        return change
    settings, records = session.settings, session.ledger.records()
    kept_by = next(each.decision.pairs for each in records if each.number == change.trial)
    weighed = weigh_pairs(
        (*kept_by, *fresh),
        learnt_from(each for each in records if each.number != change.trial),
        settings.sizes.pair_noise_bpb,
        settings.keep_probability,
    )
    unit, (low, high) = weighed.noise.pair_bpb, weighed.belief.interval
    difference = fmean(pair.difference_bpb for pair in fresh)
    change = change.model_copy(
        update={
            "difference_bpb": difference,
            "interval_bpb": (-high * unit, -low * unit),
            "probability_helps": weighed.belief.better,
        }
    )
    outcome = judge_change(
        weighed,
        len(fresh),
        saves_code=change.saves_code,
        keep_probability=settings.keep_probability,
        most_pairs=record.most_pairs,
    )
    if outcome is None:
        return change
    sentence = sentences.change_sentence(
        name, outcome, weighed, difference, len(fresh), change.saves_code
    )
    return settled(change, outcome, sentence)


def _turned(pair: Pair) -> Pair:
    """The same pair with the incumbent, which has the change, as the code that is judged."""
    return Pair(seed=pair.seed, candidate_bpb=pair.incumbent_bpb, incumbent_bpb=pair.candidate_bpb)


def _judged_together(session: Session, record: ConsolidationRecord, together: Together) -> Together:
    if together.holds is not None:
        return together
    broken = broken_down(together.replicates)
    if broken is not None:
        sentence = f"Without them the code does not train: {broken.failure_message}"
        return together.model_copy(update={"holds": False, "sentence": sentence})
    found = pairs(record, TOGETHER)
    if not found:
        return together
    settings = session.settings
    weighed = weigh_pairs(
        found,
        learnt_from(session.ledger.records()),
        settings.sizes.pair_noise_bpb,
        settings.keep_probability,
    )
    holds = judge_together(weighed, most_pairs(record, TOGETHER))
    sentence = ""
    if holds is not None:
        noise = weighed.noise.pair_bpb
        sentence = sentences.together_sentence(len(together.trials), weighed, holds, noise)
    return together.model_copy(
        update={
            "holds": holds,
            "sentence": sentence,
            "difference_bpb": weighed.difference_bpb,
            "probability_no_worse": no_worse(weighed),
        }
    )
