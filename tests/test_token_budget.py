"""A study that counts tokens says so wherever its trials are shown."""

import io

import pytest

from flows.live import LiveView
from flows.printing import print_trial
from flows.terminal import Terminal
from nightlab import events
from nightlab.proposers.prompts import known_facts
from nightlab.records import CurvePoint, TrialRecord
from nightlab.report.page import study_facts
from nightlab.tracking.content import TrialFacts, trial_params
from tests.proposers.trainer_sample import sample_brief
from tests.samples import sample_record


@pytest.fixture(params=[None, 1_500_000])
def record(request: pytest.FixtureRequest) -> TrialRecord:
    made = sample_record(3, scores=(1.5,))
    return made.model_copy(update={"budget_seconds": 60.0, "budget_tokens": request.param})


def said(record: TrialRecord) -> str:
    return "60 s" if record.budget_tokens is None else "1,500,000 tokens within 60 s"


def test_in_the_terminal(record: TrialRecord) -> None:
    console = Terminal(io.StringIO(), width=120, record=True)
    print_trial(console, record, "")
    assert f"budget {said(record)} a replicate" in console.export_text()


def test_in_the_report(record: TrialRecord) -> None:
    assert ("budget", f"{said(record)} a replicate") in study_facts((record,))


def test_in_mlflow(record: TrialRecord) -> None:
    params = trial_params(record.number, TrialFacts.of(record))
    assert params["budget_seconds"] == "60.0"
    assert params.get("budget_tokens") == (None if record.budget_tokens is None else "1500000")


def test_in_the_prompt(record: TrialRecord) -> None:
    budget = {name: getattr(record, name) for name in ("budget_seconds", "budget_tokens")}
    facts = known_facts(sample_brief(**budget))
    assert ("1,500,000 training tokens" in facts) is (record.budget_tokens is not None)
    assert ("60 training seconds" in facts) is (record.budget_tokens is None)


def test_while_it_trains() -> None:
    view = LiveView("night", ())
    view.listen(events.StepBegun(study="night", number=1, step="train", title="wider", seed=7))
    gate = events.GateOpened(
        study="night", number=1, seed=7, budget_seconds=60, budget_tokens=1_500_000
    )
    view.listen(gate)
    console = Terminal(io.StringIO(), width=110, record=True)
    console.print(view)
    point = CurvePoint(seconds=1.0, step=1, loss=4.0, tokens=500_000)
    view.listen(events.Trained(study="night", number=1, seed=7, point=point))
    console.print(view)
    text = console.export_text()
    assert "1,500,000 tokens left of 1,500,000" in text
    assert "1,000,000 tokens left of 1,500,000" in text
