"""The knobs proposer: small steps around the incumbent, told by the study's whole history."""

import math
import warnings
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightlab.errors import UsageError
from nightlab.proposers import KnobProposer, apply_edits, check_source, knob_values, read_knobs
from nightlab.proposers.knob_proposer import (
    NEIGHBOURHOOD,
    STARTUP_TRIALS,
    _study_of,
    tpe_sampler,
)
from nightlab.proposers.knob_space import search_space
from nightlab.records import Proposal, Reason, TrialRecord, Verdict
from tests.proposers.trainer_sample import SOURCE, sample_brief
from tests.samples import sample_record


def record_of(number: int, source: str, score: float | None, **changes: Any) -> TrialRecord:
    scores = () if score is None else (score,)
    record = sample_record(number, scores=scores)
    return record.model_copy(update={"knobs": knob_values(source), **changes})


def propose(source: str, records: list[TrialRecord], number: int | None = None) -> Proposal:
    number = len(records) if number is None else number
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return KnobProposer().propose(sample_brief(number, tuple(records), incumbent_source=source))


def applied(source: str, proposal: Proposal) -> str:
    outcome = apply_edits(source, proposal.edits)
    assert outcome.error is None
    assert check_source(outcome.source) is None
    return outcome.source


def score_of(values: dict[str, Any]) -> float:
    """A score with its best at a rate of 0.02 and a depth of 6."""
    rate = math.log(values["MATRIX_LEARNING_RATE"] / 0.02)
    return 2.0 + 0.1 * abs(rate) + 0.05 * abs(values["DEPTH"] - 6)


def simulate(trials: int) -> list[TrialRecord]:
    """A greedy search on a known score, where trials of depth 3 and less crash."""
    source = SOURCE
    best = score_of(knob_values(source))
    records = [record_of(0, source, best)]
    for number in range(1, trials + 1):
        candidate = applied(source, propose(source, records))
        values = knob_values(candidate)
        if values["DEPTH"] <= 3:
            crash = sample_record(0).decision.model_copy(
                update={"verdict": Verdict.CRASH, "reason": Reason.OOM}
            )
            records.append(record_of(number, candidate, None, decision=crash))
            continue
        score = score_of(values)
        records.append(record_of(number, candidate, score))
        if score < best:
            source, best = candidate, score
    return records


def test_thirty_trials_improve_and_none_repeats_another() -> None:
    records = simulate(30)
    combinations = [tuple(record.knobs.items()) for record in records]
    assert len(set(combinations)) == len(combinations)
    scores = [record.val_bpb for record in records if record.val_bpb is not None]
    gap = scores[0] - 2.0
    assert min(scores) < 2.0 + 0.7 * gap


def test_the_same_brief_gives_the_same_proposal_and_another_number_another() -> None:
    records = [record_of(0, SOURCE, 2.5)]
    assert propose(SOURCE, records) == propose(SOURCE, records)
    ideas = {propose(SOURCE, records, number).title for number in range(1, 9)}
    assert len(ideas) > 4


@pytest.mark.parametrize("history", [1, STARTUP_TRIALS + 4])
def test_moves_are_few_near_the_incumbent_and_in_range(history: int) -> None:
    records = simulate(history - 1)
    knobs = read_knobs(SOURCE)
    for number in range(100, 130):
        proposal = propose(SOURCE, records, number)
        values = knob_values(applied(SOURCE, proposal))
        moved = {name for name, value in values.items() if value != knobs[name].value}
        assert 1 <= len(moved) <= 3
        for name in moved - {"WINDOW_PATTERN"}:
            knob, value = knobs[name], values[name]
            low, high, standing = float(knob.low), float(knob.high), float(knob.value)  # type: ignore[arg-type]
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


def test_the_title_names_what_moves_from_where_to_where() -> None:
    proposal = propose(SOURCE, [record_of(0, SOURCE, 2.5)])
    values = knob_values(applied(SOURCE, proposal))
    for part in proposal.title.split(", "):
        name, change = part.split(" ", 1)
        before, after = change.split(" → ")
        assert str(read_knobs(SOURCE)[name].value).startswith(before)
        assert after in (str(values[name]), f"{values[name]:g}")
    assert proposal.proposer == "knobs"
    assert proposal.model is None
    assert proposal.cost.calls == 0
    assert proposal.hypothesis.endswith(".")


