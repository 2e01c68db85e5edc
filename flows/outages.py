"""Prefect's server away: what must be told to it waits, and what only shows things goes without.

Git has every trial and the training needs no server, so a night goes on where it can. What cannot
be made without the server is a run below the session's own; and the server has to hear how a run
ended.
"""

import math
import time
from collections.abc import Callable
from typing import TypeVar

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException, TerminationSignal
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from nightlab import events
from nightlab.errors import MachineryError, NightlabError, SessionOver
from nightlab.records.durations import SECONDS_PER_HOUR, in_words
from nightlab.study.patience import Outage

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
HEALTH_SECONDS = 10.0
"""Longest wait for one answer about the server's health."""

Result = TypeVar("Result")


class PrefectAway(MachineryError):  # noqa: N818
    """Prefect's server was away for as long as a session waits for it."""


def through_outages(
    run: Callable[[], Result],
    *,
    hours: float,
    outage: Outage,
    mend: Callable[[], None],
    while_waiting: Callable[[], None],
) -> Result:
    """Run something that Prefect's server has to know of; where the server goes away, again.

    Args:
        run: what is run. It has to be safe to run again: git says what of it has happened.
        hours: the longest wait for the server.
        outage: of it, as earlier steps have met it.
        mend: called once the server is back, before the next try: what the outage left on its
            pages is put right.
        while_waiting: called now and then in a wait; what it raises ends the wait.

    Raises:
        PrefectAway: the server was away for longer, or its answers were errors for as long.
    """
    began, pause = math.inf, FIRST_PAUSE_SECONDS
    while True:
        tried = time.monotonic()
        try:
            if await_prefect(hours, outage, while_waiting):
                mend()
            return run()
        except (httpx.TransportError, httpx.HTTPStatusError, RuntimeError) as error:
            if not is_outage(error):
                raise
            # Prefect tells how a run ended before it lets an interrupt on, which fails as well.
            if (interrupt := _interrupt_behind(error)) is not None:
                raise interrupt from None
            events.publish(events.Notice(text=f"Prefect's server went away ({_short(error)})."))
            now = time.monotonic()
            if now - tried > LONGEST_PAUSE_SECONDS:  # something was done between
                began, pause = math.inf, FIRST_PAUSE_SECONDS
            began = min(began, now)
            if now - began >= hours * SECONDS_PER_HOUR:
                raise PrefectAway(
                    f"Prefect's server says that it is well and answered with errors for {hours:g} "
                    f"h ({_short(error)}), so the session ends; git has all trials. Look into the "
                    "server's log and its database, then run the same command again."
                ) from error
        while_waiting()
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def ended_by(error: Exception) -> BaseException:
    """What ended a run whose end Prefect's server could not be told, which is what was raised."""
    if not is_outage(error):
        return error
    return (
        _behind(error, KeyboardInterrupt)
        or _behind(error, NightlabError)
        or MachineryError(
            f"Prefect's server went away and did not hear how the run ended ({_short(error)}): git "
            "has all trials; start the server, then run the same command again."
        )
    )


def _interrupt_behind(error: BaseException) -> BaseException | None:
    """Ctrl-C or a signal to end, where an error only followed from it."""
    return _behind(error, KeyboardInterrupt, SystemExit, TerminationSignal)


def _behind(error: BaseException, *kinds: type[BaseException]) -> BaseException | None:
    """The first error of some kinds among those that an error followed from, itself included."""
    if isinstance(error, kinds):
        return error
    before = error.__cause__, error.__context__
    found = (_behind(each, *kinds) for each in before if each is not None)
    return next((each for each in found if each is not None), None)


def is_outage(error: Exception) -> bool:
    """Whether an error says that the server could not be reached, or could not answer.

    The session's own talk with others never raises these types: models', git's and MLflow's
    failures are Nightlab's errors.
    """
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.is_server_error
    # Prefect's client says it so where the first connection fails.
    return isinstance(error, httpx.TransportError) or "Failed to reach API" in str(error)


def await_prefect(hours: float, outage: Outage, while_waiting: Callable[[], None]) -> bool:
    """Return once Prefect's server is well; whether that had to be waited for.

    One outage is waited for ``hours`` in all, and no more once ``while_waiting`` has ended a wait.

    Raises:
        PrefectAway: it was away for longer.
    """
    if _is_well():
        outage.began = None
        return False
    address = PREFECT_API_URL.value() or "its address"
    if outage.began is None:
        outage.began, outage.is_given_up = time.monotonic(), False
        events.publish(
            events.Notice(
                text=f"Prefect's server at {address} does not answer: the session waits for it, up "
                f"to {hours:g} h. Nothing is lost: git has the trials."
            )
        )
    pause = FIRST_PAUSE_SECONDS
    while (left := _left(hours, outage)) > 0:
        try:
            while_waiting()
        except SessionOver:
            outage.is_given_up = True
            raise
        time.sleep(min(pause, left))
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        if _is_well():
            outage.began = None
            events.publish(events.Notice(text="Prefect's server answers again."))
            return True
    waited = in_words(time.monotonic() - outage.began)
    raise PrefectAway(
        f"Prefect's server at {address} did not answer for {waited}, so the session ends; git has "
        "all trials. Start the server, then run the same command again "
        "(--wait-for-prefect-hours waits longer)."
    )


def _left(hours: float, outage: Outage) -> float:
    if outage.is_given_up or outage.began is None:
        return 0.0
    return outage.began + hours * SECONDS_PER_HOUR - time.monotonic()


def best_effort(show: Callable[[], Result]) -> Result | None:
    """Do what only shows things on Prefect's pages; None where its server does not take it."""
    try:
        return show()
    except (httpx.HTTPError, PrefectException, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not is_outage(error):
            raise
        return None


def _is_well() -> bool:
    # Its client would try again by itself, for longer than it takes to say that it waits.
    once = temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0})
    patience = {"timeout": HEALTH_SECONDS}
    try:
        with once, get_client(sync_client=True, httpx_settings=patience) as client:
            return client.api_healthcheck() is None
    except (httpx.HTTPError, PrefectException, RuntimeError):
        return False


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
