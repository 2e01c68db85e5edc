"""What a person names in settings: a study, an address, whose a key is. None of it is a secret."""

import re
from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator

LONGEST_STUDY_NAME = 100

VARIABLE_PREFIX = "env:"
"""Before a key's name: it is a variable's, not a Secret block's."""
_KEY_NAME = re.compile(rf"[a-z0-9-]+|{VARIABLE_PREFIX}[A-Za-z_]\w*")
_LIKE_A_KEY = re.compile(r"(?=(?:[a-z-]*\d){9})[a-z0-9-]{24,}")
"""Keys of small letters and digits, which some providers make: no name of a block."""
_KEY_PLACE = re.compile(r"[\w.-]*|https?://\S+")


def address_problem(text: str) -> str | None:
    """What in an address must not be stored, as a clause; None where nothing is."""
    parts = urlsplit(text.removeprefix("climbmix:"))
    if parts.scheme in ("http", "https") and ("@" in parts.netloc or parts.query):
        return (
            "an address is stored and shown with every trial, so it may hold no user, password "
            "or query: put the key into the provider's environment variable"
        )
    return None


def normal_address(address: str) -> str:
    """An address as it compares: its host in lower case, without a slash at its end."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.lower())).rstrip("/")


def named_keys(setting: str | Mapping[str, str] | None) -> dict[str, str]:
    """Read ``api_key_secret``: the name of each key, by the provider or address that it is for.

    A key that names nobody is for the one place that a session's models are at, and stands
    under the empty text.

    Raises:
        ValueError: it is not written as it must be; the sentence does not quote it.
    """
    if isinstance(setting, Mapping):
        entries = [(place, source) for place, source in setting.items()]
    else:
        parts = [part.strip() for part in (setting or "").split(",")] if setting else []
        entries = [(place, source) for source, _, place in (part.partition("=") for part in parts)]
    keys: dict[str, str] = {}
    for place, source in ((place.strip(), source.strip()) for place, source in entries):
        whose = normal_address(place) if "://" in place else place
        is_name = _KEY_NAME.fullmatch(source) and not _LIKE_A_KEY.fullmatch(source)
        if not is_name or not _KEY_PLACE.fullmatch(whose) or whose in keys:
            raise ValueError(
                "it names where keys are, never a key: write NAME=PROVIDER or NAME=ADDRESS, one "
                "for each provider, with commas between; NAME is a Prefect Secret block (small "
                f"letters, digits, dashes), or {VARIABLE_PREFIX} and an environment variable"
            )
        keys[whose] = source
    if "" in keys and len(keys) > 1:
        raise ValueError(
            "of several keys each must say whom it is for, as NAME=PROVIDER or NAME=ADDRESS, "
            "where NAME is a Prefect Secret block or an environment variable"
        )
    return keys


def valid_study_name(name: str) -> str:
    """Return the name of a study as it is.

    Raises:
        ValueError: it cannot be the name of a git branch everywhere.
    """
    if not 0 < len(name) <= LONGEST_STUDY_NAME or not all(
        c.isascii() and (c.isalnum() or c in "-_") for c in name
    ):
        raise ValueError(
            "a study's name needs letters, digits, '-' and '_' only "
            f"(it becomes a git branch), {LONGEST_STUDY_NAME} at most"
        )
    return name


StudyName = Annotated[str, AfterValidator(valid_study_name)]
