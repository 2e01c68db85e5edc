"""Studies side by side."""

import re
import warnings
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from mlflow import MlflowClient

from nightlab.errors import UsageError
from nightlab.ledger import ConfirmationRecord
from nightlab.records import ProposalCost, Replicate, Verdict
from nightlab.report.comparison import (
    Arm,
    Axis,
    equal_seconds,
    read_arm,
)
from nightlab.report.comparison_page import (
    LONGEST_NAME,
    comparison_name,
    headline,
    log_comparison,
    write_comparison,
)
from nightlab.report.comparison_picture import COLOURS, draw_svg
from nightlab.report.grouping import (
    Group,
    alone,
    best_curve,
    gain_curve,
    grouped,
    table_rows,
)
from nightlab.tracking import Tracker
from tests.report.comparison_samples import (
    SourcedStudy,
    arm,
    baseline,
    changed,
    confirmed,
    kept,
    study,
)
from tests.report.samples import long_study, trial


def test_the_best_so_far_is_where_the_pairs_put_the_incumbent() -> None:
    again = Replicate.model_validate(kept(9, 1.94).replicates[0].model_dump())
    better = trial(1, Verdict.KEEP, (1.90,), difference=-0.1, cost_usd=0.5)
    later = changed(trial(2, scores=(2.1,)), incumbent_replicates=(again,))
    read = read_arm(study("a", baseline(noise=0.004), better, later))
    assert [moment.best_bpb for moment in read.moments] == pytest.approx([2.0, 1.90, 1.90])
    assert read.gain_bpb == pytest.approx(0.1)
    assert read.moments[0].gain_bpb == 0
    # The baseline's three scores, and then the one pair of the kept change as well.
    errors = [moment.error_bpb for moment in read.moments]
    assert errors[0] == pytest.approx(0.004 / 3**0.5)
    assert errors[1] == pytest.approx((0.004**2 / 3 + 0.005**2) ** 0.5)
    assert [moment.spent.training_seconds for moment in read.moments] == [60, 80, 120]
    assert [moment.spent.trials for moment in read.moments] == [0, 1, 2]
    assert (read.spent.cost_usd, read.unpriced) == (0.5, 1)
    assert read.keeps == 1
    assert read.gain_per_hour == pytest.approx(0.1 / (120 / 3600))


def test_a_study_from_before_pairs_compares_by_its_scores() -> None:
    read = read_arm(study("a", baseline(noise=0.004), kept(1, 1.90)))
    assert read.best_bpb == 1.90
    assert read.moments[1].error_bpb == pytest.approx(0.004)


def test_what_asked_no_model_cost_nothing_and_what_has_no_price_is_not_known() -> None:
    free = changed(kept(1, 1.9), cost=ProposalCost())
    assert read_arm(study("a", baseline(), free)).spent.cost_usd == 0
    assert read_arm(study("a", baseline(), kept(1, 1.9))).spent.cost_usd is None
    agent = changed(kept(1, 1.9), cost=ProposalCost(), proposer="command")
    assert read_arm(study("a", baseline(), agent)).spent.cost_usd is None


def test_the_reading_at_an_amount_is_what_stood_then() -> None:
    read = arm("a", 1.9, 1.8)
    stood = [read.at(Axis.SECONDS, seconds) for seconds in (59, 60, 99.9, 100, 1e9)]
    assert [moment and moment.best_bpb for moment in stood] == pytest.approx(
        [None, 2.0, 1.9, 1.8, 1.8]
    )


def test_a_confirmation_stands_where_it_was_made() -> None:
    ledger = study("a", baseline(), kept(1, 1.9), kept(2, 1.8))
    under_way = changed_confirmation(confirmed(1, 2, 0.1))
    read = read_arm(ledger, [confirmed(0, 1, 0.09), under_way, confirmed(2, 2, 0.19, False)])
    assert [gain.spent.trials for gain in read.confirmed] == [1, 2]
    assert read.confirmed_gain is not None
    assert (read.confirmed_gain.gain_bpb, read.confirmed_gain.holds) == (0.19, False)


def changed_confirmation(record: ConfirmationRecord) -> ConfirmationRecord:
    return record.model_copy(update={"finished_at": None})


