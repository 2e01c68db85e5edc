"""Records from before pairs are read past what they no longer have."""

import pytest
from pydantic import ValidationError

from nightlab.records import Decision, Replicate, TrainingResult

TRAINED = {"training_seconds": 20.0}


def test_an_old_decision_loads() -> None:
    old = {
        "verdict": "discard",
        "reason": "within_noise",
        "sentence": "Discarded.",
        "difference_bpb": 0.01,
        "interval_bpb": [-0.01, 0.03],
        "noise_bpb": 0.005,
        "threshold_bpb": -0.004,
        "evidence": 0.8,
        "evidence_needed": 101.0,
        "replicates": 3,
        "incumbent_replicates": 5,
        "degrees_of_freedom": 6,
    }
    decision = Decision.model_validate(old)
    assert decision.interval_bpb == (-0.01, 0.03)
    assert (decision.pairs, decision.probability_better) == ((), None)
    assert "evidence" not in decision.model_dump()


def test_an_old_replicate_loads() -> None:
    old = {
        "seed": 3,
        "training": {**TRAINED, "slowest_quarter": 900.0},
        "contended": True,
        "outdated": False,
        "precedes_change": True,
        "turn": 4,
    }
    replicate = Replicate.model_validate(old)
    assert (replicate.seed, replicate.place) == (3, "")
    assert replicate.training.training_seconds == 20.0
    assert set(replicate.model_dump()) == {"seed", "training", "evaluation", "place"}


@pytest.mark.parametrize("record", [Decision, Replicate, TrainingResult])
def test_what_is_no_record_at_all_is_refused_as_such(record: type) -> None:
    with pytest.raises(ValidationError, match="valid dictionary"):
        record.model_validate("retired")


@pytest.mark.parametrize("record", [Decision, Replicate, TrainingResult])
def test_other_unknown_fields_are_still_refused(record: type) -> None:
    with pytest.raises(ValidationError, match="unheard_of"):
        record.model_validate({"unheard_of": 1})
