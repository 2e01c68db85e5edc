import ast
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nightlab import events
from nightlab.errors import UsageError
from nightlab.judging.scores import standing_record
from nightlab.ledger import Ledger
from nightlab.records import Reason, TrialRecord, Verdict
from nightlab.sandbox.device import Device
from nightlab.settings import PRESETS, SessionSettings
from nightlab.study.session import (
    begin_study,
    check_device,
    continue_settings,
    engine_version,
    find_baseline,
    first_source,
    replicate_seed,
    require_compiler,
    say_unknown_peak,
)
from tests.conftest import ROOT, git
from tests.machine_samples import CARDS, Card
from tests.samples import sample_record

CPU = Device(name="cpu", description="a processor, 2 threads", threads=2)


def baseline(**settings: object) -> TrialRecord:
    begun = continue_settings(SessionSettings.model_validate({"study": "s", **settings}), None)
    record = sample_record(0, scores=(2.0, 2.1), verdict=Verdict.KEEP, reason=Reason.BASELINE)
    return record.model_copy(
        update={"settings": begun.model_dump(mode="json"), "device": CPU.description}
    )


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


def constants(source: str) -> dict[str, Any]:
    assigned = (node for node in ast.parse(source).body if isinstance(node, ast.Assign))
    return {
        ast.unparse(node.targets[0]): node.value.value
        for node in assigned
        if isinstance(node.value, ast.Constant)
    }


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_new_study_fits_the_card_that_it_begins_on(card: Card) -> None:
    device = Device(
        name="cuda:0",
        description=card.name,
        threads=1,
        memory_mb=card.memory_mb,
        precision="bfloat16",
    )
    text = (ROOT / "trainer" / "train.py").read_text(encoding="utf-8")
    begun = constants(first_source(text, SessionSettings(preset="h100"), device))
    preset = PRESETS["h100"]
    assert begun["DEVICE_BATCH_SIZE"] == card.device_batch
    assert begun["TOTAL_BATCH_TOKENS"] == preset.knobs["TOTAL_BATCH_TOKENS"]
    tokens, rest = divmod(begun["TOTAL_BATCH_TOKENS"], card.device_batch * preset.sequence_length)
    assert (tokens >= 1, rest) == (True, 0), "accumulation makes up for what does not fit"
    assert begun["TRAINING_PRECISION"] == begun["ORTHOGONAL_PRECISION"] == "bfloat16"
    assert begun["DEPTH"] == preset.knobs["DEPTH"]


def test_a_precision_is_chosen_once_for_a_study() -> None:
    settings, device = SessionSettings(), CPU.model_copy(update={"precision": "float32"})
    text = (ROOT / "trainer" / "train.py").read_text(encoding="utf-8")
    assert constants(text)["TRAINING_PRECISION"] == "probe", "by hand it is measured each time"
    begun = constants(first_source(text, settings, device))
    assert begun["TRAINING_PRECISION"] == begun["ORTHOGONAL_PRECISION"] == "float32"
    assert first_source(text, settings, CPU) == text, "what was not measured is not settled"


@pytest.mark.parametrize(
    "text",
    [
        "DEPTH = 4\n",
        'TRAINING_PRECISION = "bfloat16"\n',
        'TRAINING_PRECISION = "probe"\nTRAINING_PRECISION = "probe"\n',
        "not python",
    ],
)
def test_a_train_file_of_ones_own_keeps_its_precision(text: str) -> None:
    device = CPU.model_copy(update={"precision": "float32"})
    assert first_source(text, SessionSettings(), device) == text


def test_only_a_new_study_is_given_constants(tmp_path: Path) -> None:
    text = 'DEPTH = 4\nTRAINING_PRECISION = "probe"  # or another\n'
    trainer = tmp_path / "trainer" / "train.py"
    trainer.parent.mkdir()
    trainer.write_text(text, encoding="utf-8")
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=A", "-c", "user.email=a@localhost", "commit", "-qm", "Begin")
    ledger = Ledger(tmp_path, "s")
    session: Any = SimpleNamespace(
        ledger=ledger,
        settings=SessionSettings(study="s"),
        places=SimpleNamespace(root=tmp_path),
        device=CPU.model_copy(update={"precision": "float32"}),
    )
    begun = begin_study(session)
    assert ledger.source(begun) == text.replace('"probe"', '"float32"')
    assert trainer.read_text(encoding="utf-8") == text
    session.device = CPU.model_copy(update={"precision": "bfloat16"})
    assert begin_study(session) == begun
    assert ledger.source(ledger.incumbent()) == ledger.source(begun)


def test_a_gpu_whose_peak_is_not_known_is_said() -> None:
    unknown = Device(name="cuda:0", description="NVIDIA X, 8 GiB", threads=1)
    heard: list[events.Event] = []
    with events.listening(heard.append):
        say_unknown_peak(CPU)
        say_unknown_peak(unknown.model_copy(update={"peak_flops": 1e12}))
        assert heard == []
        say_unknown_peak(unknown)
    assert "mfu_percent stays empty: the peak of NVIDIA X, 8 GiB is not in" in str(heard)


def test_every_replicate_of_every_trial_has_a_seed_of_its_own() -> None:
    seeds = {replicate_seed(0, number, index) for number in range(200) for index in range(5)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert replicate_seed(0, 3, 1) == replicate_seed(0, 3, 1)
    assert replicate_seed(0, 3, 1) != replicate_seed(1, 3, 1)


def test_the_incumbent_is_the_last_that_was_kept() -> None:
    kept = sample_record(2, scores=(1.0,), verdict=Verdict.KEEP, reason=Reason.IMPROVED)
    records = (baseline(), sample_record(1), kept, sample_record(3))
    assert standing_record(records) == kept
    found = find_baseline(records)
    assert found is not None
    assert found.number == 0
    assert find_baseline((sample_record(1),)) is None


def test_the_engines_version_follows_its_code_and_not_the_trainer(tmp_path: Path) -> None:
    (tmp_path / "nightlab").mkdir()
    (tmp_path / "trainer").mkdir()
    files = ["nightlab/a.py", "trainer/runtime.py", "trainer/score.py", "trainer/train.py"]
    for name in files:
        (tmp_path / name).write_text("1")
    first = engine_version(tmp_path)
    (tmp_path / "trainer" / "train.py").write_text("2")
    assert engine_version(tmp_path) == first
    (tmp_path / "nightlab" / "a.py").write_text("2")
    assert engine_version(tmp_path) != first


def test_a_preset_that_compiles_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    for has_compiler in (True, False):
        found = partial(SimpleNamespace, has_compiler=has_compiler)
        monkeypatch.setattr("nightlab.study.session.prepare_library", found)
        require_compiler(SessionSettings(preset="quick"))
        if has_compiler:
            require_compiler(SessionSettings(preset="laptop"))
            continue
        with pytest.raises(UsageError, match=r"'laptop' compiles .* g\+\+ .*--preset quick"):
            require_compiler(SessionSettings(preset="laptop"))
