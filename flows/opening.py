"""How every flow that works on a study begins and ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRunPolicy
from prefect.runtime import flow_run

from flows.deployed import require_remote, say_what_stays_here
from flows.holders import waiting_for
from flows.keys import read_api_keys
from flows.naming import label_run
from flows.open_runs import close_killed_runs, close_runs_below
from flows.outages import PrefectAway, await_prefect, through_outages
from flows.progress import session_progress
from flows.pushing import pushed_at_the_end
from nightlab.errors import NightlabError, NotPushed, SessionOver, StudyBusy, UsageError
from nightlab.ledger import Ledger, Remote, hold_clone
from nightlab.settings import Places, SessionSettings
from nightlab.study.kept_models import show_last_model
from nightlab.study.recording import show_last_trial
from nightlab.study.session import Session, open_session
from nightlab.study.steering import Ear
from tasks.prepare import prepare

Result = TypeVar("Result")

RETRIES = 2
RETRY_DELAY_SECONDS = 120
"""Of a session's run: for a machine, a remote or a server that fails at the wrong moment."""


@contextmanager
def working_session(settings: SessionSettings) -> Iterator[Session]:
    """Open a session with its corpus ready, and with what was left open before it closed.

    It ends once the study is on its remote and Prefect's server can hear how. A person's mistake
    is not tried again: the next try would find it as it is.

    Raises:
        UsageError: settings that cannot work here, or a deployment's run without a remote.
        NotPushed: the remote took nothing for hours; the study is kept on this machine.
    """
    identifier = flow_run.get_id() or ""
    with _mistakes_are_final():
        require_remote(settings.study, settings.remote)
        opening = open_session(
            settings,
            Places.find(),
            identifier=identifier,
            api_keys=read_api_keys(settings.api_key_secret),
            waiting=waiting_for(settings, identifier),
        )
        with opening as session, session_progress(session), pushed_at_the_end(session):
            say_what_stays_here(session)
            label_run(f"study:{settings.study}")
            with_prefect(session, partial(close_killed_runs, session))
            with_prefect(session, partial(close_runs_below, session))
            show_last_trial(session)
            show_last_model(session)
            prepare(session)
            try:
                yield session
            except PrefectAway:
                raise  # It was waited for long enough.
            except NightlabError:
                _await_listener(session)
                raise
            _await_listener(session)


@contextmanager
def fetched_study(study: str, remote: str | None, places: Places) -> Iterator[Ledger]:
    """Look into a study that a run is to go on with, as it stands at the remote.

    Raises:
        UsageError: no such remote, or none for a deployment's run.
        RemoteError: it did not answer.
    """
    with _mistakes_are_final():
        require_remote(study, remote)
        ledger = Ledger(places.root, study)
        if remote is not None:
            # From under a session that works in this clone nothing is moved: it is seen as it
            # stands here, and the run's own session fetches it in its turn.
            with suppress(StudyBusy), hold_clone(ledger):
                ledger.require_free_branch()
                Remote(places.root, remote, study).fetch()
        yield ledger


@contextmanager
def _mistakes_are_final() -> Iterator[None]:
    """Have a run end with a person's mistake, whatever retries its flow has.

    Likewise with what was tried for hours: the next try's failure would hide where the study is;
    and with what a person stopped.
    """
    try:
        yield
    except (UsageError, NotPushed, SessionOver):
        _try_no_more(flow_run.get_id() or "")
        raise


def with_prefect(session: Session, run: Callable[[], Result]) -> Result:
    """Run something that has a run of its own below the session's, through outages of Prefect."""
    return through_outages(
        run,
        hours=session.settings.wait_for_prefect_hours,
        outage=session.prefect,
        mend=partial(close_runs_below, session),
        while_waiting=Ear(session, "Prefect's server"),
    )


def _await_listener(session: Session) -> None:
    hours, hear = session.settings.wait_for_prefect_hours, Ear(session, "Prefect's server")
    if await_prefect(hours, session.prefect, hear):
        close_runs_below(session)


def _try_no_more(identifier: str) -> None:
    if not identifier:
        return
    with get_client(sync_client=True) as client:
        client.update_flow_run(UUID(identifier), empirical_policy=FlowRunPolicy(retries=0))
