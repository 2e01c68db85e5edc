import io

import pytest

from flows.live import LiveView, PlainView, spark_line
from flows.session_state import SessionState
from flows.terminal import Terminal
from nightlab import events
from nightlab.records import CurvePoint, Pair, Reason, Verdict
from tests.samples import sample_record


def drawn(view: LiveView) -> str:
    console = Terminal(io.StringIO(), width=110, record=True, quiet=False)
    console.print(view)
    return console.export_text()


def test_a_spark_line_has_the_shape_of_its_values() -> None:
    assert spark_line([3.0, 2.0, 1.0]) == "█▄▁"
    assert spark_line([]) == ""
    assert spark_line([1.0, 1.0]) == "▁▁"
    assert len(spark_line([float(i) for i in range(1000)], width=60)) == 60
    # A candidate may report any number that is finite.
    assert spark_line([1e308, -1e308, 0.0]) == "█▁▄"


def test_the_live_view_shows_the_trial_its_clock_its_curve_and_the_verdicts() -> None:
    view = LiveView("night", (sample_record(0, verdict=Verdict.KEEP, reason=Reason.BASELINE),))
    view.listen(events.StepBegun(study="night", number=1, step="train", title="wider", seed=7))
    assert "starting up" in drawn(view)
    view.listen(events.GateOpened(study="night", number=1, seed=7, budget_seconds=20))
    for step in range(1, 4):
        point = CurvePoint(seconds=float(step), step=step, loss=5.0 - step, tokens=1000 * step)
        view.listen(events.Trained(study="night", number=1, seed=7, point=point))
    text = drawn(view)
    for expected in (
        "trial 1",
        "wider",
        "seed 7",
        "17 s left of 20",
        "loss 2.000",
        "1,000 tokens/s",
    ):
        assert expected in text
    view.listen(events.TrialEnded(record=sample_record(1, scores=(2.5,))))
    text = drawn(view)
    assert "within_noise" in text
    assert "2.5000" in text


def gate(whose: str = "", seed: int = 7) -> events.GateOpened:
    return events.GateOpened(study="night", number=1, seed=seed, whose=whose, budget_seconds=20)


def step(name: str, whose: str = "", seed: int | None = 7, number: int = 1) -> events.StepBegun:
    return events.StepBegun(
        study="night", number=number, step=name, title="wider", detail=whose, seed=seed
    )


def reported(seconds: float, loss: float, whose: str = "", seed: int = 7) -> events.Trained:
    point = CurvePoint(seconds=seconds, step=int(seconds), loss=loss)
    return events.Trained(study="night", number=1, seed=seed, whose=whose, point=point)


def test_a_training_that_is_made_again_begins_with_an_empty_curve() -> None:
    view = LiveView("night", (sample_record(0, verdict=Verdict.KEEP, reason=Reason.BASELINE),))
    for event in (step("train"), gate(), reported(8.0, 2.75), gate()):
        view.listen(event)
    assert "loss" not in drawn(view)
    view.listen(reported(1.0, 4.5))
    text = drawn(view)
    assert "loss 4.500" in text
    assert "19 s left of 20" in text


def test_two_trainings_side_by_side_have_a_line_each_and_then_their_pair() -> None:
    baseline = sample_record(0, verdict=Verdict.KEEP, reason=Reason.BASELINE)
    view = LiveView("night", (baseline,))
    for whose in ("incumbent", ""):
        view.listen(step("train", whose))
        view.listen(gate(whose))
    view.listen(reported(5.0, 3.25, "incumbent"))
    view.listen(reported(8.0, 2.75))
    text = drawn(view)
    for expected in ("candidate · seed 7", "incumbent · seed 7", "15 s left", "12 s left"):
        assert expected in text
    assert text.count("loss") == 2
    for whose in ("incumbent", ""):
        view.listen(step("evaluate", whose))
    assert drawn(view).count("it is scored now") == 2
    pair = Pair(seed=7, candidate_bpb=1.9, incumbent_bpb=1.92)
    view.listen(
        events.PairsMeasured(study="night", number=1, pairs=(pair,), probability_better=0.8)
    )
    text = drawn(view)
    assert "-0.0200 bpb; chance that it is better: 80 %" in text
    assert "seed 7" not in text


