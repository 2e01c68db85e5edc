"""The llm proposer against a real HTTP server: what it makes of answers, and asks again for."""

import json

import pytest

from nightlab.errors import ModelError, ModelRefused
from nightlab.models.endpoint import PLACEHOLDER_KEY, Endpoint
from nightlab.models.pool import ModelPool
from nightlab.proposers import LlmProposer, Spending, apply_edits
from nightlab.proposers.brief import Brief, TriedChange
from nightlab.proposers.llm.answer import read_answer
from nightlab.proposers.prompts import PROMPT_VERSION
from nightlab.records import Mode
from nightlab.settings import SessionSettings
from tests.proposers.asking import GOOD, asks, propose
from tests.proposers.samples import history
from tests.proposers.trainer_sample import SOURCE, sample_brief
from tests.samples import sample_record
from tests.scripted_endpoint import (
    Answer,
    Failure,
    Raw,
    ScriptedEndpoint,
    Text,
    answer_with_edit,
)

pytestmark = pytest.mark.usefixtures("no_keys")

LOOP = SOURCE[SOURCE.index("    for step") : SOURCE.index("    run.save")]
MISSED = answer_with_edit("THIS = 1", "THIS = 2", title="Missed")


def test_a_good_edit_becomes_a_proposal() -> None:
    with ScriptedEndpoint(
        [Text(content=GOOD, prompt_tokens=900, completion_tokens=30)]
    ) as endpoint:
        proposal = propose(endpoint)
    assert (proposal.title, proposal.hypothesis) == ("Deeper", "Depth helps.")
    assert (proposal.proposer, proposal.model) == ("llm", "openai/scripted")
    assert proposal.error is None
    assert "DEPTH = 5  # 2..12; blocks" in apply_edits(SOURCE, proposal.edits).source
    cost = proposal.cost
    assert (cost.calls, cost.prompt_tokens, cost.completion_tokens) == (1, 900, 30)
    assert cost.cost_usd is None
    assert cost.seconds > 0
    (exchange,) = proposal.exchanges
    assert exchange.answer == GOOD
    (request,) = endpoint.requests
    assert request.headers["authorization"] == f"Bearer {PLACEHOLDER_KEY}"
    assert SOURCE.rstrip() in request.text
    assert SOURCE.rstrip() in exchange.prompt


def test_a_known_price_gives_the_cost() -> None:
    answers = [Text(content=MISSED, prompt_tokens=1_000_000), Text(content=GOOD)]
    with ScriptedEndpoint(answers) as endpoint:
        proposal = propose(endpoint, model="openai/gpt-4o")
    assert proposal.cost.prompt_tokens == 1_000_100
    assert proposal.cost.cost_usd is not None
    assert 0.5 < proposal.cost.cost_usd < 50


def with_usage(usage: object) -> Raw:
    message = {"role": "assistant", "content": GOOD}
    body: dict[str, object] = {"choices": [{"index": 0, "message": message}]}
    return Raw(json.dumps({**body, "usage": usage} if usage is not None else body).encode())


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {"prompt_tokens": -5, "completion_tokens": -1},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"prompt_tokens": 10**12, "completion_tokens": 10**12},
        {"completion_tokens": "many"},
        {"prompt_tokens": 1.5},
        "words",
    ],
)
def test_usage_that_was_not_counted_is_missing_and_not_zero(usage: object) -> None:
    with ScriptedEndpoint([with_usage(usage)]) as endpoint:
        proposal = propose(endpoint, model="openai/gpt-4o")
    assert proposal.error is None
    assert proposal.cost.prompt_tokens is None
    assert proposal.cost.completion_tokens is None
    assert proposal.cost.cost_usd is None


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (MISSED, "Block 1 of 1 does not match"),
        (answer_with_edit("    run", "    walk"), "matches at"),
        (answer_with_edit("import math", "import math, requests"), "would import requests"),
        (answer_with_edit("DEPTH = 4", "DEPTH = ="), "would not parse: line 8"),
        (answer_with_edit("def main", "def other"), "must define the function main"),
        ("trainer/score.py\n" + GOOD.split("\n\n")[1], "names the file trainer/score.py"),
        ("I'm sorry, but I can't help with that.", "no SEARCH/REPLACE block"),
        (GOOD[:-20], "cut off"),
        (Text(content=GOOD[:-20], finish_reason="length"), "make it shorter"),
        (Text(content=GOOD, finish_reason="length"), "cut off (finish reason length)"),
        # litellm takes a word that it does not have for the model's own end.
        (Text(content=GOOD, finish_reason="out_of_room"), "cut off (finish reason out_of_room)"),
        (f"<think>\n{GOOD}", "begins its reasoning and never ends it"),
        (f"{GOOD}\n{GOOD}", "a second TITLE"),
        (answer_with_edit(LOOP, "    # ... existing code ...\n"), "run.report(step, loss"),
        (Text(content=None, finish_reason="tool_calls"), "empty (finish reason tool_calls)"),
        (Text(content="  \n"), "The answer is empty"),
    ],
)
def test_an_unusable_answer_is_sent_back_once_with_the_error(first: Answer, told: str) -> None:
    with ScriptedEndpoint([first, GOOD]) as endpoint:
        proposal = propose(endpoint)
    assert proposal.error is None
    assert proposal.title == "Deeper"
    assert proposal.cost.calls == 2
    assert proposal.cost.prompt_tokens == 200
    roles = [message["role"] for message in endpoint.requests[1].messages]
    assert roles == ["system", "user", "assistant", "user"]
    assert told in endpoint.requests[1].messages[-1]["content"]
    assert told in proposal.exchanges[1].prompt
    assert SOURCE.rstrip() not in proposal.exchanges[1].prompt


