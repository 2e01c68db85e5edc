from nightlab.records import Reason, TrialRecord, Verdict
from nightlab.tracking.pairs import Incumbent, incumbent_of
from tests.tracking.samples import record, replicate


def trial(number: int, parent: str, commit: str, *, keep: bool = False) -> TrialRecord:
    verdict = Verdict.KEEP if keep else Verdict.DISCARD
    reason = Reason.IMPROVED if keep else Reason.WITHIN_NOISE
    update = {"parent": parent, "commit": commit, "replicates": (replicate(7, 2.0 - number / 100),)}
    return record("s", number, verdict=verdict, reason=reason).model_copy(update=update)


def test_a_baseline_stands_alone() -> None:
    first = record("s", 0, verdict=Verdict.KEEP, reason=Reason.BASELINE)
    assert incumbent_of([first], first) == Incumbent()


def test_the_twin_is_the_parents_training_with_the_seed_of_the_first() -> None:
    records = [
        trial(1, "a", "b", keep=True),
        trial(2, "b", "c"),
        trial(3, "b", "d", keep=True),
        trial(4, "d", "e"),
    ]
    assert incumbent_of(records, records[1]) == Incumbent(trial=1, twin=records[0].replicates[0])
    assert incumbent_of(records, records[3]) == Incumbent(trial=3, twin=records[2].replicates[0])


def test_one_made_anew_for_the_trial_goes_before_the_one_that_was_there() -> None:
    anew = replicate(7, 1.9901)
    second = trial(2, "b", "c").model_copy(update={"incumbent_replicates": (anew,)})
    assert incumbent_of([trial(1, "a", "b", keep=True), second], second).twin == anew


def test_without_a_training_there_is_no_twin() -> None:
    idle = trial(2, "b", "b").model_copy(update={"replicates": ()})
    assert incumbent_of([trial(1, "a", "b", keep=True), idle], idle) == Incumbent(trial=1)