def test_history_teaches_where_not_to_go() -> None:
    """Low decay scored badly in every trial, high decay well: proposals go up."""
    source = "".join(line for line in SOURCE.splitlines(True) if "DECAY" in line or "=" not in line)
    records = []
    for number in range(10):
        decay = 0.26 + 0.05 * number
        changed = source.replace("DECAY = 0.5", f"DECAY = {decay:.2f}")
        records.append(record_of(number, changed, 3.0 - decay))
    proposals = [propose(source, records, number) for number in range(100, 120)]
    values = [knob_values(apply_edits(source, p.edits).source)["DECAY"] for p in proposals]
    assert sum(value > 0.5 for value in values) >= 15


def test_crashes_of_code_and_failures_of_the_machinery_teach_nothing_about_knobs() -> None:
    records = simulate(STARTUP_TRIALS + 2)
    after = len(records)
    failed = sample_record(0).decision.model_copy(update={"verdict": Verdict.FAILED})
    crash = sample_record(0).decision.model_copy(update={"verdict": Verdict.CRASH})
    far = SOURCE.replace("DEPTH = 4", "DEPTH = 12")
    without = propose(SOURCE, records, after)
    for changes in ({"decision": failed}, {"decision": crash, "proposer": "llm"}):
        told = [*records, record_of(after, far, None, **changes)]
        assert propose(SOURCE, told, after) == without


def test_knobs_that_records_do_not_know_or_that_are_gone_do_no_harm() -> None:
    records = simulate(12)
    strange = {"GONE": 3, "DEPTH": "four", "WIDTH": True, "DECAY": None, "WINDOW_PATTERN": 5}
    records.append(record_of(13, SOURCE, 2.2).model_copy(update={"knobs": strange}))
    source = SOURCE.replace("DECAY", "FADE").replace('"L", "SL"', '"L", "LL"')
    values = knob_values(applied(source, propose(source, records)))
    assert "FADE" in values


def test_a_value_outside_its_range_is_where_the_search_begins() -> None:
    source = SOURCE.replace("DEPTH = 4", "DEPTH = 16").replace('= "L"', '= "SSSL"')
    records = [record_of(0, source, 2.5)]
    for number in range(1, 15):
        applied(source, propose(source, records, number))


def test_a_trainer_without_knobs_is_a_usage_error() -> None:
    source = SOURCE.replace("  # ", "  # not: ")
    with pytest.raises(UsageError, match="found none: declare some"):
        propose(source, [])


def test_an_exhausted_space_is_a_usage_error() -> None:
    lines = [line for line in SOURCE.splitlines(True) if "  # " not in line]
    source = "".join(lines) + 'MODE = "a"  # one of "a", "b"\n'
    records = [record_of(0, source, 2.5)]
    second = applied(source, propose(source, records))
    assert knob_values(second) == {"MODE": "b"}
    records.append(record_of(1, second, 2.6))
    with pytest.raises(UsageError, match="has not tried: widen"):
        propose(source, records)


EDITED = SOURCE.replace("DECAY = 0.5  # 0.0..1.0; share of the budget", "GATE = 0.5  # 0.0..1.0")


def kept(number: int, source: str, score: float) -> TrialRecord:
    record = sample_record(number, scores=(score,), verdict=Verdict.KEEP, reason=Reason.IMPROVED)
    return record.model_copy(update={"knobs": knob_values(source)})


def test_a_knob_that_an_edit_brought_is_moved_until_it_is_known() -> None:
    before = [kept(n, SOURCE, 2.5 - n / 100) for n in range(3)]
    edited = kept(3, EDITED, 2.4)
    for number in range(4, 24):
        found = propose(EDITED, [*before, edited], number)
        assert knob_values(applied(EDITED, found))["GATE"] != 0.5
        assert "An edit brought GATE, to be tuned first." in found.hypothesis
        assert "The last kept edit removed DECAY." in found.hypothesis
    values = [EDITED.replace("GATE = 0.5", f"GATE = {value}") for value in (0.2, 0.8)]
    known = [record_of(n, source, 2.5) for n, source in enumerate(values, start=4)]
    later = [propose(EDITED, [*before, edited, *known], number) for number in range(6, 26)]
    assert any(knob_values(applied(EDITED, found))["GATE"] == 0.5 for found in later)
    assert not any("An edit brought" in found.hypothesis for found in later)


