"""How every flow that works on a study begins and ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRunPolicy
from prefect.runtime import flow_run

from flows.keys import read_api_key
from flows.open_runs import close_killed_runs, close_runs_below
from flows.outages import await_prefect, through_outages
from flows.progress import session_progress
from nightlab.errors import NightlabError, UsageError
from nightlab.settings import Places, SessionSettings
from nightlab.study.session import Session, open_session
from tasks.prepare import prepare

Result = TypeVar("Result")

RETRIES = 2
RETRY_DELAY_SECONDS = 120
"""Of a session's run: for a machine, a remote or a server that fails at the wrong moment."""


@contextmanager
def working_session(settings: SessionSettings) -> Iterator[Session]:
    """Open a session with its corpus ready, and with what was left open before it closed.

    It ends once Prefect's server can hear how. A person's mistake is not tried again: the
    next try would find it as it is.
    """
    identifier = flow_run.get_id() or ""
    try:
        key = read_api_key(settings.api_key_secret)
        with (
            open_session(settings, Places.find(), identifier=identifier, api_key=key) as session,
            session_progress(session),
        ):
            close_killed_runs(session)
            close_runs_below(session)
            prepare(session)
            try:
                yield session
            except NightlabError:
                _await_listener(session)
                raise
            _await_listener(session)
    except UsageError:
        _try_no_more(identifier)
        raise


def with_prefect(session: Session, run: Callable[[], Result]) -> Result:
    """Run something that has a run of its own below the session's, through outages of Prefect."""
    return through_outages(
        run,
        hours=session.settings.wait_for_prefect_hours,
        mend=partial(close_runs_below, session),
        while_waiting=session.sandbox.require_open,
    )


def _await_listener(session: Session) -> None:
    if await_prefect(session.settings.wait_for_prefect_hours, session.sandbox.require_open):
        close_runs_below(session)


def _try_no_more(identifier: str) -> None:
    """Have Prefect let a run fail at once, whatever retries its flow has."""
    if not identifier:
        return
    with get_client(sync_client=True) as client:
        client.update_flow_run(UUID(identifier), empirical_policy=FlowRunPolicy(retries=0))
