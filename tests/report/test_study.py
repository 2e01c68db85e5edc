import pytest

from nightlab.judging.scores import running_best
from nightlab.ledger import ConfirmationRecord
from nightlab.records import Replicate, Verdict
from nightlab.report.study import interval_of, read_study, trial_seconds
from tests.report.samples import BEGAN, FixedStudy, baseline, trial


def test_the_gain_is_from_the_baseline_to_the_trial_kept_last() -> None:
    records = [baseline(2.0), trial(1, Verdict.KEEP, (1.9,)), trial(2, scores=(1.8,))]
    study = read_study(FixedStudy(all_records=records))
    assert study.gain_bpb == pytest.approx(0.1)
    assert study.incumbent is records[1]
    assert study.noise_bpb == pytest.approx(0.004)


def test_an_interval_stands_where_its_trial_does() -> None:
    better = trial(1, Verdict.KEEP, (1.9,), difference=-0.1)
    assert interval_of(better) == pytest.approx((1.914, 1.926))
    assert interval_of(baseline()) is None
    assert interval_of(trial(2, Verdict.CRASH)) is None


def test_the_noise_is_that_of_pairs_once_there_are_some() -> None:
    records = [baseline(2.0), trial(1, Verdict.KEEP, (1.9,), difference=-0.1)]
    study = read_study(FixedStudy(all_records=records))
    assert (study.pair_noise_bpb, study.noise_bpb) == (0.005, 0.005)
    assert study.seed_noise_bpb == pytest.approx(0.004)
    assert [record.number for record in study.improvements()] == [1]


def test_the_running_best_moves_with_keeps_only_and_starts_with_the_first() -> None:
    records = [
        trial(0, Verdict.CRASH),
        baseline(2.0).model_copy(update={"number": 1}),
        trial(2, scores=(1.7,)),
        trial(3, Verdict.KEEP, (1.9,)),
        trial(4, Verdict.CRASH),
    ]
    assert running_best(records) == ((1, 2.0), (2, 2.0), (3, 1.9), (4, 1.9))


def test_spending_adds_up_and_what_is_unknown_stays_unknown() -> None:
    priced = FixedStudy(all_records=[baseline(), trial(1, scores=(1.9,), cost_usd=0.25)])
    spending = read_study(priced).spending
    assert spending.candidate_seconds == spending.training_seconds == 80.0
    assert spending.trial_seconds == sum(trial_seconds(r) for r in priced.all_records)
    assert sum(step.share for step in spending.steps) == pytest.approx(1.0)
    # One of the two calls has no price: what is known is the least of it.
    assert (spending.cost.calls, spending.cost.cost_usd, spending.cost.known_usd) == (2, None, 0.25)


def test_what_the_device_did_is_counted_once_and_by_what_for() -> None:
    kept = trial(1, Verdict.KEEP, (1.9, 1.91))
    kept = kept.model_copy(update={"incumbent_replicates": baseline().replicates[:1]})
    first = confirmation(baseline().replicates[:2], kept.replicates[:1])
    longer = confirmation(baseline().replicates, kept.replicates)
    spending = read_study(FixedStudy(all_records=[baseline(), kept]), [first, longer]).spending
    assert spending.candidate_seconds == 100.0
    assert spending.incumbent_seconds == 20.0
    assert spending.confirming_seconds == 100.0
    assert spending.training_seconds == 220.0


def confirmation(
    baselines: tuple[Replicate, ...], incumbents: tuple[Replicate, ...]
) -> ConfirmationRecord:
    return ConfirmationRecord(
        study="first-light",
        number=0,
        baseline_commit=f"{0:040x}",
        incumbent_commit=f"{1:040x}",
        incumbent_trial=1,
        wanted=3,
        baseline_replicates=baselines,
        incumbent_replicates=incumbents,
        claimed_gain_bpb=0.1,
        started_at=BEGAN,
    )


def test_a_study_without_records_has_no_numbers() -> None:
    study = read_study(FixedStudy())
    assert study.gain_bpb is None
    assert study.spending.training_seconds == 0.0