def test_without_edits_no_knob_is_new_or_gone() -> None:
    records = [kept(n, SOURCE, 2.5 - n / 100) for n in range(3)]
    assert "edit" not in propose(SOURCE, records).hypothesis


def test_a_new_choice_of_two_is_known_once_both_were_tried() -> None:
    edited = EDITED.replace("GATE = 0.5  # 0.0..1.0", 'KIND = "A"  # one of "A", "B"')
    records = [kept(0, SOURCE, 2.5)]
    records.append(kept(1, edited, 2.4))
    assert "brought KIND" in propose(edited, records).hypothesis
    records.append(record_of(2, edited.replace('KIND = "A"', 'KIND = "B"'), 2.45))
    assert "brought" not in propose(edited, records).hypothesis


def test_a_kept_trial_counts_with_its_codes_later_trainings() -> None:
    kept = sample_record(1, scores=(1.9,), verdict=Verdict.KEEP, reason=Reason.IMPROVED)
    lucky = kept.model_copy(update={"knobs": knob_values(SOURCE)})
    fresh = sample_record(2, scores=(2.1,)).replicates
    later = record_of(2, SOURCE, 2.3, parent=lucky.commit, incumbent_replicates=fresh)
    spaces = {name: search_space(knob, 1.0) for name, knob in read_knobs(SOURCE).items()}
    told = _study_of(sample_brief(3, (lucky, later)), spaces, tpe_sampler(0))
    assert [trial.value for trial in told.trials[:2]] == [pytest.approx(2.0), 2.3]


numbers = st.one_of(
    st.integers(-3, 20).map(str),
    st.floats(allow_nan=False).map(repr),
    st.sampled_from(["1e999", "1e-320", "9" * 400, "9" * 5_000, "9007199254740993", "1_000", ".5"]),
)
comments = st.one_of(
    st.builds("{}..{}".format, numbers, numbers),
    st.builds("{}..{} log".format, numbers, numbers),
    st.builds("{}..{} step {}".format, numbers, numbers, numbers),
    st.lists(
        st.one_of(numbers, st.sampled_from(["True", '"a"', "'\\ud800'", "None", "1j", "float"])),
        min_size=1,
        max_size=4,
    ).map(lambda values: "one of " + ", ".join(values)),
)
values = st.one_of(numbers, st.sampled_from(["True", '"a"', '"\\ud800"', "-1", "None"]))


@settings(
    max_examples=500,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(st.tuples(values, comments), min_size=1, max_size=3), st.booleans())
def test_whatever_a_model_declares_as_a_knob_can_be_moved_and_stored(
    declared: list[tuple[str, str]], learns: bool
) -> None:
    lines = [f"KNOB_{at} = {value}  # {comment}" for at, (value, comment) in enumerate(declared)]
    source = SOURCE + "\n" + "\n".join(lines) + "\n"
    if check_source(source) is not None:
        return
    records = [record_of(0, SOURCE, 2.0)]
    if learns:
        records += [record_of(number, source, 2.0) for number in range(1, STARTUP_TRIALS + 2)]
    for record in records:
        assert TrialRecord.model_validate_json(record.model_dump_json()).knobs == record.knobs
    moved = knob_values(applied(source, propose(source, records)))
    assert moved != knob_values(source)
    assert TrialRecord.model_validate_json(
        record_of(1, applied(source, propose(source, records)), 2.0).model_dump_json()
    )


def test_a_choice_of_fractions_is_drawn_from_its_choices() -> None:
    source = SOURCE + "\nDROP = 0.1  # one of 0.0, 0.1234567, 0.3\n"
    drawn = {
        knob_values(applied(source, propose(source, [], number)))["DROP"] for number in range(40)
    }
    assert drawn == {0.0, 0.1, 0.1234567, 0.3}
