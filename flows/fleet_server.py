"""What Prefect's server says of itself, and of the pools, workers and deployments of a fleet."""

import importlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx
import prefect
import yaml
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import WorkerStatus
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import (
    ObjectNotFound,
    ParameterBindError,
    ParameterTypeError,
    SignatureMismatchError,
)
from prefect.settings import PREFECT_API_URL
from prefect.utilities.callables import parameter_schema

from flows.deployment import without_password
from nightlab.doctor import Finding, Outcome, tried
from nightlab.errors import MachineryError, UsageError

DEPLOY = "`prefect deploy --all`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A deployment as prefect.yaml has it."""

    name: str
    """``FLOW/DEPLOYMENT``."""
    flow: Flow[..., Any]
    pool: str


def declared_deployments(root: Path) -> list[Declared]:
    """The deployments of prefect.yaml.

    Raises:
        UsageError: the file cannot be read as such.
    """
    try:
        document = yaml.safe_load((root / "prefect.yaml").read_text(encoding="utf-8"))
        return [_declared(each) for each in document["deployments"]]
    except (OSError, yaml.YAMLError, ImportError, LookupError, TypeError, ValueError) as error:
        raise UsageError(
            f"prefect.yaml needs to list deployments of this version's flows, and reading it "
            f"failed ({error}): `git checkout prefect.yaml` brings back the one of this version."
        ) from error


def _declared(entry: dict[str, Any]) -> Declared:
    path, _, name = entry["entrypoint"].partition(":")
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    flow = cast("Flow[..., Any]", getattr(module, name))
    return Declared(name=f"{flow.name}/{entry['name']}", flow=flow, pool=entry["work_pool"]["name"])


def prefect_server() -> Finding:
    """Whether a server is configured and answers.

    Raises:
        MachineryError: it does not.
    """
    address = PREFECT_API_URL.value()
    if not address:
        return Finding(
            name="prefect",
            outcome=Outcome.BAD,
            found="no server is configured",
            remedy="`prefect server start --host 0.0.0.0` on one machine, and `export "
            "PREFECT_API_URL=http://HOST:4200/api` here and on every worker",
        )
    with _asking_prefect(), get_client(sync_client=True) as client:
        version = client.api_version()
    return with_version("prefect", without_password(address), version, prefect.__version__)


def _asking_prefect() -> AbstractContextManager[None]:
    address = without_password(PREFECT_API_URL.value() or "")
    return asking(f"Prefect's server at {address}", "PREFECT_API_URL")


def pools_and_workers(client: SyncPrefectClient, declared: list[Declared]) -> list[Finding]:
    """Whether each pool of the deployments is there, and somebody works on what is in it."""
    findings = []
    for pool in dict.fromkeys(each.pool for each in declared):
        findings.append(tried("work pool", partial(_pool, client, pool)))
        if findings[-1].outcome is not Outcome.BAD:
            findings.append(tried("worker", partial(_worker, client, pool)))
    return findings


def _pool(client: SyncPrefectClient, name: str) -> Finding:
    with _asking_prefect():
        try:
            pool = client.read_work_pool(name)
        except ObjectNotFound:
            return Finding(
                name="work pool",
                outcome=Outcome.BAD,
                found=f"there is no work pool {name!r}",
                remedy=f"`prefect work-pool create {name} --type process`",
            )
    if pool.is_paused:
        return Finding(
            name="work pool",
            outcome=Outcome.BAD,
            found=f"{name} is paused, so nothing starts",
            remedy=f"`prefect work-pool resume {name}`",
        )
    return Finding(name="work pool", outcome=Outcome.GOOD, found=f"{name}, type {pool.type}")


