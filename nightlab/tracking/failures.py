"""What MLflow's failures mean, in words for people."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from nightlab.errors import NightlabError, TrackingError
from nightlab.machine.network import speaks_http
from nightlab.tracking.connection import DATABASES, cause, connect, failures, shown_address

ASK_SECONDS = 10
HEALTHY = "OK"
"""What an MLflow server says at /health."""
REFUSED = (401, 403)
NOT_ITS_FAULT = ("is locked", "disk is full", "readonly database", "unable to open")
"""What SQLite says of a database that is whole."""
SCHEMA_WORDS = ("database schema", "Can't locate revision")


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure and its remedy, as two clauses; the first one goes on from MLflow's address."""

    what: str
    remedy: str


def explain(error: BaseException, tracking_uri: str) -> Failure:
    """Say what became of a call to MLflow's store; a server is asked what is wrong with it."""
    if isinstance(error, NightlabError):
        return Failure(f"failed ({error})", "")  # which names its remedy itself
    scheme, _, path = tracking_uri.partition("://")
    if scheme.partition("+")[0] in DATABASES:
        anew = f"move {path.removeprefix('/')} away: `nightlab sync` makes it anew from git"
        return _of_database(error, shown_address(tracking_uri), anew if scheme == "sqlite" else "")
    if scheme in ("http", "https"):
        return _of_server(error, tracking_uri.rstrip("/"))
    return Failure(
        f"failed ({cause(error)})",
        "set NIGHTLAB_TRACKING_URI to the address of a server (http://HOST:5000), or unset it",
    )


def check_store(tracking_uri: str, mlruns: Path) -> None:
    """Ask MLflow's store for something, as a session will.

    Raises:
        TrackingError: it does not answer as it should.
    """
    try:
        connect(tracking_uri, mlruns).search_experiments(max_results=1)
    except failures() as error:
        failure = explain(error, tracking_uri)
        raise TrackingError(
            f"MLflow at {shown_address(tracking_uri)} {failure.what}: {failure.remedy}."
        ) from error


def _of_database(error: BaseException, address: str, anew: str) -> Failure:
    from sqlalchemy.exc import DatabaseError

    said = [str(each) for each in _chain(error)]
    if any(word in text for text in said for word in SCHEMA_WORDS):
        upgrade = f"`mlflow db upgrade {address}` brings an older one up to date"
        return Failure(
            "was made by another version of MLflow than the one installed",
            f"{upgrade}; else {anew}" if anew else upgrade,
        )
    is_well = any(word in text for word in NOT_ITS_FAULT for text in said)
    if anew and not is_well and any(isinstance(each, DatabaseError) for each in _chain(error)):
        return Failure(f"cannot be used ({cause(error)})", anew)
    return Failure(
        f"failed ({cause(error)})",
        "see that it can be reached and written and is not held by another program, or set "
        "NIGHTLAB_TRACKING_URI",
    )


def _of_server(error: BaseException, address: str) -> Failure:
    try:
        answer = httpx.get(f"{address}/health", timeout=ASK_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as silence:
        http = "http://" + address.partition("://")[2]
        instead = f"write {shown_address(http)}, " if speaks_http(silence) else ""
        return Failure(
            f"does not answer ({cause(silence)})",
            f"{instead}start it, or correct or unset NIGHTLAB_TRACKING_URI",
        )
    status = answer.status_code
    is_mlflow = answer.is_success and answer.text.strip() == HEALTHY
    if is_mlflow and isinstance(error, _mlflow_exception()):
        status = error.get_http_status_code()
    if status in REFUSED:
        return Failure(
            f"refuses to answer ({status})",
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN "
            "(or start the server with --allowed-hosts, if it is the name that it refuses)",
        )
    if status >= httpx.codes.INTERNAL_SERVER_ERROR and not is_mlflow:
        return Failure(f"fails ({status})", "read its log, and start it again")
    if not is_mlflow:
        return Failure(
            f"does not answer as an MLflow server does (its /health gives {status})",
            "correct NIGHTLAB_TRACKING_URI: the server's address, without /api and #",
        )
    return Failure(f"failed ({cause(error)})", "read what the server says about it")


def _mlflow_exception() -> Any:
    from mlflow.exceptions import MlflowException

    return MlflowException


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
