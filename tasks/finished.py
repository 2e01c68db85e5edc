"""How a task or a flow says what it came to."""

from typing import TypeVar, cast

from prefect.client.schemas.objects import State
from prefect.states import Completed

Result = TypeVar("Result")


def finished(result: Result, message: str) -> Result:
    """What is returned so that its run ends with a sentence, in its log and on its page.

    Prefect gives ``result`` to who calls a flow or submits a task, and the run the state around
    it. Who calls a task gets that state: see ``result_of``.
    """
    return cast("Result", Completed(message=message, data=result))


def result_of(returned: Result) -> Result:
    """What a task came to that was called, and not submitted."""
    return cast("Result", returned.result()) if isinstance(returned, State) else returned
