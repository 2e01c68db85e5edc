"""What ideas cost, together; and the names of a person's own."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from nightlab.records import Mode, Proposal, ProposalCost, Suggestion

KNOWN = ProposalCost(calls=2, prompt_tokens=100, completion_tokens=10, cost_usd=0.5, seconds=3.0)
UNPRICED = ProposalCost(
    calls=1, prompt_tokens=50, completion_tokens=None, cost_usd=None, priced_usd=0.125, seconds=1.0
)
NOTHING = ProposalCost(seconds=0.25)


def test_what_is_known_of_both_is_added() -> None:
    assert (
        ProposalCost(calls=4, prompt_tokens=200, completion_tokens=20, cost_usd=1.0, seconds=6.0)
        == KNOWN + KNOWN
    )


@pytest.mark.parametrize("first", [True, False])
def test_what_is_not_known_of_one_is_not_known_of_the_sum(first: bool) -> None:
    total = KNOWN + UNPRICED if first else UNPRICED + KNOWN
    assert total == ProposalCost(
        calls=3,
        prompt_tokens=150,
        completion_tokens=None,
        cost_usd=None,
        priced_usd=0.625,
        seconds=4.0,
    )
    assert total.known_usd == 0.625


@pytest.mark.parametrize("first", [True, False])
def test_where_nothing_was_asked_nothing_is_unknown(first: bool) -> None:
    total = KNOWN + NOTHING if first else NOTHING + KNOWN
    assert total == KNOWN.model_copy(update={"seconds": 3.25})
    assert (NOTHING + NOTHING).cost_usd is None
    assert (NOTHING + NOTHING).seconds == 0.5


def test_what_it_came_to_at_least() -> None:
    assert KNOWN.known_usd == 0.5
    assert UNPRICED.known_usd == 0.125
    assert ProposalCost().known_usd == 0.0
    assert ProposalCost(cost_usd=0.0, priced_usd=9.0).known_usd == 0.0
    assert ProposalCost().calls == 0


MADE = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "name"), [({"number": 7}, "0007"), ({"name": 12345}, "12345"), ({"name": "x"}, "x")]
)
def test_a_suggestion_has_a_name_whatever_it_was_numbered_by(
    given: dict[str, object], name: str
) -> None:
    values = {"study": "night", "text": "Less.", "made_at": MADE, **given}
    suggestion = Suggestion.model_validate(values)
    assert suggestion.name == name
    assert (suggestion.trial, suggestion.schema_version) == (None, 1)


def test_a_proposal_of_another_version_has_numbers_for_suggestions() -> None:
    read = Proposal.model_validate({"title": "T", "proposer": "llm", "suggestions": [3, "y"]})
    assert read.suggestions == ("0003", "y")
    assert (read.edits, read.error, read.mode, read.rescue_of) == ((), None, None, None)
    assert (read.cost, read.expected_bpb, read.model) == (ProposalCost(), None, None)


def test_modes_are_these() -> None:
    assert [mode.value for mode in Mode] == ["refine", "explore", "rescue"]
    with pytest.raises(ValidationError, match="mode"):
        Proposal.model_validate({"title": "T", "proposer": "llm", "mode": "guess"})
