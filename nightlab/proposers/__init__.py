"""Where ideas come from: a language model, or Optuna over the declared knobs."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from nightlab.errors import UsageError
from nightlab.proposers.brief import Brief, Proposer, TriedChange
from nightlab.proposers.contract import check_source
from nightlab.proposers.edits import apply_edits, edit_between, parse_edits
from nightlab.proposers.endpoint import Endpoint, EndpointError
from nightlab.proposers.knob_proposer import KnobProposer
from nightlab.proposers.knobs import Knob, knob_values, read_knobs, set_knobs
from nightlab.proposers.llm import LlmProposer, try_model
from nightlab.proposers.models import ModelPool, read_models
from nightlab.proposers.spending import Spending
from nightlab.settings import SessionSettings

__all__ = [
    "Brief",
    "ChosenProposer",
    "EndpointError",
    "Knob",
    "KnobProposer",
    "LlmProposer",
    "Proposer",
    "Spending",
    "TriedChange",
    "apply_edits",
    "check_source",
    "choose_proposer",
    "edit_between",
    "knob_values",
    "parse_edits",
    "read_knobs",
    "set_knobs",
    "try_model",
]

MODEL_VARIABLE = "NIGHTLAB_MODEL"
API_BASE_VARIABLE = "NIGHTLAB_API_BASE"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenProposer:
    """A proposer, and the sentence that says why it is this one."""

    proposer: Proposer
    why: str


def choose_proposer(
    settings: SessionSettings,
    api_key: str | None = None,
    environment: Mapping[str, str] | None = None,
    spending: Spending | None = None,
) -> ChosenProposer:
    """Take the proposer that is asked for; ``auto`` takes ``llm`` where a model is configured.

    Args:
        settings: of the session; its model and address go before the environment's.
        api_key: the model's key; None leaves it to the provider's environment variable.
        environment: where ``NIGHTLAB_MODEL`` and ``NIGHTLAB_API_BASE`` are looked up;
            None for this process's.

        spending: what models may cost; None counts from nothing.

    Raises:
        UsageError: ``llm`` is asked for and no model is configured.
    """
    variables = os.environ if environment is None else environment
    model = settings.model or variables.get(MODEL_VARIABLE) or None
    source = "--model" if settings.model else MODEL_VARIABLE
    asked = "" if settings.proposer == "auto" else ", as asked"
    if settings.proposer == "knobs" or (settings.proposer == "auto" and model is None):
        because = asked or f": no model is configured (--model or {MODEL_VARIABLE} names one)"
        why = f"knobs, Optuna over the constants that train.py declares{because}."
        return ChosenProposer(proposer=KnobProposer(), why=why)
    if model is None:
        raise UsageError(
            "The llm proposer needs a model and none is configured: name one with --model "
            f"PROVIDER/NAME or {MODEL_VARIABLE}, or take --proposer knobs."
        )
    address = settings.api_base or variables.get(API_BASE_VARIABLE) or None
    endpoints = tuple(
        Endpoint(
            model=name,
            api_base=place,
            api_key=api_key,
            timeout_seconds=settings.model_timeout_seconds,
        )
        for name, place in read_models(model, address)
    )
    proposer = LlmProposer(ModelPool(endpoints, spending or Spending(settings)))
    why = f"llm, the {proposer.where}, which {source} names{asked}."
    return ChosenProposer(proposer=proposer, why=why)
