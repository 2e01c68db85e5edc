import asyncio
from types import SimpleNamespace
from typing import cast

import pytest
from prefect.client.schemas.objects import TaskRun
from prefect.states import exception_to_failed_state

from nightlab.errors import (
    LedgerError,
    MachineBusy,
    ModelError,
    ModelRefused,
    NoEdit,
    RemoteError,
    SandboxError,
    UsageError,
)
from nightlab.proposers import EndpointError
from tasks.policy import MEASURING_DELAYS_SECONDS, may_measure, may_succeed


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ModelError("busy"), True),
        (EndpointError("busy", retry_after_seconds=5), True),
        (EndpointError("at its limit", retry_after_seconds=3_600), False),
        (RemoteError("away"), True),
        (LedgerError("locked"), True),
        (SandboxError("broke"), True),
        (ModelRefused("wrong key"), False),
        (NoEdit("changed nothing"), False),
        (UsageError("wrong setting"), False),
        (ZeroDivisionError("a bug"), False),
    ],
)
def test_only_failures_that_another_try_may_mend_are_tried_again(
    error: Exception, again: bool
) -> None:
    state = asyncio.run(exception_to_failed_state(error))
    assert may_succeed(None, None, state) is again  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "tries", "again"),
    [
        (SandboxError("broke"), 1, True),
        (SandboxError("broke"), 2, False),
        (MachineBusy("other work"), 1, True),
        (MachineBusy("other work"), 7, True),
        (UsageError("wrong setting"), 1, False),
    ],
)
def test_a_busy_machine_is_waited_for_and_a_broken_sandbox_is_not(
    error: Exception, tries: int, again: bool
) -> None:
    state = asyncio.run(exception_to_failed_state(error))
    run = cast("TaskRun", SimpleNamespace(run_count=tries))
    assert may_measure(None, run, state) is again
    assert sum(MEASURING_DELAYS_SECONDS) < 3600
