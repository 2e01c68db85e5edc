"""The way to MLflow: its environment, its experiment, and how its failures are told."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from nightlab.errors import NightlabError, TrackingError
from nightlab.machine.network import prepare_network
from nightlab.redaction import redact
from nightlab.shown import Markdown
from nightlab.tracking.tags import LAYOUT, LAYOUT_TAG, STUDY_TAG, note_tag
from nightlab.tracking.views import View, view_tags, view_url

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow's own defaults would wait 120 s, seven times over, for a server that hangs.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_AGENT_HINT": "true",
    # Else litellm, which MLflow's server and traces import, fetches its price list first,
    # and was seen to hang forever where there is no network.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}

# Their chatter would tear the terminal's live view; failures are told by the tracker.
LOUD_LOGGERS = ("mlflow", "alembic", "urllib3.connectionpool")

EXPERIMENTS = "nightlab/"
"""What the names of experiments begin with."""
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
LONGEST_CAUSE = 200
REFUSED_CONTENT = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")


def import_mlflow() -> Any:
    """Import mlflow, quiet and patient for seconds only; what is set in the environment wins."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow

    for name in LOUD_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    return mlflow


def failures() -> tuple[type[Exception], ...]:
    """What MLflow's client raises when the server or the store does not do its part."""
    from alembic.util.exc import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    # What requests raises is an OSError.
    return (MlflowException, SQLAlchemyError, CommandError, OSError)


def is_refusal(error: BaseException) -> bool:
    """Whether MLflow is there and will not take what it was given, however often it is asked."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException) and error.error_code in REFUSED_CONTENT


def connect(tracking_uri: str, mlruns: Path) -> "MlflowClient":
    """Open the store; a local one is made when it is not there.

    Raises:
        UsageError: the environment names a proxy or certificates that cannot be used.
        TrackingError: the address is none.
        Exception: whatever ``failures`` lists.
    """
    mlflow = import_mlflow()
    scheme, _, path = tracking_uri.partition(":///")
    if scheme != "sqlite":
        _require_address(tracking_uri)
        prepare_network(os.environ)
    if scheme == "sqlite":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        mlruns.mkdir(parents=True, exist_ok=True)
    client: MlflowClient = mlflow.MlflowClient(tracking_uri=tracking_uri)
    # The alembic migrations that may just have run set their logger's level back.
    for name in LOUD_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    return client


def study_experiment(client: "MlflowClient", tracking_uri: str, mlruns: Path, study: str) -> str:
    """Return the identifier of the study's experiment; make it where there is none.

    Raises:
        TrackingError: the experiment was deleted in MLflow, where its name stays taken.
    """
    from mlflow.exceptions import MlflowException

    name = f"{EXPERIMENTS}{study}"
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            client.create_experiment(name, _artifacts(tracking_uri, mlruns))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise  # Else another process was faster.
        experiment = client.get_experiment_by_name(name)
    if experiment is None or experiment.lifecycle_stage != "active":
        raise TrackingError(
            f"MLflow's experiment {name!r} was deleted at {shown_address(tracking_uri)}, and its "
            "name stays taken: restore it there with `mlflow experiments restore`."
        )
    identifier = str(experiment.experiment_id)
    if experiment.tags.get(LAYOUT_TAG) != LAYOUT:  # What a person changes there afterwards stays.
        for key, value in _experiment_tags(study, identifier).items():
            client.set_experiment_tag(identifier, key, value)
    return identifier


def _experiment_tags(study: str, identifier: str) -> dict[str, str]:
    link = Markdown("[{}](<{}>)")
    links = [link.filled(view.value, view_url("", identifier, view)) for view in View]
    said = Markdown(
        "Study {} of Nightlab: {}. One run a trial, one nested run a training. "
        "Git holds the truth; {} rebuilds this view from it."
    )
    return {
        STUDY_TAG: study,
        "mlflow.experimentKind": "custom_model_development",
        **note_tag(said.filled(study, Markdown(" · ").joined(links), f"`nightlab sync {study}`")),
        **view_tags(),
        LAYOUT_TAG: LAYOUT,
    }


def latest_views(address: str, mlruns: Path, most: int) -> dict[str, str]:
    """The pages of the studies that were worked on last, by the studies' names.

    Args:
        address: of MLflow's server.
        mlruns: the folder of a local store.
        most: so many of them.

    Raises:
        Exception: whatever ``failures`` lists.
    """
    client = connect(address, mlruns)
    found = client.search_experiments(
        max_results=most,
        filter_string=f"name LIKE '{EXPERIMENTS}%'",
        order_by=["last_update_time DESC"],
    )
    names = [each.name.removeprefix(EXPERIMENTS) for each in found]
    # Those that an older version made get their views here.
    made = {name: study_experiment(client, address, mlruns, name) for name in names}
    return {name: view_url(address, identifier) for name, identifier in made.items()}


def shown_address(tracking_uri: str) -> str:
    """The address without a name and password that it may carry."""
    return redact(tracking_uri)


def cause(error: BaseException) -> str:
    """The gist of an error in one short line; our own sentences stay whole."""
    if isinstance(error, NightlabError):
        return str(error)
    lines = redact(str(error)).strip().splitlines()  # before a cut leaves half of a key
    line = lines[0] if lines else ""
    if len(line) > LONGEST_CAUSE:
        line = f"{line[:LONGEST_CAUSE]}…"
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def _require_address(tracking_uri: str) -> None:
    try:
        urlsplit(tracking_uri)
    except ValueError as error:
        raise TrackingError(
            f"NIGHTLAB_TRACKING_URI needs an address such as http://HOST:5000, and what it has is "
            f"none ({error}): correct or unset it."
        ) from error


def _artifacts(tracking_uri: str, mlruns: Path) -> str | None:
    # A server decides for itself; with a bare database MLflow would write to ./mlruns.
    scheme = tracking_uri.partition(":")[0].partition("+")[0]
    return (mlruns.resolve() / "artifacts").as_uri() if scheme in DATABASES else None
