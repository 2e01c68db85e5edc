"""Whether Prefect can be used here, told in one sentence where it cannot.

Prefect warns about some of this and goes on with other settings than were meant; the rest ends in
a traceback, or in the log of a server that does not start.
"""

import importlib.util
import io
import os
import sqlite3
import tomllib
from contextlib import closing, redirect_stderr
from pathlib import Path
from typing import Any

import httpx

from flows.terminal import make_console
from nightlab.errors import MachineryError, UsageError
from nightlab.machine.network import speaks_http
from nightlab.tracking.connection import shown_address

ASK_SECONDS = 10
MIGRATIONS = "server/database/_migrations/versions/sqlite"
DEFAULT_PROFILES = "settings/profiles.toml"
SQLITE = "sqlite+aiosqlite:///"
NOTHING_LOST = "studies are in git, and lose nothing"


def require_settings() -> None:
    """Import Prefect, whose settings come from the environment and from a profile.

    Raises:
        UsageError: they cannot be read, or name a profile that is not there.
    """
    _require_profile()
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    said = io.StringIO()
    try:
        with redirect_stderr(said):  # what Prefect cannot read, it first prints and goes on
            from prefect.settings import get_current_settings

            get_current_settings()
    except ValidationError as error:
        first = next(
            (each for each in error.errors() if each["type"] != "default_factory_not_called"),
            error.errors()[0],
        )
        where = ".".join(map(str, (error.title, *first["loc"])))
        raise UsageError(
            f"Prefect's settings cannot be read ({where}: {first['msg']}): correct that PREFECT_ "
            "variable, or the profile."
        ) from error
    except SettingsError as error:
        raise UsageError(f"Prefect's settings cannot be read: {error}; correct them.") from error
    make_console(is_error=True).print(said.getvalue(), end="", soft_wrap=True)


def require_api(address: str) -> None:
    """Ask the configured server whether it is well.

    Raises:
        UsageError: the address is wrong, or the server wants a password.
        MachineryError: the server does not answer.
    """
    shown = shown_address(address)
    if not _is_address(address):
        raise UsageError(
            f"PREFECT_API_URL needs an address such as http://HOST:4200/api, and {shown!r} is "
            "none: correct or unset it."
        )
    try:
        answer = _health(address)
    except httpx.HTTPError as error:
        if speaks_http(error):
            raise UsageError(
                f"PREFECT_API_URL is {shown}, and the server there speaks http: write http://."
            ) from error
        raise MachineryError(
            f"Prefect's server at {shown} does not answer ({error or type(error).__name__}): start "
            "it (`prefect server start`), correct PREFECT_API_URL or its profile, or unset it."
        ) from error
    _require_well(answer, shown)


def _is_address(text: str) -> bool:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return url.scheme in ("http", "https") and bool(url.host)


def _health(address: str) -> httpx.Response:
    """Ask as a session would, with Prefect's own keys and certificates, but once."""
    from prefect.client.orchestration import get_client
    from prefect.settings import (
        PREFECT_API_REQUEST_TIMEOUT,
        PREFECT_API_URL,
        PREFECT_CLIENT_MAX_RETRIES,
        temporary_settings,
    )

    once = {
        PREFECT_API_URL: address,
        PREFECT_API_REQUEST_TIMEOUT: ASK_SECONDS,
        PREFECT_CLIENT_MAX_RETRIES: 0,
    }
    try:
        with temporary_settings(once), get_client(sync_client=True) as client:
            return client.request("GET", "/health")
    except httpx.HTTPStatusError as error:
        return error.response


def _require_well(answer: httpx.Response, shown: str) -> None:
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise UsageError(
            f"Prefect's server at {shown} refuses to answer ({answer.status_code}): set "
            "PREFECT_API_AUTH_STRING to its user:password, or PREFECT_API_KEY."
        )
    if answer.is_server_error:
        raise MachineryError(
            f"Prefect's server at {shown} fails ({answer.status_code}): read its log, or unset "
            "PREFECT_API_URL."
        )
    is_json = "json" in answer.headers.get("Content-Type", "")
    if not answer.is_success or not is_json:
        raise UsageError(
            f"PREFECT_API_URL is {shown}, and what answers there is not Prefect's API "
            f"({answer.status_code}): its address ends in /api."
        )


def require_database(address: str) -> None:
    """Look into the database of a server that is to be started, where it is a file.

    Raises:
        UsageError: it is damaged, or a newer Prefect made it.
    """
    path = Path(address.removeprefix(SQLITE).partition("?")[0])
    if not address.startswith(SQLITE) or not path.is_file():
        return
    remedy = f"move it away ({NOTHING_LOST}), or set PREFECT_HOME to another folder."
    try:
        with closing(sqlite3.connect(path)) as database:
            versions = database.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.OperationalError:
        return  # new, or locked by another server: what else there may be, the server's log says
    except sqlite3.DatabaseError as error:
        raise UsageError(f"Prefect's database {path} is damaged ({error}): {remedy}") from error
    for (version,) in versions:
        if not any(_installed(MIGRATIONS).glob(f"*_{version}_*.py")):
            raise UsageError(
                f"Prefect's database {path} was made by another version of Prefect than the one "
                f"installed, which does not know its schema {version}: {remedy}"
            )


def _require_profile() -> None:
    home = os.path.expanduser(os.environ.get("PREFECT_HOME") or "~/.prefect")
    path = Path(os.environ.get("PREFECT_PROFILES_PATH") or f"{home}/profiles.toml")
    profiles: dict[str, Any] = {}
    if path.exists():
        profiles = _profiles(path)
    defaults = tomllib.loads(_installed(DEFAULT_PROFILES).read_text(encoding="utf-8"))
    known = sorted({*profiles.get("profiles", {}), *defaults["profiles"]})
    by_variable = os.environ.get("PREFECT_PROFILE")
    active = by_variable or profiles.get("active") or defaults["active"]
    if active not in known:
        source = "PREFECT_PROFILE" if by_variable else str(path)
        raise UsageError(
            f"{source} names Prefect's profile {active!r}, and there is none of that name (there "
            f"are {', '.join(known)}): correct it, or `prefect profile use NAME`."
        )


def _profiles(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        problem = None if isinstance(content.get("profiles", {}), dict) else "no [profiles.NAME]"
    except OSError as error:
        content, problem = {}, str(error.strerror)
    except ValueError as error:  # no UTF-8, or no TOML
        content, problem = {}, str(error)
    if problem:
        raise UsageError(
            f"Prefect's profiles cannot be read from {path} ({problem}): correct the file, or move "
            "it away."
        )
    return content


def _installed(name: str) -> Path:
    """A file of Prefect's, which is not imported for it."""
    spec = importlib.util.find_spec("prefect")
    if spec is None or spec.origin is None:
        raise UsageError("Prefect is not installed: run `make setup`.")
    return Path(spec.origin).parent / name
