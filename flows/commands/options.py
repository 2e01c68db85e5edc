"""The options of ``nightlab research``, made from ``SessionSettings``.

A setting is described once, in its field: there Prefect's form and ``--help`` find the text.
"""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from nightlab.settings import SessionSettings, Settings
from nightlab.settings.groups import group_of, place_of

STUDY = ("study", "remote")

REQUIRED = frozenset({"study"})
"""A default is for Prefect's form; at a terminal nobody should continue a study by accident."""

NOT_OFFERED = frozenset({"program"})
"""For deployments only: at a terminal the brief is the clone's own program.md."""


def with_session_options(command: Callable[[dict[str, Any]], None]) -> Callable[..., None]:
    """Give a command an option for each setting, and hand it those that were given."""

    @wraps(command)
    def run(**options: Any) -> None:
        command({name: value for name, value in options.items() if value is not None})

    # Which study comes first, in the help too.
    offered = [*STUDY, *sorted(Settings.model_fields, key=place_of)]
    parameters = [
        _parameter(name, SessionSettings.model_fields[name])
        for name in offered
        if name not in NOT_OFFERED
    ]
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return run


def _parameter(name: str, field: FieldInfo) -> Parameter:
    flag = "--" + name.replace("_", "-")
    if field.default is True:
        flag += "/--no-" + flag.removeprefix("--")
    text = field.description or ""
    if name not in REQUIRED:
        text += _default_in_words(field.default)
    panel = None if name in STUDY else group_of(name)
    option = typer.Option(flag, help=text, show_default=False, rich_help_panel=panel)
    return Parameter(
        name,
        Parameter.KEYWORD_ONLY,
        default=Parameter.empty if name in REQUIRED else None,
        annotation=Annotated[_kind(field.annotation), option],
    )


def _default_in_words(default: object) -> str:
    """What is appended to a description; one whose default is None says itself what that means."""
    if default is None or default is False:
        return ""
    return f" (default: {'yes' if default is True else default})"


def _kind(annotation: Any) -> Any:
    """The type that typer reads a value as. Choices are texts, for SessionSettings to refuse."""
    if get_origin(annotation) is Literal:
        return str
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    return _kind(kinds[0]) if kinds else annotation
