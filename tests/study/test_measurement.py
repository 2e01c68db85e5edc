"""What a trial is measured with next, and how exactly."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nightlab.errors import EvaluationError
from nightlab.judging import decision
from nightlab.judging.case import turns
from nightlab.judging.contention import mark_contended
from nightlab.judging.crashes import FAILURES_IN_A_ROW
from nightlab.judging.decision import Subject
from nightlab.judging.scores import counted
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
from nightlab.study.measurement import (
    _keep_below_bpb,
    _watch,
    add_replicate,
    find_twin,
    judged_case,
    next_seed,
    next_subject,
)
from nightlab.training.curve import PROFILE_BINS
from nightlab.training.pruning import SPARED_ONE_IN
from tests.samples import sample_record

CANDIDATE = "c" * 40
SCHEDULED = "d" * 40
"""A candidate that touches the schedule."""


@pytest.fixture
def session() -> Any:
    """A study with a baseline that was trained four times."""
    baseline = sample_record(
        0, scores=(1.99, 2.0, 2.01, 2.0), verdict=Verdict.KEEP, reason=Reason.BASELINE
    )
    baseline = baseline.model_copy(update={"replicates": tuple(map(followed, baseline.replicates))})
    sources = {CANDIDATE: "DEPTH = 6\n", SCHEDULED: "DEPTH = 4\nWARMUP = 2\n"}
    ledger = SimpleNamespace(
        records=lambda: (baseline,), source=lambda commit: sources.get(commit, "DEPTH = 4\n")
    )
    return SimpleNamespace(settings=SessionSettings(study="sample"), ledger=ledger)


def followed(replicate: Replicate) -> Replicate:
    """A training as it stands in a record: with the profile of its losses."""
    training = replicate.training.model_copy(update={"loss_profile": (3.0,) * PROFILE_BINS})
    evaluation = replicate.evaluation
    assert evaluation is not None
    counts = {"num_tokens": 1000, "num_bytes": 3000}
    return replicate.model_copy(
        update={"training": training, "evaluation": evaluation.model_copy(update=counts)}
    )


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


def test_a_candidates_first_training_takes_the_seed_of_the_incumbents_most_typical(
    session: Any,
) -> None:
    first = trial_of(session)
    typical = session.ledger.records()[0].replicates[1]
    assert typical.val_bpb == 2.0
    assert find_twin(session, first, Subject.CANDIDATE) == typical
    assert next_seed(session, first, Subject.CANDIDATE) == typical.seed


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("no pruning", {"prune": False}),
        ("the incumbent", {"subject": Subject.INCUMBENT}),
        ("a later replicate", {"scores": (1.98,)}),
        ("the baseline", {"proposer": "baseline"}),
        ("an edit of the schedule", {"commit": SCHEDULED}),
    ],
)
def test_all_others_have_fresh_seeds_and_are_not_stopped(
    session: Any, name: str, change: dict[str, Any]
) -> None:
    session.settings = SessionSettings(study="sample", prune=change.get("prune", True))
    mark = trial_of(session, *change.get("scores", ()), proposer=change.get("proposer", "knobs"))
    mark = mark.model_copy(update={"commit": change.get("commit", CANDIDATE)})
    subject = change.get("subject", Subject.CANDIDATE)
    assert find_twin(session, mark, subject) is None, name
    assert _watch(session, mark, subject) is None
    known = {each.seed for each in (*session.ledger.records()[0].replicates, *mark.replicates)}
    assert next_seed(session, mark, subject) not in known


def at_rate(replicate: Replicate, rate: float) -> Replicate:
    training = replicate.training.model_copy(update={"tokens_per_second": rate})
    return replicate.model_copy(update={"training": training})


def test_after_a_row_of_discards_the_incumbent_is_trained_first(session: Any) -> None:
    (baseline,) = session.ledger.records()
    crash = {"verdict": Verdict.CRASH, "reason": Reason.EXCEPTION}
    records = [baseline, *(sample_record(number, scores=(2.1,)) for number in range(1, 4))]
    records.append(sample_record(4, **crash))
    records = [each.model_copy(update={"parent": baseline.commit}) for each in records]
    session.ledger.records = lambda: tuple(records)
    following = trial_of(session).model_copy(update={"number": 9})
    assert next_subject(session, following) is Subject.CANDIDATE, "a crash tells nothing"

    records.append(records[1].model_copy(update={"number": 5}))
    assert next_subject(session, following) is Subject.INCUMBENT
    anew = sample_record(77, scores=(2.0,)).replicates
    trained = following.model_copy(update={"incumbent_replicates": anew})
    assert next_subject(session, trained) is Subject.CANDIDATE
    # Which serves the trials after it too, though it has five replicates now and five came before.
    beside = {"number": 6, "incumbent_replicates": anew}
    records.append(records[1].model_copy(update=beside))
    assert next_subject(session, following) is Subject.CANDIDATE


def test_a_trial_that_failed_once_it_could_have_been_kept_spends_its_share(session: Any) -> None:
    (baseline,) = session.ledger.records()
    crash = {"verdict": Verdict.CRASH, "reason": Reason.OOM}
    crashed = [sample_record(number, scores=(1.9,) * number, **crash) for number in (1, 2)]
    records = [baseline, *crashed]
    session.ledger.records = lambda: tuple(records)
    assert judged_case(session, trial_of(session)).earlier_trials == 1


def test_each_training_says_how_many_came_before_it_in_its_trial(session: Any) -> None:
    session.ledger.mark = lambda mark: None
    mark = trial_of(session)
    order = (Subject.CANDIDATE, Subject.INCUMBENT, Subject.CANDIDATE)
    for seed, subject in enumerate(order, start=50):
        (measured,) = sample_record(7, scores=(2.0,)).replicates
        mark = add_replicate(session, mark, subject, measured.model_copy(update={"seed": seed}))
    assert [each.turn for each in mark.replicates] == [0, 2]
    assert [each.turn for each in mark.incumbent_replicates] == [1]
    assert [other.seed for _, other in turns(judged_case(session, mark))] == [51]


@pytest.mark.parametrize(("later", "counting"), [(700.0, [54, 56]), (1000.0, [50, 52, 54, 56])])
def test_what_a_candidate_trained_before_the_machine_changed_is_outdated(
    session: Any, later: float, counting: list[int]
) -> None:
    session.ledger.mark = lambda mark: None
    (baseline,) = session.ledger.records()
    fast = tuple(at_rate(each, 1000.0) for each in baseline.replicates)
    session.ledger.records = lambda: (baseline.model_copy(update={"replicates": fast}),)
    mark = trial_of(session)
    (measured,) = sample_record(7, scores=(2.0,)).replicates
    for seed in range(50, 58):
        subject = Subject.INCUMBENT if seed % 2 else Subject.CANDIDATE
        each = at_rate(measured, 1000.0 if seed < 53 else later)
        mark = add_replicate(session, mark, subject, each.model_copy(update={"seed": seed}))
    case = judged_case(session, mark)
    assert [each.seed for each in counted(case.candidate)] == counting
    assert [(each.seed, other.seed) for each, other in turns(case)] == [
        (seed, seed + 1) for seed in counting
    ]
    # What its record says of itself later is the same: its own rates alone do not tell.
    again = mark_contended(mark.replicates)
    assert [each.seed for each in counted(again)] == counting


def test_only_a_change_that_this_trial_showed_outdates_its_trainings(session: Any) -> None:
    session.ledger.mark = lambda mark: None
    (baseline,) = session.ledger.records()
    (measured,) = sample_record(7, scores=(2.0,)).replicates
    fast = tuple(at_rate(each, 1000.0) for each in baseline.replicates)
    slow = tuple(
        at_rate(measured, 700.0).model_copy(update={"seed": seed, "turn": seed})
        for seed in (91, 92, 93)
    )

    def candidate_after(records: list[Any], *rates: float) -> list[bool]:
        session.ledger.records = lambda: tuple(records)
        mark = trial_of(session, 1.9)
        for seed, rate in enumerate(rates, 50):
            each = at_rate(measured, rate).model_copy(update={"seed": seed})
            mark = add_replicate(session, mark, Subject.INCUMBENT, each)
        return [each.outdated for each in mark.replicates]

    first = baseline.model_copy(update={"replicates": fast})
    earlier = sample_record(1, scores=(2.1,))
    after_it = {"parent": baseline.commit, "incumbent_replicates": slow}
    earlier = earlier.model_copy(update=after_it)
    assert candidate_after([first], 700.0, 700.0, 700.0) == [True]
    assert candidate_after([first, earlier], 700.0) == [False], "it showed in an earlier trial"
    # Where tokens are counted, speed does not enter scores.
    session.settings = SessionSettings(study="sample", budget_tokens=5000)
    assert candidate_after([first], 700.0, 700.0, 700.0) == [False]


def test_nothing_is_followed_beside_a_curve_of_a_faster_machine(session: Any) -> None:
    (baseline,) = session.ledger.records()
    fast = tuple(at_rate(each, 1000.0) for each in baseline.replicates)
    baseline = baseline.model_copy(update={"replicates": fast})
    session.ledger.records = lambda: (baseline,)
    slow = tuple(at_rate(each, 700.0) for each in sample_record(77, scores=(2.1,) * 3).replicates)
    for count, followed_beside in ((0, True), (2, True), (3, False)):
        mark = trial_of(session).model_copy(update={"incumbent_replicates": slow[:count]})
        twin = find_twin(session, mark, Subject.CANDIDATE)
        assert (twin is not None) is followed_beside, count


def test_nothing_is_followed_while_the_incumbent_has_too_few_scores(session: Any) -> None:
    (baseline,) = session.ledger.records()
    alone = baseline.model_copy(update={"replicates": baseline.replicates[1:2]})
    session.ledger.records = lambda: (alone,)
    assert find_twin(session, trial_of(session), Subject.CANDIDATE) is not None
    assert _watch(session, trial_of(session), Subject.CANDIDATE) is None


def test_one_trial_in_twenty_is_spared(session: Any) -> None:
    trials = 600
    spared = 0
    for number in range(1, trials + 1):
        mark = trial_of(session).model_copy(update={"number": number})
        watch = _watch(session, mark, Subject.CANDIDATE)
        assert watch is not None
        spared += watch._is_spared
    # Binomial: 30 expected, and all but one in a million draws within five deviations.
    assert abs(spared - trials / SPARED_ONE_IN) < 5 * math.sqrt(trials / SPARED_ONE_IN)


def test_an_incumbent_that_does_not_train_any_more_is_the_machines_fault(session: Any) -> None:
    failed = Replicate(
        seed=9, training=TrainingResult(failure=Reason.OOM, message="Out of memory.")
    )
    mark = trial_of(session, 1.98)
    once = mark.model_copy(update={"incumbent_replicates": (failed,)})
    assert isinstance(next_subject(session, once), Subject)
    often = once.model_copy(update={"incumbent_replicates": (failed,) * FAILURES_IN_A_ROW})
    with pytest.raises(EvaluationError, match=r"Out of memory\..*nightlab retry sample 1"):
        next_subject(session, often)
    (scored,) = sample_record(7, scores=(2.0,)).replicates
    apart = once.model_copy(update={"incumbent_replicates": (failed, scored, failed)})
    assert isinstance(next_subject(session, apart), Subject), "not twice in a row"
