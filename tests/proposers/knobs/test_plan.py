"""The order of moves: coarse and sizes first, further where it helped, then several at once."""

from typing import Any

import pytest

from nightlab.presets import PRESETS
from nightlab.proposers import knob_values
from nightlab.proposers.knobs.history import History
from nightlab.proposers.knobs.moves import Kind, kind_of
from nightlab.proposers.knobs.plan import coarse_moves
from nightlab.records import Reason, TrialRecord, Verdict
from nightlab.source.knobs import Value, read_knobs, set_knobs
from tests.proposers.knobs.knob_study import (
    NAMED_OTHERWISE,
    SHIPPED,
    TRAINER,
    KnobStudy,
    applied,
    judged,
    propose,
    record_of,
)


def flat(_: dict[str, Any]) -> float:
    return 2.0


def names_of(titles: list[str]) -> list[str]:
    return [title.split()[0] for title in titles]


@pytest.mark.parametrize("preset", ["quick", "laptop"])
def test_the_first_moves_are_sizes_and_the_depth_is_halved_at_once(preset: str) -> None:
    source = set_knobs(SHIPPED, PRESETS[preset].knobs)
    study = KnobStudy(source, flat).run(8)
    knobs = read_knobs(source)
    assert "DEPTH 4 → 2" in study.titles[:3]
    assert {kind_of(knobs[name]) for name in names_of(study.titles)} == {Kind.SIZE}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kinds_come_one_after_the_other(seed: int) -> None:
    knobs = read_knobs(TRAINER)
    study = KnobStudy(TRAINER, flat, seed=seed).run(18)
    order = list(Kind)
    places = [order.index(kind_of(knobs[name])) for name in names_of(study.titles)]
    assert places == sorted(places)
    assert places[-1] == order.index(Kind.RATE)
    assert all("," not in title or "BATCH" in title for title in study.titles)


def test_a_file_with_other_names_goes_the_same_way() -> None:
    titles = KnobStudy(NAMED_OTHERWISE, flat).run(8).titles
    assert titles[:4] == ["LAYERS 6 → 3", "CHANNELS 96 → 32", "LAYERS 6 → 12", "CHANNELS 96 → 192"]
    assert titles[4:6] == ["BATCH 32 → 16", "BATCH 32 → 64"]
    assert set(names_of(titles[6:])) == {"STEP_SIZE"}


def test_a_budget_of_tokens_tries_larger_first() -> None:
    records = KnobStudy(TRAINER, flat).records
    assert propose(TRAINER, records, budget_tokens=100_000).title == "DEPTH 4 → 8"


def test_what_was_kept_goes_further_at_once_and_never_back() -> None:
    study = KnobStudy(TRAINER, lambda values: 2.0 + 0.02 * values["DEPTH"]).run(3)
    assert study.titles == ["DEPTH 4 → 2", "DEPTH 2 → 1", "WIDTH 64 → 32"]
    study.run(60)
    assert study.knobs["DEPTH"] == 1
    assert not [title for title in study.titles[3:] if title.startswith("DEPTH 1 → 2,")]


def test_the_opposite_of_what_hurt_is_next_and_nothing_goes_further() -> None:
    study = KnobStudy(TRAINER, lambda values: 2.0 - 0.02 * values["DEPTH"]).run(3)
    assert study.titles == ["DEPTH 4 → 2", "DEPTH 4 → 8", "DEPTH 8 → 12"]
    study.run(30)
    depths = [record.knobs["DEPTH"] for record in study.records[2:]]
    assert min(depths) > 2


def test_what_ran_out_of_memory_is_not_gone_to_again() -> None:
    def score(values: dict[str, Any]) -> float | None:
        return None if values["WIDTH"] >= 128 or values["DEPTH"] < 3 else 2.0

    study = KnobStudy(TRAINER, score).run(60)
    crashes = [r for r in study.records if r.verdict is Verdict.CRASH]
    assert len(crashes) == 2


def test_a_failure_of_the_machinery_says_nothing() -> None:
    study = KnobStudy(TRAINER, flat).run(1)
    failed = judged(study.records[1], Verdict.FAILED, Reason.INTERRUPTED, None)
    assert propose(TRAINER, [study.records[0], failed]).title == "DEPTH 4 → 2"


def test_pruned_is_clearly_worse() -> None:
    study = KnobStudy(TRAINER, flat).run(1)
    pruned = judged(study.records[1], Verdict.DISCARD, Reason.PRUNED, None)
    assert propose(TRAINER, [study.records[0], pruned]).title == "DEPTH 4 → 8"


def tried(number: int, changes: dict[str, Value], difference: float) -> TrialRecord:
    record = record_of(number, set_knobs(TRAINER, changes), 2.0 + difference, parent=f"{0:040x}")
    return judged(record, Verdict.DISCARD, Reason.WITHIN_NOISE, difference, 0.4 - 50 * difference)


def all_coarse_but(special: dict[tuple[str, Value], float]) -> list[TrialRecord]:
    """Every coarse move made, next to without effect but for some."""
    records = KnobStudy(TRAINER, flat).records
    history = History(read_knobs(TRAINER), records, None)
    for move in coarse_moves(history, 7, counts_tokens=False):
        effect = special.get(next(iter(move.changes.items())), 0.002)
        records.append(tried(len(records), move.changes, effect))
    return records


def test_moves_that_looked_better_are_made_together() -> None:
    better = {("FEED_FORWARD_RATIO", 2): -0.004, ("ADAM_BETA1", 0.6): -0.006}
    records = all_coarse_but(better)
    idea = propose(TRAINER, records)
    values = knob_values(applied(TRAINER, idea))
    assert values["FEED_FORWARD_RATIO"] == 2
    assert values["ADAM_BETA1"] == 0.6
    assert "leans this way" in idea.hypothesis


def test_a_parabola_through_both_sides_says_where_the_best_may_lie() -> None:
    lopsided = {("MATRIX_LEARNING_RATE", 0.1): 0.001, ("MATRIX_LEARNING_RATE", 0.025): 0.02}
    lopsided |= {("FEED_FORWARD_RATIO", 2): -0.008}
    idea = propose(TRAINER, all_coarse_but(lopsided))
    rate = knob_values(applied(TRAINER, idea))["MATRIX_LEARNING_RATE"]
    assert isinstance(rate, float)
    assert 0.06 < rate < 0.08


def test_titles_and_reasons_are_plain() -> None:
    study = KnobStudy(TRAINER, flat)
    assert propose(TRAINER, study.records).hypothesis == (
        "Half of DEPTH: steps that cost less are more steps in the same time."
    )
    batch = next(title for title in study.run(12).titles if title.startswith("TOTAL"))
    assert batch == "TOTAL_BATCH_TOKENS 2048 → 1024, DEVICE_BATCH_SIZE 8 → 4"