def _worker(client: SyncPrefectClient, pool: str) -> Finding:
    with _asking_prefect():
        workers = client.read_workers_for_work_pool(pool)
    online = sorted(each.name for each in workers if each.status is WorkerStatus.ONLINE)
    if online:
        return Finding(name="worker", outcome=Outcome.GOOD, found=f"online: {', '.join(online)}")
    gone = f"{len(workers)} that are gone, and " if workers else ""
    return Finding(
        name="worker",
        outcome=Outcome.BAD,
        found=f"pool {pool} has {gone}no worker that is online",
        remedy=f"`prefect worker start --pool {pool} --limit 1` on the training machine, "
        "with PREFECT_API_URL and NIGHTLAB_TRACKING_URI set",
    )


def deployment(
    client: SyncPrefectClient, declared: Declared
) -> tuple[Finding, DeploymentResponse | None]:
    """What is known of a deployment, and itself where a run of it could start."""
    name = f"deployment {declared.name}"
    try:
        with _asking_prefect():
            found = client.read_deployment_by_name(declared.name)
        declared.flow.validate_parameters(found.parameters)
    except ObjectNotFound:
        said, remedy = "is not deployed", DEPLOY
    except MachineryError as error:
        said, remedy = str(error), ""
    except (ParameterTypeError, ParameterBindError, SignatureMismatchError) as error:
        reason = " ".join(str(error).split())
        said = f"this version's flow does not take its parameters: {reason}"
        remedy = f"{DEPLOY}, from a clone of the version that workers are to run"
    else:
        return _schedule(declared, found, name), found
    return Finding(name=name, outcome=Outcome.BAD, found=said, remedy=remedy), None


def _schedule(declared: Declared, found: DeploymentResponse, name: str) -> Finding:
    remote = found.parameters.get("remote")
    if remote != "origin":
        return Finding(
            name=name,
            outcome=Outcome.BAD,
            found=f"its remote is {remote!r}, and a worker's clone has 'origin' alone",
            remedy=f"`remote: origin` among its parameters in prefect.yaml, then {DEPLOY}",
        )
    here = parameter_schema(declared.flow).model_dump_for_openapi()
    if _filled(found.parameter_openapi_schema) != _filled(here):
        return Finding(
            name=name,
            outcome=Outcome.OPTIONAL,
            found="its form is that of another version's flow",
            remedy=DEPLOY,
        )
    active = [str(each.schedule) for each in found.schedules if each.active]
    if found.paused or (found.schedules and not active):
        return Finding(
            name=name,
            outcome=Outcome.OPTIONAL,
            found="its schedule is paused, so only people start it",
            remedy=f"`prefect deployment schedule ls {declared.name}`, then `… schedule resume`",
        )
    starts = "by its schedule" if active else "when somebody asks"
    return Finding(name=name, outcome=Outcome.GOOD, found=f"starts {starts}")


def with_version(name: str, address: str, there: str, here: str) -> Finding:
    """A server that answered: good, unless its version is not the one that this was tested with."""
    is_same = there == here
    return Finding(
        name=name,
        outcome=Outcome.GOOD if is_same else Outcome.OPTIONAL,
        found=f"{address} answers, version {there}",
        remedy="" if is_same else f"start it from a clone's .venv, which has version {here}",
    )


def _filled(schema: dict[str, Any] | None) -> dict[str, Any]:
    """A form without its empty parts, which the server leaves out."""
    return {name: part for name, part in (schema or {}).items() if part}


@contextmanager
def asking(whom: str, variable: str) -> Iterator[None]:
    """Turn a client's complaint into a sentence.

    Args:
        whom: who is asked.
        variable: the environment variable that names it.

    Raises:
        MachineryError: no answer, or a refusal.
    """
    try:
        yield
    except httpx.HTTPStatusError as error:
        raise MachineryError(
            f"{whom} answered {error.response.status_code} {error.response.reason_phrase}: correct "
            f"{variable}, or start the server anew."
        ) from error
    except httpx.HTTPError as error:
        raise MachineryError(
            f"{whom} does not answer ({str(error) or type(error).__name__}): start it, or correct "
            f"{variable}."
        ) from error