def with_reasoning(content: str | None) -> Raw:
    """What a server sends that takes the reasoning out of the answer by itself."""
    message = {"role": "assistant", "content": content, "reasoning_content": GOOD}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return Raw(json.dumps({"choices": [choice]}).encode())


@pytest.mark.parametrize("content", [None, "", "<think>"])
def test_reasoning_beside_the_answer_is_no_answer(content: str | None) -> None:
    other = answer_with_edit("DEPTH = 4", "DEPTH = 8", title="Twice as deep")
    with ScriptedEndpoint([with_reasoning(content), with_reasoning(other)]) as endpoint:
        proposal = propose(endpoint)
    assert (proposal.title, proposal.error) == ("Twice as deep", None)
    assert "DEPTH = 8" in apply_edits(SOURCE, proposal.edits).source
    assert len(endpoint.requests) == 2


def test_a_draft_before_a_lone_closing_tag_is_not_taken() -> None:
    draft = answer_with_edit("DEPTH = 4", "DEPTH = 12", title="Draft")
    with ScriptedEndpoint([f"{draft}\nToo deep.\n</think>\n\n{GOOD}"]) as endpoint:
        proposal = propose(endpoint)
    assert (proposal.title, proposal.error) == ("Deeper", None)
    assert "DEPTH = 5" in apply_edits(SOURCE, proposal.edits).source


def test_what_is_not_repaired_is_a_proposal_with_an_error() -> None:
    with ScriptedEndpoint([MISSED, MISSED, "No.", GOOD]) as endpoint:
        proposal = propose(endpoint)
    assert proposal.error is not None
    assert "no SEARCH/REPLACE block" in proposal.error
    assert len(endpoint.requests) == len(proposal.exchanges) == 3


def test_an_endpoint_that_fails_in_the_repair_does_not_lose_what_was_paid() -> None:
    with ScriptedEndpoint([MISSED, Failure(500, "boom")]) as endpoint:
        proposal = propose(endpoint)
    assert proposal.title == "Missed"
    assert proposal.error is not None
    assert "does not match" in proposal.error
    assert "could not be sent back" in proposal.error
    assert "boom" in proposal.error
    assert proposal.cost.calls == 1


@pytest.mark.parametrize(
    ("head", "title", "hypothesis"),
    [
        ("TITLE: A\nHYPOTHESIS: B\nand C", "A", "B and C"),
        ("**TITLE:** A\n\n**HYPOTHESIS:** B\n", "A", "B"),
        ("## Title: A\n## Hypothesis: B", "A", "B"),
        ("HYPOTHESIS: B", "B", "B"),
        ("Here you are:", "An answer without a title", ""),
        ("TITLE: A\x1b[2J\nHYPOTHESIS: " + "b" * 5_000, "A [2J", "b" * 1_999 + "…"),
        ("<think>TITLE: no\n" + MISSED + "</think>TITLE: A\nHYPOTHESIS: B", "A", "B"),
    ],
)
def test_titles_and_hypotheses_are_read_as_models_write_them(
    head: str, title: str, hypothesis: str
) -> None:
    draft = read_answer(head + "\n" + GOOD.split("\n\n")[1], "stop", SOURCE)
    assert draft.error is None
    assert (draft.title, draft.hypothesis) == (title, hypothesis)


TOO_LONG = Failure(400, "This model's maximum context length is 10 tokens.")


def test_a_prompt_that_is_too_long_is_shortened() -> None:
    with ScriptedEndpoint([TOO_LONG, GOOD]) as endpoint:
        proposal = asks("openai/scripted", endpoint.api_base).propose(
            sample_brief(records=history(200))
        )
    assert proposal.error is None
    sizes = [len(request.text) for request in endpoint.requests]
    assert sizes[1] < 0.6 * sizes[0]


