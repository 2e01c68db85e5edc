"""What a study is measured under: kept where it goes on, refused or said where it differs."""

from types import SimpleNamespace

import pytest

from nightlab import events
from nightlab.errors import UsageError
from nightlab.evaluation.allowance import FACTORS, allowance
from nightlab.records import Answering, Evaluation, Pair, Reason, TrialRecord
from nightlab.sandbox.device import Device
from nightlab.settings import SessionSettings
from nightlab.study.conditions import (
    allowed_answering,
    check_device,
    continue_settings,
    require_compiler,
    say_kept_seed,
    say_new_engine,
    say_new_rule,
    say_unknown_peak,
)
from tests.study.begun import CPU, baseline
from tests.study.trained import BETTER, ELSEWHERE, HERE, begun, finished, trained


def test_a_study_goes_on_with_what_it_was_begun_with() -> None:
    record = baseline(preset="laptop", corpus="path:texts", budget_seconds=33)
    settings = continue_settings(SessionSettings(study="s", trials=5), record)
    assert settings.preset == "laptop"
    assert settings.corpus == "path:texts"
    assert settings.sizes.budget_seconds == 33
    assert settings.trials == 5


@pytest.mark.parametrize(
    "change", [{"preset": "quick"}, {"budget_seconds": 20.0}, {"corpus": "embedded"}]
)
def test_another_measure_is_refused_with_both_values(change: dict[str, object]) -> None:
    record = baseline(preset="laptop", corpus="path:texts", budget_seconds=33)
    with pytest.raises(UsageError, match="name another study") as refusal:
        continue_settings(SessionSettings.model_validate({"study": "s", **change}), record)
    name, value = next(iter(change.items()))
    assert f"{name} " in str(refusal.value)
    assert repr(value) in str(refusal.value)


def test_a_study_counts_one_thing_and_keeps_to_it() -> None:
    by_tokens = baseline(budget_tokens=5000)
    settings = continue_settings(SessionSettings(study="s"), by_tokens)
    assert (settings.sizes.budget_tokens, settings.sizes.budget_seconds) == (5000, 60)
    assert continue_settings(settings, by_tokens) == settings
    with pytest.raises(UsageError, match="budget_tokens 5000 and is now given 6000"):
        continue_settings(SessionSettings(study="s", budget_tokens=6000), by_tokens)
    with pytest.raises(UsageError, match=r"budget_seconds 60\.0 and is now given 20\.0"):
        continue_settings(SessionSettings(study="s", budget_seconds=20), by_tokens)
    with pytest.raises(
        UsageError, match=r"in seconds \(20\) and is now given one in tokens \(6,000"
    ):
        continue_settings(SessionSettings(study="s", budget_tokens=6000), baseline())


def test_where_tokens_are_counted_another_gpu_is_said() -> None:
    record = baseline(budget_tokens=5000).model_copy(update={"budget_tokens": 5000})
    heard: list[events.Event] = []
    with events.listening(heard.append):
        check_device(Device(name="cuda:0", description="a GPU", threads=2), record)
    assert "may not be comparable" in str(heard)


def test_naming_the_budget_that_the_preset_has_is_no_change() -> None:
    record = baseline(preset="quick")
    settings = continue_settings(SessionSettings(study="s", budget_seconds=20), record)
    assert settings.sizes.budget_seconds == 20


def test_another_gpu_is_refused_and_another_processor_is_said() -> None:
    record = baseline()
    gpu = Device(name="cuda:0", description="a GPU", threads=2)
    with pytest.raises(UsageError, match="cannot be compared"):
        check_device(gpu, record)
    heard: list[events.Event] = []
    other = CPU.model_copy(update={"description": "another processor, 4 threads"})
    with events.listening(heard.append):
        check_device(CPU, record)
        assert heard == []
        check_device(other, record)
    assert "may not be comparable" in str(heard)


def test_a_gpu_whose_peak_is_not_known_is_said() -> None:
    unknown = Device(name="cuda:0", description="NVIDIA X, 8 GiB", threads=1)
    heard: list[events.Event] = []
    with events.listening(heard.append):
        say_unknown_peak(CPU)
        say_unknown_peak(unknown.model_copy(update={"peak_flops": 1e12}))
        assert heard == []
        say_unknown_peak(unknown)
    assert "mfu_percent stays empty: the peak of NVIDIA X, 8 GiB is not in" in str(heard)