def test_a_study_without_a_baseline_is_refused() -> None:
    with pytest.raises(UsageError, match="Study 'a' has no scored baseline"):
        read_arm(study("a", trial(0, Verdict.CRASH)))
    with pytest.raises(UsageError, match="no scored baseline"):
        read_arm(SourcedStudy(study="a"))


def test_repeats_are_told_by_the_number_at_the_end() -> None:
    arms = [arm(name, 1.9) for name in ("llm-1", "knobs", "llm-2", "llm-x", "deep-net-10")]
    found = {group.name: [each.name for each in group.arms] for group in grouped(arms)}
    assert found == {
        "llm": ["llm-1", "llm-2"],
        "knobs": ["knobs"],
        "llm-x": ["llm-x"],
        "deep-net-10": ["deep-net-10"],
    }
    assert [group.name for group in alone(arms)] == [each.name for each in arms]


def test_a_groups_curve_is_the_median_from_least_to_greatest() -> None:
    arms = [arm("a-1", 1.9), arm("a-2", 1.7, 1.6), arm("a-3", 1.95, 1.5, 1.4)]
    (group,) = grouped(arms)
    curve = best_curve(group, Axis.TRIALS)
    assert curve is not None
    assert curve.amounts == [0, 1, 2, 3]
    assert curve.middle == pytest.approx([2.0, 1.9, 1.6, 1.6])
    assert curve.low == pytest.approx([2.0, 1.7, 1.5, 1.4])
    assert curve.high == pytest.approx([2.0, 1.95, 1.9, 1.9])
    gains = gain_curve(group, Axis.TRIALS)
    assert gains is not None
    assert gains.middle == pytest.approx([0.0, 0.1, 0.4, 0.4])


def test_a_groups_curve_begins_when_all_its_studies_have_a_baseline() -> None:
    paid = changed(trial(0, Verdict.FAILED), replicates=kept(0, 1.0).replicates)
    late = study("a-2", paid, changed(baseline(), number=1), kept(2, 1.8))
    (group,) = grouped([arm("a-1", 1.9), read_arm(late)])
    curve = best_curve(group, Axis.SECONDS)
    assert curve is not None
    assert curve.amounts == [80, 100]
    assert curve.middle == pytest.approx([1.95, 1.85])


def test_a_price_that_is_not_known_leaves_a_study_off_the_dollars() -> None:
    known, unknown = arm("a-1", 1.9), arm("a-2", 1.9, cost_usd=None)
    for group in (grouped([known, unknown])[0], *alone([unknown])):
        assert best_curve(group, Axis.DOLLARS) is None
        assert gain_curve(group, Axis.DOLLARS) is None
    assert best_curve(alone([known])[0], Axis.DOLLARS) is not None


def test_the_table_has_equal_seconds_medians_and_ranges() -> None:
    arms = [arm("a-1", 1.9), arm("a-2", 1.7, 1.6), arm("b", 1.8, 1.5, 1.4)]
    assert equal_seconds(arms) == 80
    group, first, second, other = table_rows(arms, grouped(arms))
    assert [each.name for each in (group, first, second, other)] == ["a", "a-1", "a-2", "b"]
    assert group.gain_bpb == pytest.approx(0.25)
    assert group.gain_range_bpb == pytest.approx((0.1, 0.4))
    assert group.training_seconds == 90
    assert group.confirmed_gain_bpb is None
    assert second.equal_gain_bpb == pytest.approx(0.3)
    assert other.equal_gain_bpb == pytest.approx(0.2)
    assert [row.name for row in table_rows(arms, alone(arms))] == ["a-1", "a-2", "b"]


def test_the_headline_says_who_gained_most_and_whether_it_holds() -> None:
    arms = [arm("a", 1.9), arm("b", 1.7)]
    assert headline(alone(arms)) == "b gained most: 0.3000 bits per byte, not confirmed yet."
    for holds, words in ((True, "confirmed on holdout"), (False, "NOT confirmed on holdout")):
        ledger = study("c", baseline(), kept(1, 1.6))
        best = read_arm(ledger, [confirmed(0, 1, 0.38, holds)])
        assert f"c gained most: 0.4000 bits per byte, {words}: 0.3800." == headline(
            alone([*arms, best])
        )
    assert (
        headline(alone([arm("a"), arm("b")])) == "None of them gained anything over its baseline."
    )
    assert "(median of 2, +0.1000 to +0.3000)" in headline([Group(name="g", arms=tuple(arms))])


