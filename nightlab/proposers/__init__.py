"""Where ideas come from: language models, Optuna over the declared knobs, or both."""

from nightlab.proposers.brief import Brief, NearMiss, Proposer, TriedChange, UnderWay
from nightlab.proposers.choose import choose_proposer
from nightlab.proposers.edits import apply_edits, edit_between
from nightlab.proposers.endpoint_errors import EndpointError, NoModelAnswers
from nightlab.proposers.knob_proposer import KnobProposer
from nightlab.proposers.knobs import Knob, knob_values, read_knobs, set_knobs
from nightlab.proposers.llm import LlmProposer, try_model
from nightlab.proposers.models import read_models
from nightlab.proposers.spending import Spending
from nightlab.source.contract import check_source, check_syntax

__all__ = [
    "Brief",
    "EndpointError",
    "Knob",
    "KnobProposer",
    "LlmProposer",
    "NearMiss",
    "NoModelAnswers",
    "Proposer",
    "Spending",
    "TriedChange",
    "UnderWay",
    "apply_edits",
    "check_source",
    "check_syntax",
    "choose_proposer",
    "edit_between",
    "knob_values",
    "read_knobs",
    "read_models",
    "set_knobs",
    "try_model",
]