@pytest.mark.parametrize("has_compiler", [True, False])
def test_a_preset_that_compiles_needs_a_compiler(
    has_compiler: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = SimpleNamespace(has_compiler=has_compiler)
    monkeypatch.setattr("nightlab.study.conditions.prepare_library", lambda *_: library)
    require_compiler(SessionSettings(preset="quick"))
    require_compiler(SessionSettings(preset="laptop", trust_candidate=True))
    if has_compiler:
        require_compiler(SessionSettings(preset="laptop"))
        return
    with pytest.raises(UsageError, match=r"'laptop' compiles .* g\+\+ .*--preset quick"):
        require_compiler(SessionSettings(preset="laptop"))


@pytest.mark.parametrize("given", [{}, {"seed": 5}, {"seed": 0}])
def test_a_study_keeps_its_seed_whatever_a_session_is_given(given: dict[str, int]) -> None:
    """Or its codes would be trained on other seeds than the incumbent that they are set beside."""
    record = baseline(seed=42)
    heard: list[events.Event] = []
    with events.listening(heard.append):
        settings = SessionSettings(study="s", **given)
        continued = continue_settings(settings, record)
        assert continued.seed == 42
        say_kept_seed(settings, continued)
        new = continue_settings(settings, None)
        say_kept_seed(settings, new)
    assert new.seed == given.get("seed", 0)
    told = [each.text for each in heard if isinstance(each, events.Notice)]
    assert ["keeps its seed, 42" in text for text in told] == [True] * len(given)


def said(*records: TrialRecord) -> list[str]:
    heard: list[events.Event] = []
    with events.listening(heard.append):
        say_new_rule(records)
    return [each.text for each in heard if isinstance(each, events.Notice)]


def test_that_a_study_was_judged_by_another_rule_is_said_until_it_has_pairs() -> None:
    old = begun().model_copy(update={"replicates": (trained(0, 2.0, place=""),)})
    discarded = finished(1, own=[trained(0, 2.1, place="")])
    (sentence,) = said(old, discarded)
    assert "trials of study 'night' so far were judged by another rule" in sentence
    assert "pairs begin with this session" in sentence
    pair = Pair(seed=1, candidate_bpb=2.0 + BETTER, incumbent_bpb=2.0)
    assert said(old, discarded, finished(2, pairs=(pair,))) == []


def test_of_a_new_study_nothing_is_said_of_rules() -> None:
    assert said() == []
    assert said(begun()) == []
    assert said(finished(0)) == [], "without a baseline nothing was judged"


def test_another_engine_is_said() -> None:
    heard: list[events.Event] = []
    record = begun().model_copy(update={"engine_version": "1"})
    with events.listening(heard.append):
        say_new_engine("1", (record,))
        say_new_engine("2", ())
        assert heard == []
        say_new_engine("2", (record,))
    assert "continues under engine 2, after 1" in str(heard)


def timed(seconds: float, place: str, *, score: float | None = 2.0) -> TrialRecord:
    replicate = trained(0, 2.0, place=place)
    answering = Answering(clock="processor", claims=seconds)
    found = Evaluation(val_bpb=score, answering=answering)
    return finished(0, own=[replicate.model_copy(update={"evaluation": found})])


def test_what_an_evaluation_is_allowed_rests_on_the_baseline_here_or_else_elsewhere() -> None:
    def study(*records: TrialRecord) -> TrialRecord:
        own = [each for record in records for each in record.replicates]
        return finished(0, own=own, reason=Reason.BASELINE)

    both = study(timed(2.0, HERE), timed(9.0, ELSEWHERE), timed(30.0, HERE, score=None))
    slow_trial = timed(60.0, HERE).model_copy(update={"number": 1})
    for place, longest in ((HERE, 2.0), (ELSEWHERE, 9.0), ("a third", 9.0)):
        found = allowed_answering((both, slow_trial), place, CPU)
        assert found is not None
        assert found.claims == FACTORS["claims"] * longest + 1
    assert allowed_answering((), HERE, CPU) is None
    assert allowed_answering((begun(),), HERE, CPU) is allowance([], "processor") is None
    gpu = Device(name="cuda:0", description="a GPU", threads=1)
    assert allowed_answering((both,), HERE, gpu) is None