def studies() -> list[Arm]:
    found = []
    for index in range(6):
        ledger = long_study(40, seed=index, chance=0.2)
        chain = study(f"{'knobs' if index < 3 else 'llm'}-{index}", *ledger.all_records)
        said = [confirmed(0, 39, 0.05 + index / 100, holds=index > 1)] if index % 2 else []
        found.append(read_arm(chain, said))
    return found


@pytest.mark.parametrize(
    ("arms", "panels"),
    [
        (studies(), 3),
        ([arm("a"), arm("b")], 2),
        ([arm("a", 1.9, cost_usd=None), arm("b", cost_usd=None)], 2),
        ([arm(f"s{n}", 1.9 - n / 100) for n in range(20)], 3),
    ],
    ids=["confirmed", "baselines alone", "without dollars", "more than colours"],
)
def test_every_comparison_has_its_picture(arms: list[Arm], panels: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for groups in (alone(arms), grouped(arms)):
            drawing = ElementTree.fromstring(draw_svg(groups))
            assert int(drawing.get("width", "").partition(".")[0]) // 331 == panels


def test_the_same_studies_give_the_same_picture_without_script_or_link() -> None:
    groups = grouped(studies())
    svg = draw_svg(groups)
    assert svg == draw_svg(groups)
    assert "<script" not in svg
    assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)"', svg))


def test_every_colour_of_a_picture_has_one_for_dark_screens() -> None:
    arms = [arm(f"s{n}", 1.9 - n / 100) for n in range(20)]
    style, _, drawn = draw_svg(alone(arms)).partition("</style>")
    assert set(re.findall(r"#[0-9a-f]{6}", drawn.lower())) == set()
    used = set(re.findall(r"var\((--[\w-]+)\)", drawn))
    assert len(used) == len(COLOURS)
    light, dark = style.split("@media")
    assert all(f"{name}:#" in light and f"{name}:#" in dark for name in used)


def test_the_page_and_the_picture_stand_alone_and_go_into_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "unused")  # Put back after the test.
    arms = studies()
    groups = grouped(arms)
    mlruns = tmp_path / "mlruns"
    files = write_comparison(arms, groups, mlruns / "new" / "reports")
    page = files.html.read_text()
    assert page.startswith("<!doctype html>")
    assert not re.findall(r'(?:src|href|srcset)="(?!#)', page)
    assert "median of 3" in page
    assert {path.name for path in files.html.parent.iterdir()} == {
        "comparison-knobs-vs-llm.html",
        "comparison-knobs-vs-llm.svg",
    }
    uri = f"sqlite:///{mlruns / 'mlflow.db'}"
    tracker = Tracker(uri, mlruns, arms[0].name)
    log_comparison(tracker, groups, files)
    log_comparison(tracker, groups, files)
    log_comparison(tracker, alone(arms[:2]), files)
    assert tracker.flush(60)
    tracker.close()
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("nightlab/knobs-0")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"comparison-knobs-vs-llm", "comparison-knobs-0-vs-knobs-1"}
    assert len(client.list_artifacts(runs["comparison-knobs-vs-llm"].info.run_id)) == 2


def test_many_names_make_a_short_one_that_tells_them_apart() -> None:
    arms = [arm(f"a-long-name-of-a-study-{n}") for n in range(30)]
    names = {comparison_name(alone(arms[:count])) for count in (28, 29, 30)}
    assert len(names) == 3
    assert all(len(name) == LONGEST_NAME for name in names)


def test_trials_before_the_baseline_are_paid_for() -> None:
    failed = trial(0, Verdict.FAILED)
    late = changed(baseline(), number=1)
    read = read_arm(study("a", failed, late))
    assert [moment.spent.trials for moment in read.moments] == [1]
