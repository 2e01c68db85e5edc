"""Tasks side by side, each in a thread of Prefect's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from prefect.futures import PrefectFuture

from nightlab.study.session import Session

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Outcomes(Generic[Result]):
    """What tasks side by side came to: what one lane measured is not lost with another's error."""

    results: list[Result | None]
    """In their order; None where one raised."""
    error: Exception | None
    """The first that was raised."""

    def require_all(self) -> None:
        """Raise what one of them raised, once the others' results are put down."""
        if self.error is not None:
            raise self.error


def outcomes_of(
    session: Session, submits: Sequence[Callable[[], PrefectFuture[Result]]]
) -> Outcomes[Result]:
    """Submit tasks of the session, and return once all of them are over.

    So none goes on beside whatever follows. Where this is interrupted (Ctrl-C, a run that is
    cancelled), their jobs are ended: Prefect waits for its threads, and those would train to the
    end of their budget.
    """
    try:
        running = [submit() for submit in submits]
        for each in running:
            each.wait()
    except BaseException:
        session.sandbox.end_jobs()
        raise
    outcomes = [each.result(raise_on_failure=False) for each in running]
    errors = [each for each in outcomes if isinstance(each, Exception)]
    return Outcomes(
        results=[None if isinstance(each, Exception) else each for each in outcomes],
        error=errors[0] if errors else None,
    )