def test_a_context_too_short_for_any_prompt_is_said() -> None:
    with (
        ScriptedEndpoint([TOO_LONG] * 3) as endpoint,
        pytest.raises(ModelRefused, match="a longer context"),
    ):
        propose(endpoint)
    assert len(endpoint.requests) == 3


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("EXPECTED: -0.012", -0.012),
        ("**Expected:** about −0.01 bpb", -0.01),
        ("EXPECTED: 1e-3 worse at first", 1e-3),
        ("EXPECTED: no idea", None),
        ("EXPECTED: 1" + "0" * 400, None),
    ],
)
def test_an_expected_change_is_read(line: str, expected: float | None) -> None:
    draft = read_answer(f"TITLE: A\n{line}\n" + GOOD.split("\n\n")[1], "stop", SOURCE)
    assert draft.error is None
    assert draft.expected_bpb == expected


def test_which_model_begins_is_drawn_for_each_trial() -> None:
    def models(address: str) -> list[str | None]:
        endpoints = tuple(Endpoint(model=f"openai/{name}", api_base=address) for name in "ab")
        proposer = LlmProposer(ModelPool(endpoints, Spending(SessionSettings())))
        briefs = (sample_brief(number=number) for number in range(1, 9))
        return [proposer.propose(brief).model for brief in briefs]

    with ScriptedEndpoint([GOOD] * 16) as endpoint:
        drawn = models(endpoint.api_base)
        assert drawn == models(endpoint.api_base)
    assert set(drawn) == {"openai/a", "openai/b"}


TRIED = """--- a/trainer/train.py
+++ b/trainer/train.py
@@ -8 +8 @@
-DEPTH = 4  # 2..12; blocks
+DEPTH = 5  # 2..12; blocks
"""


def tried_before() -> Brief:
    record = sample_record(1, scores=(2.6,)).model_copy(update={"title": "One more block"})
    return sample_brief(records=(record,), tried=(TriedChange(number=1, diff=TRIED),))


def test_a_tried_idea_is_sent_back_once() -> None:
    other = answer_with_edit("DEPTH = 4", "DEPTH = 8", title="Twice as deep")
    with ScriptedEndpoint([GOOD, other]) as endpoint:
        proposal = asks("openai/scripted", endpoint.api_base).propose(tried_before())
    assert proposal.title == "Twice as deep"
    assert "near trial 1 by its change" in proposal.note
    asked = endpoint.requests[1].messages[-1]["content"]
    assert "trial 1, of which is known" in asked
    assert "One more block" in asked


def test_a_model_that_insists_gets_its_way() -> None:
    with ScriptedEndpoint([GOOD, GOOD]) as endpoint:
        proposal = asks("openai/scripted", endpoint.api_base).propose(tried_before())
    assert proposal.error is None
    assert "this one is near trial 1" in proposal.note
    assert proposal.cost.calls == 2


@pytest.mark.parametrize("answer", [GOOD, f"{MISSED}</think>{GOOD}"])
def test_a_repair_shows_the_answer_whose_blocks_were_applied(answer: str) -> None:
    with ScriptedEndpoint([answer, "No other idea.", GOOD]) as endpoint:
        proposer = asks("openai/scripted", endpoint.api_base)
        proposal = proposer.propose(tried_before())
        proposer.repair(tried_before(), proposal, "It broke.")
    assert [message["content"] for message in endpoint.requests[2].messages][-2] == answer


@pytest.mark.parametrize("second", ["No other idea.", Failure(500, "boom")])
def test_a_tried_idea_stands_where_no_other_comes(second: Answer) -> None:
    with ScriptedEndpoint([GOOD, second]) as endpoint:
        proposal = asks("openai/scripted", endpoint.api_base).propose(tried_before())
    assert (proposal.title, proposal.error) == ("Deeper", None)
    assert "It is near trial 1" in proposal.note


def test_a_proposal_says_what_it_was_asked_for() -> None:
    with ScriptedEndpoint([GOOD]) as endpoint:
        proposal = propose(endpoint)
    assert proposal.mode is Mode.REFINE
    assert proposal.prompt_version == PROMPT_VERSION


def test_a_prompt_marks_its_beginning_for_caches_that_want_it() -> None:
    with ScriptedEndpoint([Failure(500)]) as endpoint, pytest.raises(ModelError):
        propose(endpoint, model="anthropic/claude-sonnet-4-5", api_key="x")
    (part,) = endpoint.requests[0].body["system"]
    assert part["cache_control"] == {"type": "ephemeral"}
