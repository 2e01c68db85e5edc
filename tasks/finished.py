"""How a task or a flow says what it came to."""

from typing import TypeVar, cast

from prefect.states import Completed

Result = TypeVar("Result")


def finished(result: Result, message: str) -> Result:
    """What is returned so that its run ends with a sentence, in its log and on its page.

    Prefect gives the caller ``result`` and the run the state around it.
    """
    return cast("Result", Completed(message=message, data=result))
