"""How runs are named on Prefect's pages."""

from datetime import datetime

from prefect.runtime import flow_run


def name_of_night() -> str:
    """A session's run: its study, and when it began, by this machine's clock."""
    study = flow_run.get_parameters()["study"]
    return f"{study} {datetime.now().astimezone():%Y-%m-%d %H:%M}"
