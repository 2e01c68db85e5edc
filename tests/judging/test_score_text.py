"""How scores and audits are said."""

import pytest

from nightlab.judging.score_text import (
    audit_sentence,
    false_keeps_sentence,
    format_chance,
    format_error,
    format_score,
    needed_probability,
    verdict_lines,
)
from nightlab.records import Evaluation, Reason, Verdict
from nightlab.settings import SessionSettings
from tests.samples import sample_record


def kept(number: int, probability: float):
    record = sample_record(
        number, scores=(1.9,), incumbent=(2.0,), verdict=Verdict.KEEP, reason=Reason.IMPROVED
    )
    decision = record.decision.model_copy(update={"probability_better": probability})
    return record.model_copy(update={"decision": decision})


def test_a_score_is_shown_with_its_error_and_nothing_is_never_nought():
    assert format_score(1.75994, 0.0003) == "1.7599 ± 0.0003"
    assert format_score(1.75994) == "1.7599"
    assert format_score(None, 0.0003) == "–"
    assert format_error(3e-8) == "<0.0001"
    assert format_error(None) == "–"


def test_a_verdict_is_explained_without_a_word_of_statistics():
    record = kept(1, 0.97).model_copy(update={"settings": {"keep_probability": 0.9}})
    assert verdict_lines(record) == [
        "Both codes were trained on the same seeds, so each pair differs by the change and by "
        "little else: by chance a pair is off by 0.0050 bpb or so.",
        "Chance that it is better: 97 %. To be kept as an improvement it needed 90 %.",
        "Expected gain: +0.0750 bpb, and with 95 % certainty between +0.0900 and +0.1100. That "
        "allows for luck: most ideas help little, so a large difference is in part chance.",
    ]


def test_simpler_code_says_that_something_else_was_needed():
    simpler = kept(1, 0.4)
    decision = simpler.decision.model_copy(update={"reason": Reason.SIMPLER})
    lines = verdict_lines(simpler.model_copy(update={"decision": decision}))
    assert lines[1].endswith(
        "this one was kept because it is clearly less code and likely no worse."
    )


def test_what_has_no_pairs_is_explained_by_what_it_has():
    assert verdict_lines(sample_record(1)) == []
    old = sample_record(1, scores=(1.9,))
    known = {"difference_bpb": 0.01, "interval_bpb": (-0.01, 0.03)}
    before = old.model_copy(update={"decision": old.decision.model_copy(update=known)})
    (line,) = verdict_lines(before)
    assert line.startswith("Difference to the incumbent: +0.0100 bpb (95 % -0.0100 to +0.0300)")
    pruned = before.decision.model_copy(update={"reason": Reason.PRUNED, "interval_bpb": None})
    (line,) = verdict_lines(before.model_copy(update={"decision": pruned}))
    assert line.startswith("Difference that was foreseen when it was stopped: +0.0100")


def test_what_was_needed_is_the_trials_own_setting_or_the_usual_one():
    usual = SessionSettings().keep_probability
    assert needed_probability(sample_record(1)) == usual
    own = sample_record(1).model_copy(update={"settings": {"keep_probability": 0.99}})
    assert needed_probability(own) == 0.99


@pytest.mark.parametrize(
    ("probabilities", "said"),
    [
        ((), ""),
        (
            (0.96,),
            "The chance that the one kept change is a passenger, which helps nothing, is 4 %.",
        ),
        ((0.9, 0.95, 0.95), "Of 3 kept changes, 0.2 are to be expected to be passengers"),
        ((0.999, 0.999), "Of 2 kept changes, fewer than 0.1 are to be expected"),
    ],
)
def test_how_many_keeps_help_nothing_is_said(probabilities, said):
    records = [sample_record(0), *(kept(1, each) for each in probabilities)]
    sentence = false_keeps_sentence("night", records)
    assert sentence.startswith(said)
    assert ("; `nightlab consolidate night` finds" in sentence) is ("0.2" in said)


def test_a_chance_is_never_a_certainty():
    assert [format_chance(each) for each in (None, 0.5, 0.9999, 1e-9)] == [
        "–",
        "50 %",
        "over 99.9 %",
        "below 0.1 %",
    ]


def test_an_audit_is_told_also_where_it_failed():
    found = Evaluation(
        claimed_bpb=0.4,
        correction_bpb=1.36,
        standard_error=0.02,
        audited_positions=1024,
        largest_deviation_nats=7.25,
    )
    assert audit_sentence(found) == (
        "Claimed 0.4000 bpb; 1,024 secret positions correct it by +1.3600 ± 0.0200, the largest "
        "deviation 7.2 nats."
    )
    assert audit_sentence(Evaluation(claimed_bpb=0.4)) == (
        "Claimed 0.4000 bpb; the audit did not end."
    )
    assert audit_sentence(Evaluation(val_bpb=1.7)) == ""
    assert audit_sentence(None) == ""
