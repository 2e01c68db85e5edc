"""How runs are named and tagged on Prefect's pages."""

import re
from datetime import datetime
from functools import partial
from textwrap import shorten
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from flows.outages import best_effort
from nightlab.redaction import redact
from nightlab.shown import for_terminal

LONGEST_NAME = 120


def name_of_night() -> str:
    """A session's run: its study, and when it began, by this machine's clock."""
    study, name = flow_run.get_parameters()["study"], str(flow_run.get_name())
    if re.fullmatch(rf"{re.escape(study)} \d{{4}}-\d\d-\d\d \d\d:\d\d", name):
        return name  # Tried again, it is the same night.
    return f"{study} {datetime.now().astimezone():%Y-%m-%d %H:%M}"


def name_of_trial(number: int, title: str) -> str:
    """A trial's run, once what it tries is known."""
    return shorten(for_terminal(redact(f"trial {number}: {title}")), LONGEST_NAME, placeholder=" …")


def label_run(*tags: str, name: str | None = None) -> None:
    """Add tags to the run that this happens in, and name it, as far as Prefect's server is there.

    Args:
        tags: such as ``study:NAME``, by which the page of runs is filtered.
        name: what the run is called from now on; None for what it is called.
    """
    identifier = flow_run.get_id()
    if identifier:
        best_effort(partial(_label, UUID(identifier), tags, name))


def _label(run: UUID, tags: tuple[str, ...], name: str | None) -> None:
    with get_client(sync_client=True) as client:
        known = client.read_flow_run(run).tags
        client.update_flow_run(run, name=name, tags=sorted({*known, *tags}))
