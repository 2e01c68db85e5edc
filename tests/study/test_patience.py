"""When failed trials end a session, and when it waits."""

from nightlab.records import Reason, TrialRecord, Verdict
from nightlab.study.patience import (
    FIRST_PAUSE_SECONDS,
    LONGEST_PAUSE_SECONDS,
    MAX_SILENCES_IN_A_ROW,
    after_failures,
)
from tests.samples import sample_record

OURS = "this session"


def failed(reason: Reason, sentence: str = "It broke.", session: str = OURS) -> TrialRecord:
    record = sample_record(1, verdict=Verdict.FAILED, reason=reason)
    decision = record.decision.model_copy(update={"sentence": sentence})
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


def test_the_same_refusal_three_times_ends_a_session_and_other_ones_do_not() -> None:
    key, name = failed(Reason.MODEL_REFUSED, "Bad key."), failed(Reason.MODEL_REFUSED, "Bad name.")
    assert after_failures([key] * 3, OURS).stop is not None
    assert after_failures([key, key], OURS).stop is None
    assert after_failures([key, name, key], OURS).stop is None


def test_a_silent_model_is_waited_for_longer_and_longer() -> None:
    pauses = [
        after_failures([failed(Reason.MODEL)] * count, OURS).pause_seconds
        for count in range(MAX_SILENCES_IN_A_ROW)
    ]
    assert pauses[:4] == [0, 0, FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_SECONDS
    assert after_failures([failed(Reason.MODEL)] * MAX_SILENCES_IN_A_ROW, OURS).stop is not None
