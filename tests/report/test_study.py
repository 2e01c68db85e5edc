import pytest

from nightlab.records import Verdict
from nightlab.report.study import read_study, running_best, trial_seconds
from tests.report.samples import FixedStudy, baseline, trial


def test_the_gain_is_from_the_baseline_to_the_trial_kept_last() -> None:
    records = [baseline(2.0), trial(1, Verdict.KEEP, (1.9,)), trial(2, scores=(1.8,))]
    study = read_study(FixedStudy(all_records=records))
    assert study.gain_bpb == pytest.approx(0.1)
    assert study.incumbent is records[1]
    assert study.noise_bpb == pytest.approx(0.004)


def test_the_interval_of_a_mean_shrinks_with_its_replicates() -> None:
    records = [baseline(), trial(1, scores=(1.9,)), trial(2, Verdict.CRASH)]
    study = read_study(FixedStudy(all_records=records))
    first, second, crash = (study.error_bpb(record) for record in records)
    # Student's t with the two degrees of freedom of three baseline seeds.
    assert first == pytest.approx(4.303 * 0.004 / 3**0.5, rel=2e-4)
    assert second == pytest.approx(4.303 * 0.004, rel=2e-4)
    assert crash is None


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
    assert spending.cost_usd == 0.25
    assert spending.training_seconds == 80.0
    assert spending.trial_seconds == sum(trial_seconds(r) for r in priced.all_records)
    assert sum(step.share for step in spending.steps) == pytest.approx(1.0)
    assert spending.training_share == pytest.approx(80.0 / spending.trial_seconds)
    assert read_study(FixedStudy(all_records=[baseline()])).spending.cost_usd is None


def test_a_study_without_records_has_no_numbers() -> None:
    study = read_study(FixedStudy())
    assert study.gain_bpb is None
    assert study.spending.training_share is None


def test_an_interval_leaves_out_what_the_mean_leaves_out() -> None:
    record = trial(1, scores=(1.9, 2.4))
    calm, slowed = record.replicates
    slowed = slowed.model_copy(update={"contended": True})
    record = record.model_copy(update={"replicates": (calm, slowed)})
    study = read_study(FixedStudy(all_records=[baseline(), record]))
    assert study.error_bpb(record) == study.error_bpb(trial(2, scores=(1.9,)))


def test_the_gain_is_of_all_trainings_of_both_codes() -> None:
    first = baseline(2.0)
    again = trial(9, scores=(2.0,)).replicates
    later = trial(2, scores=(2.5,)).model_copy(
        update={"parent": first.commit, "incumbent_replicates": again}
    )
    study = read_study(FixedStudy(all_records=[first, later]))
    scores = [each.val_bpb or 0.0 for each in (*first.replicates, *again)]
    assert study.baseline_bpb == pytest.approx(sum(scores) / 4)
    assert study.incumbent_bpb == study.baseline_bpb
