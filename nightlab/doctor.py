"""Check what Nightlab needs, by trying it."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nightlab.errors import NightlabError, UsageError
from nightlab.machine.clock import zone_name
from nightlab.machine.folders import require_writable
from nightlab.machine.network import network_problems, proxies_in_use
from nightlab.records import Escape, Frozen
from nightlab.redaction import redact
from nightlab.sandbox import choose_sandbox
from nightlab.sandbox.device import detect_device
from nightlab.sandbox.ladder import GPU_RUNGS
from nightlab.sandbox.library import prepare_library
from nightlab.sandbox.probe import PROMISES
from nightlab.sandbox.toolchain import COMPILER, INSTALL_COMPILER, PYTHON_HEADER
from nightlab.settings import TRAINER_FILE, Places
from nightlab.tracking.connection import shown_address

DISK_NEEDED_GB = 5
MODEL_SECONDS = 30


Check = tuple[str, Callable[[], "Finding"]]
"""A name and what tries it."""


class Outcome(StrEnum):
    """How a check went."""

    GOOD = "good"
    OPTIONAL = "optional"
    """Not there, and not needed for the embedded defaults."""
    BAD = "bad"


class Finding(Frozen):
    """One check: what was found, and what to do about it."""

    name: str
    outcome: Outcome
    found: str
    remedy: str = ""
    escapes: tuple[Escape, ...] = ()
    """For the sandbox: what was tried in it."""


def examine(
    places: Places,
    model: str | None = None,
    api_base: str | None = None,
    keys: Mapping[str, SecretStr] | None = None,
    prefect: Callable[[], str] | None = None,
) -> list[Finding]:
    """Try git, folders, network, sandbox, device, MLflow, Prefect, the model and the disk.

    Args:
        places: of this machine.
        model: the models to try; None for the environment's.
        api_base: the address of those that name none.
        keys: that were named for a provider or an address, by its name.
        prefect: tries Prefect, which only flows know, and says what it found; None for not to.
    """
    checks: list[Check] = [
        ("git", lambda: _git(places)),
        ("cache", lambda: _cache(places)),
        ("network", _network),
        ("time zone", _time_zone),
        ("sandbox", _sandbox),
        ("compiler", _compiler),
        ("device", _device),
        ("mlflow", lambda: _mlflow(places)),
        *([("prefect", partial(_prefect, prefect))] if prefect is not None else []),
        *_model_checks(model, api_base, keys or {}),
        ("disk", lambda: _disk(places)),
    ]
    return [tried(name, check) for name, check in checks]


def healthy(findings: list[Finding]) -> bool:
    """Whether nothing that is needed is missing."""
    return all(finding.outcome is not Outcome.BAD for finding in findings)


def print_findings(console: Console, findings: list[Finding]) -> None:
    """Print a row a check, then what was tried in the sandbox."""
    marks = {
        Outcome.GOOD: Text("good", style="green"),
        Outcome.OPTIONAL: Text("optional", style="yellow"),
        Outcome.BAD: Text("bad", style="red"),
    }
    table = Table(box=None, padding=(0, 1), show_header=False)
    for _ in ("name", "outcome"):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        said = Text(finding.found)
        if finding.remedy:
            said.append(f"\n→ {finding.remedy}", style="dim")
        table.add_row(finding.name, marks[finding.outcome], said)
    console.print(table)
    for finding in findings:
        if finding.escapes:
            console.print("\nTried in the sandbox, as a hostile candidate would:\n")
            console.print(escape_table(finding.escapes))


def escape_table(escapes: tuple[Escape, ...]) -> Table:
    """A row an escape, under the promise that it would break."""
    table = Table(box=None, padding=(0, 1), show_header=False)
    for width in (32, 11):
        table.add_column(no_wrap=True, min_width=width)
    table.add_column(overflow="fold")
    tried = {escape.name: escape for escape in escapes}
    for promise, names in PROMISES.items():
        table.add_row(Text(promise, style="bold"))
        for escape in (tried[name] for name in names if name in tried):
            outcome = (
                Text("held", style="green") if escape.held else Text("got through", style="red")
            )
            table.add_row(f"  {escape.name}", outcome, Text(escape.detail, style="dim"))
    return table


def tried(name: str, check: Callable[[], Finding]) -> Finding:
    """What a check finds, or the sentence that it raises as what is bad."""
    try:
        finding = check()
    except NightlabError as error:
        finding = Finding(name=name, outcome=Outcome.BAD, found=str(error))
    except OSError as error:
        finding = Finding(name=name, outcome=Outcome.BAD, found=f"the system refused ({error})")
    shown = {"found": redact(finding.found), "remedy": redact(finding.remedy)}
    return finding.model_copy(update=shown)


def _git(places: Places) -> Finding:
    version = _output(["git", "--version"]).removeprefix("git version ")
    changed = _output(["git", "-C", str(places.root), "status", "--porcelain", "--", TRAINER_FILE])
    if changed:
        return Finding(
            name="git",
            outcome=Outcome.OPTIONAL,
            found=f"git {version}; {TRAINER_FILE} has changes that are not committed",
            remedy="a new study begins from the committed file: commit it first if you mean it",
        )
    return Finding(name="git", outcome=Outcome.GOOD, found=f"git {version}, clone {places.root}")


def _sandbox() -> Finding:
    sandbox = choose_sandbox()  # without a cache: what held once need not hold now
    confinement = sandbox.confinement
    held = sum(escape.held for escape in sandbox.escapes)
    lines = [f"rung {confinement.label}: {held} of {len(sandbox.escapes)} escapes held"]
    lines += [f"lacks: {promise}" for promise in confinement.missing]
    lines += [f"rung {refusal.rung} was not taken: {refusal.why}" for refusal in sandbox.refusals]
    remedies = dict.fromkeys(refusal.remedy for refusal in sandbox.refusals)
    return Finding(
        name="sandbox",
        outcome=Outcome.OPTIONAL if sandbox.refusals else Outcome.GOOD,
        found="\n".join(lines),
        remedy=f"for a stronger one: {'; or '.join(remedies)}" if remedies else "",
        escapes=sandbox.escapes,
    )


def _compiler() -> Finding:
    if prepare_library().has_compiler:
        return Finding(
            name="compiler", outcome=Outcome.GOOD, found=f"{COMPILER} and {PYTHON_HEADER}"
        )
    return Finding(
        name="compiler",
        outcome=Outcome.OPTIONAL,
        found=f"no working {COMPILER} in /usr/bin, or no {PYTHON_HEADER}: nothing can be compiled",
        remedy=f"for the presets laptop and h100: {INSTALL_COMPILER}",
    )


def _device() -> Finding:
    device = detect_device("auto")
    lines = [f"torch trains on {device.name}: {device.description}"]
    outcome = Outcome.GOOD
    if device.kind == "cuda":
        refused = []
        for rung in GPU_RUNGS:
            try:
                choose_sandbox(only=rung, device=device)
            except NightlabError as error:
                refused.append(f"rung {rung}: {error}")
            else:
                lines.append(f"rung {rung}: a job started there, multiplied, compiled and attended")
        if refused and len(lines) == 1:
            outcome = Outcome.BAD
        lines += refused
    return Finding(name="device", outcome=outcome, found="\n".join(lines))


def _mlflow(places: Places) -> Finding:
    if places.tracking_is_local:
        remedy = "change its owner, or set NIGHTLAB_TRACKING_URI"
        require_writable(places.mlruns, "MLflow keeps its store in", remedy)
    if places.has_store:
        from nightlab.tracking.failures import check_store

        check_store(places.tracking_uri, places.mlruns)
    found = shown_address(places.tracking_uri)
    return Finding(name="mlflow", outcome=Outcome.GOOD, found=found)


def _prefect(check: Callable[[], str]) -> Finding:
    return Finding(name="prefect", outcome=Outcome.GOOD, found=check())


def _cache(places: Places) -> Finding:
    places.require_cache()
    return Finding(name="cache", outcome=Outcome.GOOD, found=str(places.cache))


def _network() -> Finding:
    problems = list(network_problems(os.environ))
    names = proxies_in_use(os.environ)
    through = f"{', '.join(names)} for other machines, never for loopback" if names else "no proxy"
    return Finding(
        name="network",
        outcome=Outcome.BAD if problems else Outcome.GOOD,
        found="\n".join(problems) or through,
    )


def _time_zone() -> Finding:
    try:
        return Finding(name="time zone", outcome=Outcome.GOOD, found=zone_name())
    except UsageError as error:  # only schedules need it
        return Finding(name="time zone", outcome=Outcome.OPTIONAL, found=str(error))


def _model_checks(
    model: str | None, api_base: str | None, keys: Mapping[str, SecretStr]
) -> list[Check]:
    """A check for each model that is named."""
    names = model or os.environ.get("NIGHTLAB_MODEL")
    api_base = api_base or os.environ.get("NIGHTLAB_API_BASE")
    if not names:
        return [("model", _no_model)]
    from nightlab.proposers import read_models

    return [("model", partial(_model, each, keys)) for each in read_models(names, api_base)]


def _no_model() -> Finding:
    return Finding(
        name="model",
        outcome=Outcome.OPTIONAL,
        found="none configured: the knobs proposer (Optuna) is used",
        remedy="set NIGHTLAB_MODEL or pass --model, and --api-base for a local server",
    )


def _model(model: tuple[str, str | None], keys: Mapping[str, SecretStr]) -> Finding:
    from nightlab.models.endpoint import Endpoint
    from nightlab.models.keys import place_of, settle_variables
    from nightlab.proposers import try_model

    settle_variables([model], os.environ)
    key = keys.get(place_of(model))
    where = Endpoint(model=model[0], api_base=model[1]).where.removeprefix("model ")
    answer = try_model(*model, timeout_seconds=MODEL_SECONDS, api_key=key)
    return Finding(name="model", outcome=Outcome.GOOD, found=f"{where} answered: {answer}")


def _disk(places: Places) -> Finding:
    free = shutil.disk_usage(_existing(places.cache)).free / 1e9
    enough = free >= DISK_NEEDED_GB
    return Finding(
        name="disk",
        outcome=Outcome.GOOD if enough else Outcome.BAD,
        found=f"{free:.0f} GB free at {places.cache}",
        remedy=""
        if enough
        else f"{DISK_NEEDED_GB} GB are needed: free some, or set NIGHTLAB_CACHE",
    )


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())


def _output(command: list[str]) -> str:
    name = Path(command[0]).name
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(f"`{name}` does not run here ({error}).") from error
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise UsageError(f"`{name}` refuses: {said}")
    return done.stdout.strip()
