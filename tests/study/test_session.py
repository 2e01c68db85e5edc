import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from nightlab.judging.scores import find_baseline, standing_record
from nightlab.records import Pair, Reason, Verdict
from nightlab.settings import SessionSettings
from nightlab.study.session import (
    Session,
    engine_version,
    seed_from,
    study_noise_bpb,
    study_seeds,
)
from tests.samples import sample_record
from tests.session_samples import sample_session
from tests.study.begun import baseline
from tests.study.trained import begun, finished

FIRST_SEEDS = (1_788_622_631, 1_237_078_537)


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


def test_the_corpus_is_asked_for_by_what_the_study_began_on(tmp_path: Path) -> None:
    session = sample_session(tmp_path / "clone")
    asked = Session.corpus_request(session)
    assert (asked.root, asked.begun_on) == (tmp_path / "clone", None)
    record = baseline().model_copy(update={"corpus_fingerprint": "f" * 64})
    session.ledger = SimpleNamespace(records=lambda: (record,), marks=tuple)
    assert Session.corpus_request(session).begun_on == "f" * 64
