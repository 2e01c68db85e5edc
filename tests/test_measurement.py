"""What a trial is measured with next, and how exactly."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nightlab import decision
from nightlab.decision import Subject
from nightlab.measurement import _keep_below_bpb, judged_case, next_subject
from nightlab.records import (
    Evaluation,
    InFlight,
    Proposal,
    Reason,
    Replicate,
    TrainingResult,
    Verdict,
    utc_now,
)
from nightlab.settings import SessionSettings
from tests.samples import sample_record

CANDIDATE = "c" * 40


@pytest.fixture
def session() -> Any:
    """A study with a baseline that was trained four times."""
    baseline = sample_record(
        0, scores=(1.99, 2.0, 2.01, 2.0), verdict=Verdict.KEEP, reason=Reason.BASELINE
    )
    ledger = SimpleNamespace(records=lambda: (baseline,), source=lambda commit: "DEPTH = 4\n")
    return SimpleNamespace(settings=SessionSettings(study="sample"), ledger=ledger)


def trial_of(session: Any, *scores: float, proposer: str = "knobs") -> InFlight:
    replicates = tuple(
        Replicate(seed=seed, training=TrainingResult(), evaluation=Evaluation(val_bpb=score))
        for seed, score in enumerate(scores)
    )
    return InFlight(
        study="sample",
        number=1,
        parent=session.ledger.records()[0].commit,
        commit=CANDIDATE,
        proposal=Proposal(title="An idea", proposer=proposer),
        replicates=replicates,
        started_at=utc_now(),
    )


def test_whatever_a_score_may_still_lead_to_a_keep_is_audited_as_exactly(session: Any) -> None:
    exact = _keep_below_bpb(session, trial_of(session), Subject.CANDIDATE)
    asked_more = [
        score
        for score in np.linspace(1.95, 2.05, 200)
        if next_subject(session, trial_of(session, float(score))) is not None
    ]
    assert asked_more
    assert max(asked_more) < exact
    # Not all of them would be trained again themselves at once.
    at_once = decision.could_be_kept_below_bpb(judged_case(session, trial_of(session)))
    assert max(asked_more) > at_once


def test_what_others_are_compared_with_is_always_exact(session: Any) -> None:
    trial = trial_of(session)
    assert _keep_below_bpb(session, trial, Subject.INCUMBENT) == math.inf
    baseline = trial_of(session, proposer="baseline")
    assert _keep_below_bpb(session, baseline, Subject.CANDIDATE) == math.inf
