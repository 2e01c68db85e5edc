import io

from rich.console import Console

from flows.live import LiveView, PlainView, spark_line
from nightlab import events
from nightlab.records import CurvePoint, Reason, Verdict
from tests.samples import sample_record


def drawn(view: LiveView) -> str:
    console = Console(width=110, record=True, quiet=False, file=io.StringIO())
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
    for expected in ("trial 1", "wider", "seed 7", "left of 20", "loss 2.000", "1,000 tokens/s"):
        assert expected in text
    view.listen(events.TrialEnded(record=sample_record(1, scores=(2.5,))))
    text = drawn(view)
    assert "within_noise" in text
    assert "2.5000" in text


def test_a_title_cannot_style_the_terminal() -> None:
    record = sample_record(1).model_copy(update={"title": "[bold]x[/bold] [link=x]"})
    view = LiveView("night", (record,))
    assert "[bold]x[/bold]" in drawn(view)


def test_without_a_terminal_every_event_is_a_line() -> None:
    console = Console(width=200, record=True, file=io.StringIO())
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
