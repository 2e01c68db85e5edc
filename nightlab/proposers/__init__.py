"""Where ideas come from: language models, Optuna over the declared knobs, or both."""

from nightlab.models.endpoint_errors import EndpointError, NoModelAnswers
from nightlab.models.pool import read_models
from nightlab.models.spending import Spending
from nightlab.proposers.brief import Brief, NearMiss, Proposer, TriedChange, UnderWay
from nightlab.proposers.choose import choose_proposer
from nightlab.proposers.edits import apply_edits, edit_between
from nightlab.proposers.knobs.proposer import KnobProposer
from nightlab.proposers.llm.proposer import LlmProposer, try_model
from nightlab.source.contract import check_source, check_syntax
from nightlab.source.knobs import Knob, knob_values, read_knobs, set_knobs

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
