"""Settings as records name them, whichever version wrote them."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from nightlab.errors import UsageError
from nightlab.settings.session import SessionSettings

MEASURE = ("preset", "budget_seconds", "budget_tokens", "startup_free_seconds", "corpus")
"""What a study is measured with: another value would make its scores incomparable."""


WITHOUT_IDEAS: dict[str, Any] = {
    "proposer": "knobs",
    "model": None,
    "command": None,
    "api_key_secret": None,
}
"""For what asks no model for anything: none has to be reachable, nor its key to be had here."""


def recorded_settings(values: Mapping[str, Any]) -> "SessionSettings":
    """The settings that a record names, whichever version wrote it.

    What this version does not know is kept, as extra fields; a value that it does not accept is
    left at its default. See ``unread_settings``, which names both.

    Raises:
        UsageError: such a value is one that scores rest on.
    """
    accepted = dict(values)
    while True:
        try:
            return SessionSettings.model_validate(accepted, extra="allow")
        except ValidationError as error:
            refused = {str(each["loc"][0]) for each in error.errors() if each["loc"]}
            bound = [name for name in ("study", "seed", *MEASURE) if name in refused]
            if bound or not refused & accepted.keys():
                named = ", ".join(f"{name} {values[name]!r}" for name in bound) or "its settings"
                raise UsageError(
                    f"Study {values.get('study')!r} was recorded by another version of Nightlab, "
                    f"and this one does not know how it was measured ({named}): update this "
                    "clone, or name another study with --study."
                ) from None
            accepted = {name: value for name, value in accepted.items() if name not in refused}


def unread_settings(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of a record's settings that this version does not know, or not with that value."""
    read = recorded_settings(values).model_fields_set
    return tuple(
        name for name in values if name not in SessionSettings.model_fields or name not in read
    )
