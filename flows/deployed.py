"""What a run of a deployment needs: its clone is thrown away when it ends."""

from prefect.context import FlowRunContext

from nightlab.study.checks import check_remote_is_named, say_local_tracking
from nightlab.study.session import Session


def require_remote(study: str, remote: str | None) -> None:
    """Refuse a deployment's run whose study would be lost with its clone.

    Raises:
        UsageError: no remote is named for the study.
    """
    if _is_deployed():
        check_remote_is_named(study, remote)


def say_what_stays_here(session: Session) -> None:
    """Say that MLflow's store cannot be seen elsewhere, where this run is a deployment's."""
    if _is_deployed():
        remote = session.remote.name if session.remote is not None else None
        say_local_tracking(session.ledger.study, remote, session.places)


def _is_deployed() -> bool:
    context = FlowRunContext.get()
    run = context.flow_run if context is not None else None
    return run is not None and run.deployment_id is not None
