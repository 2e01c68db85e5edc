"""Keys: from the environment, or from Prefect Secret blocks, and never from a parameter."""

import logging
import traceback
from collections.abc import Callable, Mapping
from typing import Any, cast

from prefect.blocks.system import Secret
from prefect.exceptions import PrefectException
from pydantic import SecretStr

from nightlab.errors import UsageError
from nightlab.models.keys import read_key
from nightlab.redaction import redact
from nightlab.settings import VARIABLE_PREFIX, named_keys
from nightlab.shown import for_terminal


def read_api_keys(setting: str | Mapping[str, str] | None) -> dict[str, SecretStr]:
    """What the Prefect Secret blocks hold that ``api_key_secret`` names, by the block's name.

    From here on no key stands in what this process logs.

    Raises:
        UsageError: there is no such block, or it holds no key.
    """
    _guard_logs()
    names = named_keys(setting).values()
    return {name: _read_block(name) for name in names if not name.startswith(VARIABLE_PREFIX)}


def _read_block(name: str) -> SecretStr:
    try:
        held = cast("Secret[Any]", Secret.load(name)).get()
    except (ValueError, PrefectException) as error:
        raise UsageError(
            f"A Prefect Secret block named {name!r} was asked for and could not be read "
            f"({error}): make it on Prefect's Blocks page, or leave api_key_secret empty and "
            "set the provider's environment variable."
        ) from None  # It may quote what it could not read.
    # Prefect reads what is JSON: a key of digits comes as a number.
    text = str(held) if isinstance(held, str | int) else ""
    key = read_key(text, f"the Prefect Secret block {name!r}")
    if key is None:
        raise UsageError(
            f"The Prefect Secret block {name!r} must hold a key as text and holds none: set it on "
            "Prefect's Blocks page."
        )
    return key


def _guard_logs() -> None:
    """Have every log record be made fit to be shown: Prefect stores them, prints and shows them."""
    make = logging.getLogRecordFactory()
    if not isinstance(make, _GuardingFactory):
        logging.setLogRecordFactory(_GuardingFactory(make))


class _GuardingFactory:
    """Makes log records without secrets and controls, in the text of their exception too."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make

    def __call__(self, *arguments: Any, **named: Any) -> logging.LogRecord:
        record = self._make(*arguments, **named)
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            return record  # A call with the wrong arguments, which logging tells by itself.
        shown = for_terminal(redact(text))
        if shown != text:
            record.msg, record.args = shown, ()
        if record.exc_info and record.exc_info[0] is not None:
            # Formatters take this in place of the exception.
            raised = "".join(traceback.format_exception(*record.exc_info)).rstrip()
            record.exc_text = for_terminal(redact(raised))
        return record
