"""What a report says to try next."""

import pytest

from nightlab.records import Reason, TrialRecord, Verdict
from nightlab.report.next_steps import next_steps
from nightlab.report.study import Study, read_study
from tests.report.samples import FixedStudy, baseline, trial


def study(*records: TrialRecord) -> Study:
    return read_study(FixedStudy(all_records=[baseline(2.0), *records]))


def kept(number: int, score: float, gain: float) -> TrialRecord:
    return trial(number, Verdict.KEEP, (score,), difference=-gain, title=f"idea {number}")


def near(number: int, chance: float) -> TrialRecord:
    record = trial(number, scores=(1.99,), difference=-0.01, title=f"idea {number}")
    decision = record.decision.model_copy(update={"probability_better": chance})
    return record.model_copy(update={"decision": decision})


def changed(record: TrialRecord, **update: object) -> TrialRecord:
    return record.model_copy(update=update)


@pytest.mark.parametrize(
    ("keeps", "asked", "said"),
    [
        (1, False, "now with a model, since nobody has edited the code itself yet: `nightlab "),
        (0, False, "now with a model"),
        (0, True, "go on from here: `nightlab research --study first-light`"),
        (2, True, "go on from here: `nightlab research --study first-light`"),
        (13, False, "find the changes that help nothing: `nightlab consolidate first-light`"),
    ],
)
def test_the_first_step_follows_from_where_it_stands(keeps: int, asked: bool, said: str) -> None:
    records = [kept(n, 2.0 - n / 100, 0.01) for n in range(1, keeps + 1)]
    assert next_steps(study(*records), asked_models=asked)[0].startswith(said)


def test_ideas_that_brought_nothing_in_a_row_are_counted() -> None:
    first, *_ = next_steps(study(trial(1, scores=(2.1,))), asked_models=True)
    assert first.startswith("1 idea in a row brought nothing; tell it what to try")
    found = study(kept(1, 1.9, 0.1), *(trial(n, scores=(2.1,)) for n in range(2, 10)))
    assert next_steps(found, asked_models=True)[0].startswith("8 ideas in a row brought nothing")


def test_near_ideas_are_named_by_their_chances_and_proposed_together() -> None:
    found = study(near(1, 0.2), near(2, 0.4), near(3, 0.7), near(4, 0.5), near(5, 0.31))
    (said,) = [
        each for each in next_steps(found, asked_models=True) if each.startswith("maybe better")
    ]
    assert "trial 3, “idea 3” (70 %), trial 4, “idea 4” (50 %), trial 2, “idea 2” (40 %)" in said
    assert said.endswith("`nightlab suggest first-light 'Trials 3 and 4 together'`")
    rescued = changed(kept(6, 1.9, 0.1), rescue_of=3)
    said = " ".join(next_steps(study(near(3, 0.7), near(4, 0.5), rescued), asked_models=True))
    assert "trial 4, “idea 4” (50 %); more of the same may be" in said
    assert "trial 3" not in said


def test_a_crashed_idea_was_not_judged_and_a_failed_trial_can_be_retried() -> None:
    crash, failed = trial(1, Verdict.CRASH, reason=Reason.OOM), trial(2, Verdict.FAILED)
    said = next_steps(study(crash, failed), asked_models=True)
    assert any(
        "trial 1, “Warm down over the last 60 % of the budget”, crashed, so nobody knows whether "
        "the idea is good: `nightlab show first-light 1`" in each
        for each in said
    )
    assert any("`nightlab retry first-light 2`" in each for each in said)
    again = changed(trial(3, scores=(2.1,)), retry_of=2)
    no_idea = changed(trial(4, Verdict.FAILED), commit="a" * 40)
    said = next_steps(study(failed, again, no_idea), asked_models=True)
    assert not any("nightlab retry" in each for each in said)


def test_what_nobody_tried_is_named() -> None:
    root = changed(baseline(), knobs={"DEPTH": 4, "WIDTH": 64, "ROPE_BASE": 1e4})
    moved = changed(
        trial(1, scores=(2.1,)),
        parent=root.commit,
        knobs={"DEPTH": 4, "WIDTH": 32, "ROPE_BASE": 1e4, "NEW": 1},
    )
    found = read_study(FixedStudy(all_records=[root, moved]))
    said = next_steps(found, asked_models=True)
    assert said[-1] == "constants that no trial has moved: DEPTH, ROPE_BASE"
    assert any("--proposer hybrid" in each for each in said)
    tuned = changed(moved, proposer="knobs")
    said = next_steps(read_study(FixedStudy(all_records=[root, tuned])), asked_models=True)
    assert not any("--proposer hybrid" in each for each in said)
    assert not any("constants" in each for each in next_steps(study(), asked_models=False))
