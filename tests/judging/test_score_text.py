"""How scores and audits are said."""

import pytest

from nightlab.judging.score_text import audit_error, audit_sentence, format_error, format_score
from nightlab.records import Evaluation, Replicate, TrainingResult


def replicate(score: float | None, error: float | None) -> Replicate:
    return Replicate(
        seed=1,
        training=TrainingResult(),
        evaluation=Evaluation(val_bpb=score, standard_error=error),
    )


def test_a_score_is_shown_with_its_error_and_nothing_is_never_nought():
    assert format_score(1.75994, 0.0003) == "1.7599 ± 0.0003"
    assert format_score(1.75994) == "1.7599"
    assert format_score(None, 0.0003) == "–"
    assert format_error(3e-8) == "<0.0001"
    assert format_error(None) == "–"


def test_the_error_of_a_mean_is_that_of_independent_audits():
    both = [replicate(1.7, 0.03), replicate(1.8, 0.04), replicate(None, 0.5)]
    assert audit_error(both) == pytest.approx(0.025)
    assert audit_error([*both, replicate(1.9, None)]) is None
    assert audit_error([replicate(None, None)]) is None
    assert audit_error([Replicate(seed=1, training=TrainingResult())]) is None


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
