import ast
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nightlab.judging.scores import find_baseline, standing_record
from nightlab.ledger import Ledger
from nightlab.presets import PRESETS
from nightlab.records import Pair, Reason, Verdict
from nightlab.sandbox.device import Device
from nightlab.settings import SessionSettings
from nightlab.study.session import (
    begin_study,
    engine_version,
    first_source,
    seed_from,
    study_noise_bpb,
    study_seeds,
)
from tests.conftest import ROOT, git
from tests.machine_samples import CARDS, Card
from tests.samples import sample_record
from tests.study.begun import CPU, baseline
from tests.study.trained import begun, finished

FIRST_SEEDS = (1_788_622_631, 1_237_078_537)


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


def test_a_studys_seeds_follow_from_its_own_alone() -> None:
    settings = SessionSettings(study="s", seed=3)
    assert study_seeds(settings) == study_seeds(SessionSettings(study="another", seed=3))
    assert set(study_seeds(settings)).isdisjoint(study_seeds(SessionSettings(seed=4)))
    assert seed_from(0, "pair", 1) != seed_from(0, "confirm", 0, 1)
    # Known for good: a study that goes on under a later engine has its seeds still.
    assert study_seeds(SessionSettings())[:2] == FIRST_SEEDS


def test_a_studys_noise_is_that_of_its_pairs_and_none_before_its_baseline() -> None:
    settings = SessionSettings()
    assert study_noise_bpb(settings, ()) is None
    assert study_noise_bpb(settings, (begun(),)) == settings.sizes.pair_noise_bpb
    pairs = tuple(
        Pair(seed=seed, candidate_bpb=2.0 + wide, incumbent_bpb=2.0)
        for seed, wide in enumerate((-0.01, 0.01))
    )
    wide = study_noise_bpb(settings, (begun(), finished(1, pairs=pairs)))
    # Four degrees of freedom of the preset's, and one of 0.01 * sqrt(2).
    expected = math.sqrt((4 * settings.sizes.pair_noise_bpb**2 + 2 * 0.01**2) / 5)
    assert wide == pytest.approx(expected)


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
