"""The knobs proposer: what it proposes, and never again, told by the study's whole history."""

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightlab.errors import UsageError
from nightlab.proposers import UnderWay, check_source, knob_values, read_knobs
from nightlab.proposers.knobs.sampling import STARTUP_TRIALS
from nightlab.records import Reason, TrialRecord, Verdict
from tests.proposers.knobs.knob_study import TRAINER, KnobStudy, applied, propose, record_of
from tests.proposers.trainer_sample import SOURCE
from tests.samples import sample_record


def score_of(values: dict[str, Any]) -> float:
    """A score with its best at a rate of 0.02 and a depth of 6."""
    rate = math.log(values["MATRIX_LEARNING_RATE"] / 0.02)
    return 2.0 + 0.1 * abs(rate) + 0.05 * abs(values["DEPTH"] - 6)


def simulate(trials: int, source: str = SOURCE) -> list[TrialRecord]:
    """A study where depth 3 and less crash."""

    def score(values: dict[str, Any]) -> float | None:
        return None if values["DEPTH"] <= 3 else score_of(values)

    return KnobStudy(source, score).run(trials).records


def test_thirty_trials_find_nearly_all_there_is() -> None:
    scores = [record.val_bpb for record in simulate(30) if record.val_bpb is not None]
    assert min(scores) < 2.0 + 0.25 * (scores[0] - 2.0)


@pytest.mark.parametrize("trials", [50, pytest.param(200, marks=pytest.mark.slow)])
def test_no_trial_repeats_another_and_all_together_find_something(trials: int) -> None:
    study = KnobStudy(TRAINER, bowl).run(trials)
    combinations = [
        tuple(record.knobs.items()) + (record.title,)[: "DEVICE" in record.title]
        for record in study.records
    ]
    assert len(set(combinations)) == len(combinations)
    assert study.standing < bowl(dict(knob_values(TRAINER))) - 0.03


def bowl(values: dict[str, Any]) -> float:
    """A score with its best some way off the trainer's values of four knobs."""
    loss = 0.02 * abs(math.log2(values["DEPTH"] / 2))
    loss += 0.01 * math.log2(values["MATRIX_LEARNING_RATE"] / 0.08) ** 2
    loss += 0.2 * (values["WARM_DOWN_SHARE"] - 0.7) ** 2
    return 2.0 + loss + 0.004 * abs(math.log2(values["TOTAL_BATCH_TOKENS"] / 1024))


def test_the_same_brief_gives_the_same_proposal_and_another_seed_another_order() -> None:
    one, same = (KnobStudy(TRAINER, bowl, seed=3).run(20).titles for _ in range(2))
    other = KnobStudy(TRAINER, bowl, seed=4).run(20).titles
    assert one == same
    assert one[:4] == other[:4]
    assert one != other


def test_trials_under_way_elsewhere_keep_their_ideas() -> None:
    records = [record_of(0, SOURCE, 2.5)]
    ideas = [propose(SOURCE, records, number).title for number in range(1, 9)]
    assert len(set(ideas)) == len(ideas)
    told = UnderWay(
        number=1, title=ideas[0], diff="-DEPTH = 4  # 2..12\n+DEPTH = 2  # 2..12; blocks"
    )
    assert ideas[0] == "DEPTH 4 → 2"
    assert propose(SOURCE, records, 2, under_way=told).title == ideas[1]


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
