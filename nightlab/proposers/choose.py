"""Which proposer a session has, and why."""

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from pydantic import SecretStr

from nightlab.errors import UsageError
from nightlab.models.endpoint import Endpoint
from nightlab.models.keys import keys_of_models, place_of, settle_variables
from nightlab.models.pool import ModelPool, read_models
from nightlab.models.spending import Spending
from nightlab.proposers.brief import Proposer
from nightlab.proposers.command.check import command_problem
from nightlab.proposers.command.proposer import CommandProposer
from nightlab.proposers.hybrid import HybridProposer
from nightlab.proposers.knobs.proposer import KnobProposer
from nightlab.proposers.llm.proposer import LlmProposer
from nightlab.redaction import Redaction
from nightlab.settings import SessionSettings, address_problem

MODEL_VARIABLE = "NIGHTLAB_MODEL"
API_BASE_VARIABLE = "NIGHTLAB_API_BASE"
UNKEPT_CAPS = (
    "max_cost_usd",
    "max_study_cost_usd",
    "max_model_tokens",
    "max_study_model_tokens",
)
"""Caps that a command does not keep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenProposer:
    """A proposer, and the sentence that says why it is this one."""

    proposer: Proposer
    why: str


def choose_proposer(
    settings: SessionSettings,
    api_keys: Mapping[str, SecretStr] | None = None,
    environment: Mapping[str, str] | None = None,
    spending: Spending | None = None,
) -> ChosenProposer:
    """Take the proposer that is asked for; ``auto`` takes what is configured, else ``knobs``.

    Args:
        settings: of the session; its models and address go before the environment's.
        api_keys: what the Prefect Secret blocks hold that the settings name; None where they
            are not read yet, and only the settings are checked.
        environment: where ``NIGHTLAB_MODEL``, ``NIGHTLAB_API_BASE`` and keys are looked up;
            None for this process's, where providers' keys are brought to what is to be sent.
        spending: what models may cost; None counts from nothing.

    Raises:
        UsageError: what the proposer needs is not configured, or not here.
    """
    variables = os.environ if environment is None else dict(environment)
    spending = spending or Spending(settings)
    _check_command(settings, variables)
    asked = "" if settings.proposer == "auto" else ", as asked"
    named = bool(settings.model or variables.get(MODEL_VARIABLE))
    commanded = settings.command is not None
    if settings.proposer == "knobs" or (settings.proposer == "auto" and not (named or commanded)):
        because = asked or f": no model is configured (--model or {MODEL_VARIABLE} names one)"
        why = f"knobs, Optuna over the constants that train.py declares{because}."
        return ChosenProposer(proposer=KnobProposer(), why=why)
    editor: LlmProposer | CommandProposer
    if settings.command is not None:  # Checked to be wanted.
        seconds = settings.command_timeout_seconds
        editor, source = CommandProposer(settings.command, seconds, spending=spending), ""
    else:
        editor = _models(settings, variables, api_keys or {}, spending)
        source = "--model" if settings.model else MODEL_VARIABLE
        source = f", which {source} names"
    if settings.proposer == "hybrid":
        hybrid = HybridProposer(structure=editor, tuner=KnobProposer())
        why = f"hybrid, Optuna and the {editor.where}{source}, by what each gains."
        return ChosenProposer(proposer=hybrid, why=why)
    why = f"{editor.name}, the {editor.where}{source}{asked}."
    return ChosenProposer(proposer=editor, why=why)


def _check_command(settings: SessionSettings, variables: Mapping[str, str]) -> None:
    if settings.command is None or not settings.command.strip():
        if settings.proposer == "command" or settings.command is not None:
            raise UsageError(
                "The command proposer needs a command that edits trainer/train.py and none is "
                "given: name one with --command '...'."
            )
        return
    if settings.proposer not in ("auto", "command", "hybrid"):
        raise UsageError(
            f"A command is given, and the {settings.proposer} proposer runs none: add --proposer "
            "command (or hybrid), or leave --command out."
        )
    if settings.proposer != "command" and settings.model:
        raise UsageError(
            "Either a model or a command edits the code, and both are given: leave --model or "
            "--command out, or ask for one with --proposer llm or --proposer command."
        )
    if Redaction.of(None, variables)(settings.command) != settings.command:
        raise UsageError(
            "The command is stored with every trial, and it holds a key of the environment: have "
            "it read the variable itself (single quotes around --command keep the shell from "
            "putting the value in)."
        )
    _check_caps(settings)
    problem = command_problem(settings.command, variables)
    if problem is not None:
        raise UsageError(problem)


def _check_caps(settings: SessionSettings) -> None:
    given = [name for name in UNKEPT_CAPS if getattr(settings, name) is not None]
    if given:
        named = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(
            f"Nobody reports the tokens and dollars of a command, so {named} cannot be kept: cap "
            "them where they are paid and leave that out; --max-model-calls counts the command's "
            "runs."
        )


def _models(
    settings: SessionSettings,
    variables: MutableMapping[str, str],
    api_keys: Mapping[str, SecretStr],
    spending: Spending,
) -> LlmProposer:
    names = settings.model or variables.get(MODEL_VARIABLE)
    if not names:
        agent = " (or an agent with --command)" if settings.proposer == "hybrid" else ""
        raise UsageError(
            f"The {settings.proposer} proposer needs a model and none is configured: name one with "
            f"--model PROVIDER/NAME or {MODEL_VARIABLE}{agent}, or take --proposer knobs."
        )
    address = settings.api_base or variables.get(API_BASE_VARIABLE) or None
    models = read_models(names, address)
    for place in (address, *(place for _, place in models)):
        problem = address_problem(place or "")
        if problem is not None:  # Of the environment: settings are checked where they are read.
            raise UsageError(f"In {API_BASE_VARIABLE} or {MODEL_VARIABLE}, {problem}.")
    settle_variables(models, variables)
    keys = keys_of_models(models, settings.api_key_secret, api_keys, variables)
    endpoints = tuple(
        Endpoint(
            model=name,
            api_base=place,
            api_key=keys.get(place_of((name, place))),
            timeout_seconds=settings.model_timeout_seconds,
            reasoning_effort=settings.reasoning_effort,
        )
        for name, place in models
    )
    return LlmProposer(ModelPool(endpoints, spending))
