"""A record's own words, and what stands in it before anything is known."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from nightlab.records import (
    SCHEMA_VERSION,
    Decision,
    InFlight,
    Pair,
    ProposalCost,
    Reason,
    TrialRecord,
    Verdict,
    utc_now,
)
from tests.samples import sample_record


def test_the_verdict_is_the_decisions() -> None:
    record = sample_record(1, scores=(2.0,), verdict=Verdict.KEEP, reason=Reason.SIMPLER)
    assert (record.verdict, record.reason) == (Verdict.KEEP, Reason.SIMPLER)


def test_what_is_lower_is_better() -> None:
    assert Pair(seed=1, candidate_bpb=1.75, incumbent_bpb=2.0).difference_bpb == -0.25


def test_verdicts_and_reasons_are_the_words_of_the_records_in_git() -> None:
    assert [verdict.value for verdict in Verdict] == ["keep", "discard", "crash", "failed"]
    words = {
        *("baseline", "improved", "regression", "simpler", "within_noise", "pruned", "exception"),
        *("startup_timeout", "timeout", "oom", "nonfinite", "invalid_edit", "contract", "audit"),
        *("resources", "model", "model_refused", "machinery", "interrupted"),
    }
    assert words <= {reason.value for reason in Reason}
    assert all(Reason(word).name == word.upper() for word in words)


def test_the_schema_is_the_first() -> None:
    assert SCHEMA_VERSION == 1
    assert sample_record(1).schema_version == 1


def test_a_mark_begins_with_nothing() -> None:
    mark = InFlight(study="s", number=0, parent="p", commit="c", started_at=utc_now())
    assert (mark.attempts, mark.repairs, mark.is_given_up) == (1, 0, False)
    assert (mark.proposal, mark.preflight, mark.retry_of) == (None, None, None)
    assert (mark.replicates, mark.incumbent_replicates, mark.set_aside) == ((), (), ())
    assert (mark.settings, mark.program, mark.corpus_fingerprint) == ({}, "", "")
    other = InFlight(study="s", number=0, parent="p", commit="c", started_at=utc_now())
    assert mark.settings is not other.settings


def test_a_record_begins_with_nothing() -> None:
    record = sample_record(4)
    for name in ("val_bpb", "expected_bpb", "mode", "model", "preflight", "retry_of"):
        assert getattr(record, name) is None, name
    for name in ("budget_tokens", "rescue_of"):
        assert getattr(record, name) is None, name
    assert record.cost == ProposalCost()
    assert (record.lines_added, record.lines_removed, record.repairs) == (0, 0, 0)
    assert (record.budget_seconds, record.knobs, record.settings) == (0.0, {}, {})
    decision = Decision(verdict=Verdict.CRASH, reason=Reason.OOM, sentence="So.")
    for name in (
        *("difference_bpb", "interval_bpb", "noise_bpb", "probability_better"),
        "expected_gain_bpb",
    ):
        assert getattr(decision, name) is None, name


def test_moments_are_aware_and_in_utc() -> None:
    assert utc_now().utcoffset() == timedelta(0)


def test_records_stay_as_they_are_and_take_nothing_else() -> None:
    record = sample_record(1)
    with pytest.raises(ValidationError, match="frozen"):
        record.number = 2  # type: ignore[misc]
    with pytest.raises(ValidationError, match="omen"):
        TrialRecord.model_validate({**record.model_dump(), "omen": 1})
    assert TrialRecord.model_validate(record.model_dump()) == record
    assert TrialRecord.model_validate_json(record.model_dump_json()) == record
