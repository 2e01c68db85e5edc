"""When failed trials end a session, and how long models are waited for."""

import pytest

from nightlab.records import Approval, Reason, TrialRecord, Verdict
from nightlab.study.patience import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    after_failures,
    next_pause_seconds,
)
from tests.samples import sample_record

OURS = "this session"


def failed(
    reason: Reason, sentence: str = "It broke.", session: str = OURS, cause: str = ""
) -> TrialRecord:
    record = sample_record(1, verdict=Verdict.FAILED, reason=reason)
    decision = record.decision.model_copy(update={"sentence": sentence, "cause": cause})
    return record.model_copy(update={"decision": decision, "session": session})


def judged() -> TrialRecord:
    return sample_record(1, scores=(2.0,)).model_copy(update={"session": OURS})


def test_three_failures_of_the_machine_in_a_row_end_a_session() -> None:
    row = [failed(Reason.MACHINERY), failed(Reason.INTERRUPTED), failed(Reason.MACHINERY)]
    assert after_failures(row[:2], OURS).stop is None
    stopped = after_failures(row, OURS).stop
    assert stopped is not None
    assert "3 trials in a row" in stopped
    assert after_failures([row[0], judged(), *row[1:]], OURS).stop is None
    assert after_failures([*row, judged()], OURS).stop is None
    assert after_failures(row, "another session").stop is None


def test_keeps_that_fell_with_a_refused_one_are_no_failures() -> None:
    fallen = failed(Reason.INTERRUPTED).model_copy(update={"approval": Approval.STRANDED})
    assert after_failures([fallen] * 3, OURS).stop is None


def test_the_same_refusal_three_times_ends_a_session_and_other_ones_do_not() -> None:
    key, name = failed(Reason.MODEL_REFUSED, "Bad key."), failed(Reason.MODEL_REFUSED, "Bad name.")
    assert after_failures([key] * 3, OURS).stop is not None
    assert after_failures([key, key], OURS).stop is None
    assert after_failures([key, name, key], OURS).stop is None


def test_refusals_compare_by_model_and_status_and_not_by_their_words() -> None:
    def refusal(number: int, cause: str) -> TrialRecord:
        return failed(Reason.MODEL_REFUSED, f"Bad key (request {number}).", cause=cause)

    row = [refusal(number, "openai/x 401") for number in range(3)]
    assert after_failures(row, OURS).stop is not None
    assert after_failures([*row[:2], refusal(2, "openai/x 404")], OURS).stop is None
    assert after_failures([*row[:2], refusal(2, "openai/y 401")], OURS).stop is None


@pytest.mark.parametrize(
    ("reason", "is_measured", "fails"),
    [
        (Reason.MODEL_REFUSED, True, False),
        (Reason.MODEL_REFUSED, False, True),
        (Reason.MODEL, True, False),
        (Reason.MODEL, False, True),
        (Reason.NO_EDIT, True, False),
        (Reason.NO_EDIT, False, True),
        (Reason.MACHINERY, True, True),
    ],
)
def test_who_has_measured_something_ends_as_usual_when_its_models_fail(
    reason: Reason, is_measured: bool, fails: bool
) -> None:
    baseline = sample_record(0, scores=(2.0,), verdict=Verdict.KEEP, reason=Reason.BASELINE)
    before = [baseline, judged()] if is_measured else [baseline]
    patience = after_failures([*before, *[failed(reason)] * 3], OURS)
    assert patience.stop is not None
    assert patience.fails is fails


def test_silent_models_are_waited_for_longer_and_longer() -> None:
    pauses = [next_pause_seconds(count, 0, 1e6, None) for count in range(100)]
    assert pauses[:3] == [FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS, 4 * FIRST_PAUSE_SECONDS]
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    assert pauses == sorted(filter(None, pauses))


def test_a_wait_ends_when_the_session_has_waited_long_enough() -> None:
    assert next_pause_seconds(9, 3_500, 3_600, None) == 100
    assert next_pause_seconds(9, 3_600, 3_600, None) is None
    assert next_pause_seconds(0, 0, 0, None) is None


def test_a_limit_is_waited_for_until_it_ends_and_not_in_vain() -> None:
    pause = next_pause_seconds(0, 0, 8 * 3_600, 3 * 3_600)
    assert pause is not None
    assert 3 * 3_600 < pause < 3 * 3_600 + 10
    assert next_pause_seconds(5, 6 * 3_600, 8 * 3_600, 3 * 3_600) is None


def test_who_asks_for_a_second_each_time_is_waited_for_longer_all_the_same() -> None:
    assert next_pause_seconds(3, 0, 8 * 3_600, 1.0) == 8 * FIRST_PAUSE_SECONDS


def test_three_runs_of_an_agent_that_left_nothing_end_a_session_whatever_they_said() -> None:
    row = [failed(Reason.NO_EDIT, f"It said {word}.") for word in ("one", "two", "three")]
    assert after_failures(row[:2], OURS).stop is None
    assert after_failures([*row[:2], judged(), row[2]], OURS).stop is None
    last = row[2].model_copy(update={"log_tail": "Edits were\nrefused."})
    stopped = after_failures([*row[:2], last], OURS).stop
    assert stopped is not None
    assert "It said three." in stopped
    assert stopped.endswith("The last lines of its output:\nEdits were\nrefused.")
