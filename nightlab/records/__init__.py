"""The nouns that travel between the steps of a trial, and into git as JSON.

All are frozen pydantic models. A missing number is ``None``, never 0: in a
lower-is-better column 0 would be the best score. Times are seconds, memory is MiB
(the field's ``_mb``), losses are nats, scores are bits per byte.
"""

from nightlab.records.base import (
    SCHEMA_VERSION,
    Frozen,
    utc_now,
)
from nightlab.records.kept_models import KeptModel
from nightlab.records.measurements import (
    Answering,
    Confinement,
    CurvePoint,
    Escape,
    Evaluation,
    Forecast,
    OtherWork,
    PreflightResult,
    Replicate,
    TrainingResult,
)
from nightlab.records.proposals import (
    Edit,
    Exchange,
    Mode,
    Proposal,
    ProposalCost,
    Suggestion,
)
from nightlab.records.trials import (
    Evidence,
    InFlight,
    TrialRecord,
)
from nightlab.records.verdicts import (
    Approval,
    Decision,
    Pair,
    Reason,
    Verdict,
)

__all__ = [
    "SCHEMA_VERSION",
    "Answering",
    "Approval",
    "Confinement",
    "CurvePoint",
    "Decision",
    "Edit",
    "Escape",
    "Evaluation",
    "Evidence",
    "Exchange",
    "Forecast",
    "Frozen",
    "InFlight",
    "KeptModel",
    "Mode",
    "OtherWork",
    "Pair",
    "PreflightResult",
    "Proposal",
    "ProposalCost",
    "Reason",
    "Replicate",
    "Suggestion",
    "TrainingResult",
    "TrialRecord",
    "Verdict",
    "utc_now",
]
