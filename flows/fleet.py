"""Check what a night on another machine needs, by asking each part of the fleet.

``nightlab doctor --fleet`` asks from where it is run, as a rule the desk: what only a worker can
tell (its GPU, its disk) is told by ``nightlab doctor`` there, and by every session's start.
"""

import importlib.metadata
from collections.abc import Iterator
from functools import partial

from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import DeploymentResponse

from flows.deployment import describe_clone, without_password
from flows.fleet_server import (
    declared_deployments,
    deployment,
    pools_and_workers,
    prefect_server,
    with_version,
)
from nightlab.corpus.climbmix import ClimbmixSource
from nightlab.corpus.sources import find_source
from nightlab.doctor import Finding, Outcome, tried
from nightlab.errors import CorpusError
from nightlab.ledger import Remote
from nightlab.ledger.git_process import WaitLimits
from nightlab.sandbox.device import Device
from nightlab.settings import Places, SessionSettings
from nightlab.study.checks import is_of_this_machine
from nightlab.study.fit import check_fit, request_of
from nightlab.tracking.failures import check_store

ANSWER_SECONDS = 20
TRIED_STUDY = "doctor"

# What a worker's device is, only the worker can tell: its session does.
SOME_GPU = Device(name="cuda:0", description="a worker's", threads=1)


def examine_fleet(places: Places) -> list[Finding]:
    """Ask the remote, Prefect's server, its pools and deployments, MLflow and the corpora."""
    declared = declared_deployments(places.root)
    findings = [tried("remote", partial(_remote, places)), tried("prefect", prefect_server)]
    deployed: list[DeploymentResponse] = []
    if findings[-1].outcome is not Outcome.BAD:
        with get_client(sync_client=True) as client:
            findings += pools_and_workers(client, declared)
            for each in declared:
                finding, response = deployment(client, each)
                findings.append(finding)
                deployed += [response] if response is not None else []
    findings.append(tried("tracking", partial(_tracking, places)))
    for settings in _settings(deployed):
        name = f"corpus for {settings.preset}"
        findings.append(tried(name, partial(_corpus, name, settings, places)))
    return findings


def _remote(places: Places) -> Finding:
    clone = describe_clone()
    limits = WaitLimits(seconds=ANSWER_SECONDS, silent_seconds=ANSWER_SECONDS)
    remote = Remote(places.root, "origin", TRIED_STUDY, limits=limits)
    remote.study_refs()
    remote.try_push()
    branch = f"refs/heads/{clone['branch']}"
    asked = remote.plumbing.attempt("ls-remote", "origin", branch, limits=limits)
    listed = asked.stdout.decode()
    found = f"origin, {clone['repository']}, answers and takes pushes"
    if listed.split("\t")[0] == remote.plumbing.line("rev-parse", "HEAD"):
        return Finding(name="remote", outcome=Outcome.GOOD, found=found)
    has = "another commit" if listed else "none"
    return Finding(
        name="remote",
        outcome=Outcome.OPTIONAL if listed else Outcome.BAD,
        found=f"{found}; workers clone its branch {clone['branch']}, and it has {has} there",
        remedy=f"`git push origin {clone['branch']}` gives them this clone's code",
    )


def _tracking(places: Places) -> Finding:
    uri = places.tracking_uri
    if is_of_this_machine(uri):
        return Finding(
            name="tracking",
            outcome=Outcome.OPTIONAL,
            found="MLflow's store is one of this machine alone",
            remedy="`mlflow server --host 0.0.0.0 --allowed-hosts HOST:5000 --cors-allowed-origins "
            "http://HOST:5000` on one machine, and `export NIGHTLAB_TRACKING_URI=http://HOST:5000` "
            "here and on every worker",
        )
    if not uri.startswith(("http://", "https://")):
        return Finding(
            name="tracking",
            outcome=Outcome.OPTIONAL,
            found="MLflow's store is a database, which was not tried",
            remedy="an MLflow server in front of it keeps its password from the workers",
        )
    check_store(uri, places.mlruns)
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    version = http_request(get_default_host_creds(uri), "/version", "GET")
    there = version.text.strip() if version.ok else "unknown"
    here = importlib.metadata.version("mlflow")
    return with_version("tracking", without_password(uri), there, here)


def _settings(deployed: list[DeploymentResponse]) -> Iterator[SessionSettings]:
    """What the deployed sessions are given, each preset and corpus once."""
    seen = set()
    for found in deployed:
        given = found.parameters.get("settings")
        if isinstance(given, dict):
            settings = SessionSettings.model_validate(given)
            if (settings.preset, settings.corpus) not in seen:
                seen.add((settings.preset, settings.corpus))
                yield settings


def _corpus(name: str, settings: SessionSettings, places: Places) -> Finding:
    try:
        check_fit(settings, places.cache, SOME_GPU, root=places.root)
        source = find_source(request_of(settings.sizes, settings.corpus, places.root), places.cache)
        if isinstance(source, ClimbmixSource):
            source.try_hub()
    except CorpusError as error:
        return Finding(
            name=name,
            outcome=Outcome.OPTIONAL,
            found=str(error),
            remedy="it is each worker that needs it",
        )
    found = f"{settings.corpus} is enough, and is there"
    return Finding(name=name, outcome=Outcome.GOOD, found=found)
