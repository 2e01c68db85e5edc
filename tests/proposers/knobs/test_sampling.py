"""What is drawn when all planned moves are made: small steps that the history teaches."""

import math

import optuna
import pytest

from nightlab.proposers import KnobProposer, apply_edits, knob_values, read_knobs
from nightlab.proposers.knobs.sampling import (
    NEIGHBOURHOOD,
    STARTUP_TRIALS,
    drawn_move,
    told_study,
    tpe_sampler,
)
from nightlab.proposers.knobs.space import search_space
from nightlab.records import Reason, TrialRecord, Verdict
from tests.proposers.knobs.knob_study import judged, record_of
from tests.proposers.trainer_sample import SOURCE, sample_brief


def drawn(source: str, records: list[TrialRecord], number: int) -> dict[str, object]:
    brief = sample_brief(number, tuple(records), incumbent_source=source)
    proposal = KnobProposer(plans=False).propose(brief)
    return dict(knob_values(apply_edits(source, proposal.edits).source))


@pytest.mark.parametrize("history", [1, STARTUP_TRIALS + 4])
def test_moves_are_few_near_the_incumbent_and_in_range(history: int) -> None:
    records = [
        record_of(n, SOURCE.replace("DEPTH = 4", f"DEPTH = {2 + n % 9}"), 2.5 + n / 100)
        for n in range(history)
    ]
    knobs = read_knobs(SOURCE)
    for number in range(100, 130):
        values = drawn(SOURCE, records, number)
        moved = {name for name, value in values.items() if value != knobs[name].value}
        assert 1 <= len(moved) <= 3
        for name in moved - {"WINDOW_PATTERN"}:
            knob, value = knobs[name], values[name]
            low, high, standing = float(knob.low), float(knob.high), float(knob.value)  # type: ignore[arg-type]
            assert isinstance(value, int | float)
            assert low <= value <= high
            if knob.step:
                assert (value - low) % knob.step == 0
            distance = (
                math.log(value / standing) / math.log(high / low)
                if knob.log
                else (value - standing) / (high - low)
            )
            slack = 1 / (high - low) if knob.is_integer else 0.01
            assert abs(distance) <= NEIGHBOURHOOD + slack


def test_history_teaches_where_not_to_go() -> None:
    """Low decay scored badly in every trial, high decay well: what is drawn goes up."""
    source = "".join(line for line in SOURCE.splitlines(True) if "DECAY" in line or "=" not in line)
    records = []
    for number in range(10):
        decay = 0.26 + 0.05 * number
        changed = source.replace("DECAY = 0.5", f"DECAY = {decay:.2f}")
        records.append(record_of(number, changed, 3.0 - decay))
    values = [drawn(source, records, number)["DECAY"] for number in range(100, 120)]
    assert sum(isinstance(value, float) and value > 0.5 for value in values) >= 15


def test_a_choice_of_fractions_is_drawn_from_the_near_ones() -> None:
    source = SOURCE + "\nDROP = 0.1  # one of 0.0, 0.1234567, 0.3, 0.5, 0.7\n"
    found = {drawn(source, [], number)["DROP"] for number in range(40)}
    assert found == {0.0, 0.1, 0.1234567, 0.3}


def test_a_batch_is_drawn_as_halves_and_doubles() -> None:
    source = SOURCE.replace(
        "TOTAL_BATCH_TOKENS = 65_536  # tokens of one step",
        "ROWS = 4  # TOTAL_BATCH_TOKENS must be a multiple of its tokens\n"
        "TOTAL_BATCH_TOKENS = 2048  # 256..65_536 log",
    )
    found = {drawn(source, [], number)["TOTAL_BATCH_TOKENS"] for number in range(60)}
    assert found == {1024, 2048, 4096}


def test_scores_that_stand_side_by_side_are_told_as_they_are() -> None:
    spaces = {name: search_space(knob, 1.0) for name, knob in read_knobs(SOURCE).items()}
    kept = judged(record_of(0, SOURCE, 2.0), Verdict.KEEP, Reason.IMPROVED, -0.1)
    behind = record_of(1, SOURCE.replace("= 4", "= 8"), None, parent=kept.commit)
    behind = judged(behind, Verdict.DISCARD, Reason.PRUNED, 0.05)
    crash = judged(record_of(2, SOURCE, None), Verdict.CRASH, Reason.OOM, None)
    brief = sample_brief(3, (kept, behind, crash), incumbent_commit=kept.commit)
    told = told_study(brief, spaces, tpe_sampler(0))
    assert [trial.value for trial in told.trials] == [2.0, pytest.approx(2.05), 2.0]


def test_nothing_open_is_said() -> None:
    knobs = read_knobs(SOURCE)
    sampler = optuna.samplers.RandomSampler(seed=0)
    found = drawn_move(sample_brief(), knobs, sampler, 0, first=(), is_open=lambda _: False)
    assert found is None
