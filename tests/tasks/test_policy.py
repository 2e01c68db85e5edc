import asyncio

import pytest
from prefect.states import exception_to_failed_state

from nightlab.errors import (
    LedgerError,
    ModelError,
    ModelRefused,
    RemoteError,
    SandboxError,
    UsageError,
)
from tasks.policy import may_succeed


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ModelError("busy"), True),
        (RemoteError("away"), True),
        (LedgerError("locked"), True),
        (SandboxError("broke"), True),
        (ModelRefused("wrong key"), False),
        (UsageError("wrong setting"), False),
        (ZeroDivisionError("a bug"), False),
    ],
)
def test_only_failures_that_another_try_may_mend_are_tried_again(
    error: Exception, again: bool
) -> None:
    state = asyncio.run(exception_to_failed_state(error))
    assert may_succeed(None, None, state) is again  # type: ignore[arg-type]
