"""Ideas: who had them, what they edit, what they cost."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, Field

from nightlab.records.base import SCHEMA_VERSION, Frozen


class Mode(StrEnum):
    """What a proposer was asked for."""

    REFINE = "refine"
    """The best next step from where the study stands."""
    EXPLORE = "explore"
    """Something unlike what was tried: nothing was kept for long."""
    RESCUE = "rescue"
    """An edit that just missed, with its knobs tuned."""


def _from_number(value: Any) -> Any:
    return f"{value:04d}" if isinstance(value, int) else value


SuggestionName = Annotated[str, BeforeValidator(_from_number)]
"""The time it was made and a random part; earlier studies numbered theirs: ``0007``."""


class Suggestion(Frozen):
    """A person's idea, in a study's queue."""

    schema_version: int = SCHEMA_VERSION
    study: str
    name: SuggestionName = Field(validation_alias=AliasChoices("name", "number"))
    text: str
    made_at: datetime
    trial: int | None = None
    """The trial whose proposer was shown it; None while it waits."""


class Edit(Frozen):
    """One SEARCH/REPLACE block on ``trainer/train.py``."""

    search: str
    replace: str


class Exchange(Frozen):
    """One call of a model: what was sent, what came back."""

    prompt: str
    answer: str


class ProposalCost(Frozen):
    """What a proposal cost, calls without an answer included, as they were estimated."""

    calls: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None
    """None as soon as the price of one call is not known."""
    priced_usd: float = 0.0
    """Where ``cost_usd`` is None: what those calls came to whose price is known."""
    seconds: float = 0.0

    @property
    def known_usd(self) -> float:
        """What it came to at least."""
        return self.priced_usd if self.cost_usd is None else self.cost_usd

    def __add__(self, other: "ProposalCost") -> "ProposalCost":
        """Both together: what is not known of one is not known of the sum."""
        dollars = _sum_known(self, other, "cost_usd")
        return ProposalCost(
            calls=self.calls + other.calls,
            prompt_tokens=_sum_known(self, other, "prompt_tokens"),
            completion_tokens=_sum_known(self, other, "completion_tokens"),
            cost_usd=dollars,
            priced_usd=self.known_usd + other.known_usd if dollars is None else 0.0,
            seconds=self.seconds + other.seconds,
        )


def _sum_known(one: ProposalCost, other: ProposalCost, name: str) -> Any:
    # Where nothing was asked, nothing is unknown.
    asked = [each for each in (one, other) if each.calls] or [one, other]
    values = [getattr(each, name) for each in asked]
    if None in values:
        return None
    return sum(values)


class Proposal(Frozen):
    """An idea, not yet applied."""

    title: str
    hypothesis: str = ""
    edits: tuple[Edit, ...] = ()
    proposer: str
    """``knobs``, ``llm``, ``command``, ``baseline`` or ``retry``: who had the idea."""
    model: str | None = None
    """The language model that answered, or the command that edited."""
    mode: Mode | None = None
    expected_bpb: float | None = None
    """By how much the proposer expects val_bpb to change; negative is better."""
    prompt_version: str = ""
    """Version of the templates that the prompt was made from."""
    suggestions: tuple[SuggestionName, ...] = ()
    """Names of the person's suggestions that the proposer was shown."""
    rescue_of: int | None = None
    """The trial whose edit this one tries again with other knobs."""
    note: str = ""
    """What else is to be known of how it came about, for people."""
    cost: ProposalCost = ProposalCost()
    exchanges: tuple[Exchange, ...] = ()
    error: str | None = None
    """Why the edits cannot be applied, after all repair rounds: verdict ``invalid_edit``."""