def test_tokens_are_counted_down_where_they_are_the_budget() -> None:
    view = LiveView("night", ())
    view.listen(step("train"))
    opened = events.GateOpened(
        study="night", number=1, seed=7, budget_seconds=60, budget_tokens=5000
    )
    view.listen(opened)
    point = CurvePoint(seconds=2.0, step=1, loss=3.0, tokens=1000)
    view.listen(events.Trained(study="night", number=1, seed=7, point=point))
    assert "4,000 tokens left of 5,000, within 58 s" in drawn(view)
    assert "baseline · seed 7" in drawn(view)


def test_a_training_that_never_said_it_began_is_shown_all_the_same() -> None:
    state = SessionState("night")
    state.take(step("confirm", seed=None))
    state.take(gate("baseline"))
    state.take(reported(1.0, 3.0, "baseline"))
    (training,) = state.trainings.values()
    assert (training.whose, training.stage, len(training.points)) == ("baseline", "training", 1)


def test_the_next_training_takes_the_place_of_one_that_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flows.session_state.QUIET_SECONDS", -1.0)
    state = SessionState("night")
    for seed in (7, 8):
        state.take(step("train", seed=seed))
        state.take(gate(seed=seed))
    assert [each.seed for each in state.trainings.values()] == [8]


def test_what_was_kept_is_the_twin_of_what_comes_next() -> None:
    state = SessionState("night")
    state.take(step("train"))
    state.take(gate())
    state.take(reported(1.0, 3.0))
    state.take(step("evaluate"))
    state.take(step("record", seed=None))
    kept = sample_record(1, scores=(1.9,), verdict=Verdict.KEEP, reason=Reason.IMPROVED)
    state.take(events.TrialEnded(record=kept))
    assert [point.loss for point in state.twin(7)] == [3.0]
    state.take(step("train", number=2))
    state.take(events.TrialEnded(record=sample_record(2)))
    assert [point.loss for point in state.twin(7)] == [3.0]
    state.remember(7, ())
    state.remember(9, (CurvePoint(seconds=1.0, step=1, loss=2.0),))
    assert [point.loss for point in state.twin(9)] == [2.0]
    followed = tuple(CurvePoint(seconds=n, step=n, loss=1.0) for n in range(2))
    state.take(step("train", number=3))
    state.take(events.TwinFollowed(study="night", number=3, seed=7, curve=followed))
    assert [point.loss for point in state.twin(7)] == [1.0, 1.0]


def test_a_trial_begins_with_nothing_of_the_last() -> None:
    state = SessionState("night")
    pair = Pair(seed=7, candidate_bpb=1.9, incumbent_bpb=1.92)
    state.take(step("train"))
    state.take(events.PairsMeasured(study="night", number=1, pairs=(pair,), probability_better=0.8))
    state.take(step("propose", seed=None, number=2))
    assert (state.trainings, state.pairs, state.probability_better) == ({}, (), None)


def test_a_title_cannot_style_the_terminal() -> None:
    record = sample_record(1).model_copy(update={"title": "[bold]x[/bold] [link=x]"})
    view = LiveView("night", (record,))
    assert "[bold]x[/bold]" in drawn(view)


def test_without_a_terminal_every_event_is_a_line() -> None:
    console = Terminal(io.StringIO(), width=200, record=True)
    view = PlainView(console)
    view.listen(events.Notice(text="Proposer: knobs"))
    view.listen(events.StepBegun(study="n", number=1, step="train", title="wider", seed=7))
    view.listen(events.TrialEnded(record=sample_record(1)))
    lines = console.export_text().splitlines()
    assert lines == [
        "Proposer: knobs",
        "trial 1: train wider (seed 7)",
        "trial 1: discard (within_noise) Said.",
    ]
