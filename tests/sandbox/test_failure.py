import pytest

from nightlab.records import Reason
from nightlab.sandbox.failure import Failure, classify_crash, failed_import, silenced
from tests.samples import UNREADABLE_TRITON


@pytest.mark.parametrize(
    ("code", "log", "reason", "message"),
    [
        (1, "torch.OutOfMemoryError: CUDA out of memory. Tried", Reason.OOM, "CUDA out of"),
        (1, "RuntimeError: DefaultCPUAllocator: can't allocate memory", Reason.OOM, "Default"),
        (134, "terminate called\nstd::bad_alloc", Reason.OOM, "bad_alloc"),
        (137, "step 3", Reason.OOM, "killed by the system"),
        (1, "OSError: [Errno 28] No space left on device", Reason.RESOURCES, "No space"),
        (1, "RuntimeError: can't start new thread", Reason.RESOURCES, "new thread"),
        (1, "OSError: [Errno 12] Cannot allocate memory", Reason.OOM, "Cannot allocate"),
        (153, "writing", Reason.RESOURCES, "larger than is allowed"),
        (1, "FileNotFoundError: [Errno 2] no 'x'", Reason.EXCEPTION, "Errno 2"),
        (1, "ValueError: a\nsome later words", Reason.EXCEPTION, "ValueError: a"),
        (1, "out of memory was printed\nKeyError: 'x'", Reason.EXCEPTION, "KeyError: 'x'"),
        (1, "ContractError: no build_model", Reason.CONTRACT, "no build_model"),
        (1, "", Reason.EXCEPTION, "no output"),
        (1, "E" * 10_000, Reason.EXCEPTION, "E" * 300),
    ],
)
def test_crashes_are_told_apart(code, log, reason, message):
    failure = classify_crash(code, log)
    assert failure.reason is reason
    assert message in failure.message
    assert len(failure.message) <= 300


@pytest.mark.parametrize(
    ("code", "log", "reason", "message"),
    [
        (139, "step 3", Reason.EXCEPTION, "ended by signal 11; last output: step 3"),
        (129, "", Reason.EXCEPTION, "ended by signal 1; last output: no output"),
        (128, "step 3", Reason.EXCEPTION, "step 3"),
        (139, "ValueError: a", Reason.EXCEPTION, "ValueError: a"),
        # It says itself what was wrong, and was ended for it later.
        (137, "ValueError: a", Reason.EXCEPTION, "ValueError: a"),
        (153, "ValueError: a\nstep", Reason.EXCEPTION, "ValueError: a"),
        (1, "FloatingPointError: a loss", Reason.NONFINITE, "FloatingPointError: a loss"),
        (1, "KeyError: 'a'\nValueError: b", Reason.EXCEPTION, "ValueError: b"),
        (1, "first\n  last  \n\n", Reason.EXCEPTION, "last"),
    ],
)
def test_a_crash_is_told_in_these_words(code, log, reason, message):
    assert classify_crash(code, log) == Failure(reason=reason, message=message)


def test_of_a_scorer_nothing_but_the_reason_is_told():
    told = silenced(classify_crash(139, "text that was shown"))
    assert told.reason is Reason.EXCEPTION
    assert "(exception)" in told.message
    assert "shown validation text" in told.message
    assert "139" not in told.message
    assert "11" not in told.message
    assert "text that was shown" not in told.message


def test_an_import_that_fails_inside_the_library_is_known_by_its_traceback():
    assert failed_import(f"step 1\n{UNREADABLE_TRITON}") == (
        "ValueError: @jit functions should be defined in a Python file"
    )
    in_place = UNREADABLE_TRITON.replace("/nightlab/packages", "/home/x/lib/site-packages")
    assert failed_import(in_place) is not None
    own = UNREADABLE_TRITON.replace("packages/triton", "candidate/triton")
    assert failed_import(own) is None
    assert failed_import(UNREADABLE_TRITON.replace("<module>", "forward")) is None
    assert failed_import("ValueError: said, and nothing was raised") is None
    later = 'Traceback (most recent call last):\n  File "train.py", line 1, in <module>\nKeyError'
    assert failed_import(f"{UNREADABLE_TRITON}\nDuring handling:\n{later}") is None
