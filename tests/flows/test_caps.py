"""A session with ten cents for its model, against an endpoint that reports what it counted."""

from pathlib import Path

import pytest

from nightlab.ledger import Ledger
from tests.conftest import expect_success, make_clone, run_nightlab
from tests.scripted_endpoint import ScriptedEndpoint, Text, answer_with_edit

MAIN = "def main() -> None:"
CAP_USD = 0.10
PROMPT_USD, COMPLETION_USD = 2.5e-6, 1e-5
"""A token of gpt-4o, by the list that came with litellm; no call leaves this machine."""


def answer(number: int) -> Text:
    """An edit whose candidate ends at once; each answer is longer than the one before."""
    fault = f'{MAIN}\n    raise RuntimeError("planted {number}")'
    content = answer_with_edit(MAIN, fault, title=f"Plant number {number} of its kind")
    return Text(content=content, prompt_tokens=7_000, completion_tokens=300 + 100 * number)


@pytest.mark.slow
def test_the_session_ends_within_one_call_of_its_cap(
    tmp_path: Path, shared_cache: Path, prefect_api: dict[str, str]
) -> None:
    clone = make_clone(tmp_path / "clone")
    answers = [answer(number) for number in range(40)]
    options = ("--budget-tokens", "8192", "--preflight-seconds", "0", "--confirm-replicates", "0")
    with ScriptedEndpoint(list(answers)) as endpoint:
        asked = ("--model", "openai/gpt-4o", "--api-base", endpoint.api_base)
        arguments = ("research", "--study", "night", *options, *asked)
        done = run_nightlab(
            clone,
            shared_cache,
            *(*arguments, "--trials", "40", "--max-cost-usd", str(CAP_USD)),
            extra=prefect_api,
        )
        said = expect_success(done)
        calls = len(endpoint.requests)
        # The study's cap counts what earlier sessions spent: an idea in hand, not one call more.
        again = run_nightlab(
            clone,
            shared_cache,
            *(*arguments, "--trials", "3", "--max-study-cost-usd", str(CAP_USD)),
            extra=prefect_api,
        )
        assert len(endpoint.requests) == calls
        longest = [request.body.get("max_tokens") for request in endpoint.requests]
    costs = [7_000 * PROMPT_USD + (300 + 100 * number) * COMPLETION_USD for number in range(calls)]
    assert sum(costs) <= CAP_USD + 1e-9
    assert sum(costs) + 1.5 * costs[-1] > CAP_USD
    assert "$0.1000 were given for models in this session" in said
    assert f"Models:    {calls} calls, " in said
    assert f" tokens, ${sum(costs):.4f}\n" in said
    assert "$0.1000 were given for models in this study" in expect_success(again)
    # What is left bounds each answer.
    assert all(isinstance(limit, int) for limit in longest)
    assert longest == sorted(longest, reverse=True)
    records = Ledger(clone, "night").records()[1:]
    assert sum(record.cost.calls for record in records) == calls
    assert sum(record.cost.cost_usd or 0.0 for record in records) == pytest.approx(sum(costs))
