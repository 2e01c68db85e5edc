"""The bench of nights: simulated ideas, the engine's own rule."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from nightlab.records import Decision, Reason, TrialRecord, Verdict
from tests.conftest import ROOT
from tests.samples import sample_record

sys.path.insert(0, str(ROOT / "bench"))

import night_simulation
import nights
from night_simulation import Machine, Study, World, draw_idea, engine, keep_if_lower


def random(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_ideas_are_those_of_the_notes() -> None:
    draw = random()
    typical = np.array([draw_idea(draw, "typical") for _ in range(8_000)])
    scarce = np.array([draw_idea(draw, "scarce") for _ in range(8_000)])
    assert (typical > 1).mean() == pytest.approx(0.15 * np.exp(-1 / 1.5), abs=0.01)
    assert (scarce > 1).mean() == pytest.approx(0.05 * np.exp(-1 / 2), abs=0.01)
    assert (typical < -1).mean() == pytest.approx(0.6 * np.exp(-1 / 3), abs=0.02)
    assert draw_idea(draw, "null") == 0


@pytest.mark.parametrize("rho", [0.2, 0.73])
def test_trainings_of_one_seed_share_what_rho_says(rho: float) -> None:
    machine = Machine(random(), World(rho=rho))
    pairs = np.array([(machine.score(0, seed), machine.score(-1, seed)) for seed in range(8_000)])
    assert np.std(pairs[:, 0]) == pytest.approx(1, abs=0.03)
    assert np.std(pairs[:, 0] - pairs[:, 1]) == pytest.approx((2 * (1 - rho)) ** 0.5, abs=0.03)
    assert np.mean(pairs[:, 0] - pairs[:, 1]) == pytest.approx(1, abs=0.05)


def test_keep_if_lower_keeps_about_four_null_ideas_a_night() -> None:
    keeps = [keep_if_lower(random(seed), World(kind="null")).keeps for seed in range(300)]
    # The records of a hundred equal draws: 1/2 + 1/3 + ... + 1/100.
    assert np.mean(keeps) == pytest.approx(4.19, abs=0.4)


def test_stopping_what_is_hopeless_tries_more_ideas() -> None:
    for seed in range(5):
        whole = keep_if_lower(random(seed), World())
        assert whole.ideas == 99
        assert keep_if_lower(random(seed), World(), stops=True).ideas > 120


def test_a_night_ends_with_its_trainings_and_is_the_same_each_time() -> None:
    world = World(trainings=25)
    outcome = engine(random(5), world, keep_probability=0.9)
    assert outcome == engine(random(5), world, keep_probability=0.9)
    assert 10 < outcome.ideas <= outcome.trainings
    whole = engine(random(5), replace(world, stops=False), keep_probability=0.9)
    assert whole.trainings <= 25
    assert whole.ideas < outcome.ideas


def test_a_study_goes_by_its_records() -> None:
    study = Study(random(3), World(), 0.9)
    study.begin()
    made = [study.trial(gain) for gain in (5.0, -5.0, 0.0)]
    assert study.records[0].reason is Reason.BASELINE
    assert made[0] is not None
    assert made[0].reason is Reason.IMPROVED
    assert made[1] is not None
    assert made[1].verdict is Verdict.DISCARD
    assert study.mean == -5.0
    assert [record.parent for record in study.records] == ["0", "0", "1", "1"]
    assert len(study.records[0].replicates) == 2


def test_a_hopeless_training_is_stopped_and_costs_less() -> None:
    study = Study(random(1), World(), 0.9)
    study.begin()
    for _ in range(20):
        study.trial(-20.0)
    stopped = [each for each in study.records if each.reason is Reason.PRUNED]
    assert len(stopped) > 15
    assert study.spent < 2 + 20
    assert study.spent == pytest.approx(
        2 + len(stopped) * night_simulation.STOPPED_COST + (20 - len(stopped)), abs=1.01
    )


def test_two_lanes_train_side_by_side() -> None:
    study = Study(random(3), World(lanes=2), 0.85)
    study.begin()
    assert study.spent == 1
    study.trial(5.0)
    assert study.spent == 2
    assert len(study.records[1].replicates) == 2


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.5, 0.73])
def test_a_night_finds_more_than_keep_if_lower(rho: float) -> None:
    world = World(rho=rho)
    ours = nights.run_row("Nightlab", world, 0.9, 40)
    lower = nights.run_row("keep if lower, one seed", world, None, 40)
    assert ours.gain > lower.gain
    assert ours.false_share < 0.08 < lower.false_share


def test_the_tables_are_printed_and_written(tmp_path) -> None:
    numbers = tmp_path / "nights.json"
    words = ["--nights", "2", "--kinds", "null", "--workers", "1", "--json", str(numbers)]
    done = subprocess.run(
        [sys.executable, "bench/nights.py", *words, "--only", "rules"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "| null | any | keep if lower, one seed | 0.0 ± 0.0 |" in done.stdout
    written = json.loads(numbers.read_text(encoding="utf-8"))
    assert len(written["rules"]) == 8
    decision = Decision.model_validate(written["simulated_trial"])
    assert decision.reason is Reason.IMPROVED
    assert len(decision.pairs) > 3


def test_a_row_of_simplifications() -> None:
    row = nights.run_simpler(1.0, 0.5, 3)
    assert 0 <= row.kept <= 1
    assert 0 <= row.lost <= row.lost_at_most


def test_pictures_are_drawn_of_a_record(tmp_path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import draw_decisions

    record: TrialRecord = sample_record(3, scores=(1.9, 1.95), incumbent=(2.0, 1.94))
    draw_decisions.draw_pairs(record.decision, "A trial", tmp_path / "pairs.png")
    assert (tmp_path / "pairs.png").stat().st_size > 5_000
