"""A study's experiment in MLflow, removed as MLflow removes: marked as deleted, under another name.

A deleted experiment keeps its name, and a new study of that name could not be shown. What is marked
stays in MLflow's store until `mlflow gc`.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from nightlab.errors import TrackingError
from nightlab.tracking.connection import cause, connect, failures, import_mlflow, shown_address

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUNS_A_PAGE = 1_000


def tracked_runs(tracking_uri: str, mlruns: Path, study: str) -> int | None:
    """How many runs MLflow shows of a study; None where it has no experiment.

    Raises:
        TrackingError: MLflow did not answer, or refused.
    """
    return _with_experiment(tracking_uri, mlruns, study, delete=False)


def delete_experiment(tracking_uri: str, mlruns: Path, study: str) -> None:
    """Mark the study's experiment as deleted, if MLflow has one.

    Raises:
        TrackingError: MLflow did not answer, or refused.
    """
    _with_experiment(tracking_uri, mlruns, study, delete=True)


def _with_experiment(tracking_uri: str, mlruns: Path, study: str, *, delete: bool) -> int | None:
    scheme, _, path = tracking_uri.partition(":///")
    if scheme == "sqlite" and not Path(path).is_file():
        return None  # it would be made just to be asked
    import_mlflow()
    try:
        client = connect(tracking_uri, mlruns)
        name = f"nightlab/{study}"
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            return None
        identifier = str(experiment.experiment_id)
        if delete:
            if experiment.lifecycle_stage != "active":
                client.restore_experiment(identifier)  # only an active one gets another name
            moment = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"
            client.rename_experiment(identifier, f"{name} deleted {moment}")
            client.delete_experiment(identifier)
            return None
        return _number_of_runs(client, identifier)
    except failures() as error:
        raise TrackingError(
            f"MLflow needs to answer at {shown_address(tracking_uri)} and did not "
            f"({cause(error)}): start it, or set NIGHTLAB_TRACKING_URI, then try again."
        ) from error


def _number_of_runs(client: "MlflowClient", experiment: str) -> int:
    number, token = 0, None
    while True:
        page = client.search_runs([experiment], max_results=RUNS_A_PAGE, page_token=token)
        number += len(page)
        token = page.token
        if not token:
            return number
