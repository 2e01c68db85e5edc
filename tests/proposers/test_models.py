"""Several models: who is asked, who stands in, who is left alone."""

import time
from collections.abc import Iterator

import pytest

from nightlab import events
from nightlab.bandit import choose_arm
from nightlab.errors import BudgetReached, ModelRefused, UsageError
from nightlab.proposers import EndpointError, Spending
from nightlab.proposers.endpoint import Endpoint, import_litellm
from nightlab.proposers.models import ModelPool, model_arms, read_models
from nightlab.proposers.spending import Price
from nightlab.records import ProposalCost, Reason, TrialRecord, Verdict
from nightlab.settings import SessionSettings
from tests.samples import sample_record
from tests.scripted_endpoint import Failure, ScriptedEndpoint, Text

MESSAGES = [{"role": "user", "content": "Hello"}]


@pytest.fixture(autouse=True)
def _imported() -> None:
    import_litellm()


@pytest.fixture
def notices() -> Iterator[list[str]]:
    """What people are told meanwhile."""
    told: list[str] = []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Notice):
            told.append(event.text)

    with events.listening(listen):
        yield told


def pool(*servers: ScriptedEndpoint, **caps: float) -> tuple[ModelPool, list[float]]:
    """A pool of models a, b, … and the waits that it made."""
    waits: list[float] = []
    endpoints = tuple(
        Endpoint(model=f"openai/{name}", api_base=server.api_base, timeout_seconds=20)
        for name, server in zip("abc", servers, strict=False)
    )
    return ModelPool(endpoints, Spending(SessionSettings(**caps)), wait=waits.append), waits


def test_models_are_read_with_their_addresses() -> None:
    assert read_models("openai/a", None) == (("openai/a", None),)
    assert read_models("openai/a, anthropic/b@http://h:1/v1", "http://x/v1") == (
        ("openai/a", "http://x/v1"),
        ("anthropic/b", "http://h:1/v1"),
    )
    # Some models have an @ in their names.
    assert read_models("vertex_ai/claude@2024", None) == (("vertex_ai/claude@2024", None),)
    for wrong in ("a,,b", "a,a", ",", "@http://h/v1,a"):
        with pytest.raises(UsageError, match="--model takes one name or several"):
            read_models(wrong, None)


def test_the_next_model_stands_in_at_once(notices: list[str]) -> None:
    with ScriptedEndpoint([Failure(503, "busy")]) as a, ScriptedEndpoint(["yes"]) as b:
        models, waits = pool(a, b)
        reply = models.ask(MESSAGES, models.endpoints)
    assert (reply.model, reply.text) == ("openai/b", "yes")
    assert waits == []
    assert any("busy" in text and "next model" in text for text in notices)


def test_a_model_that_asks_to_be_left_alone_is_left_alone() -> None:
    slow = Failure(429, "slow down", retry_after="30")
    with ScriptedEndpoint([slow, "later"]) as a, ScriptedEndpoint(["one", "two"]) as b:
        models, waits = pool(a, b)
        answers = [models.ask(MESSAGES, models.endpoints).text for _ in range(2)]
    assert answers == ["one", "two"]
    assert len(a.requests) == 1
    assert waits == []


def test_a_single_model_is_waited_for_as_it_asks(notices: list[str]) -> None:
    with ScriptedEndpoint([Failure(429, "slow down", retry_after="30"), "yes"]) as a:
        models, waits = pool(a)
        with pytest.raises(EndpointError):
            models.ask(MESSAGES, models.endpoints)
        began = time.monotonic()
        assert models.ask(MESSAGES, models.endpoints).text == "yes"
        assert time.monotonic() - began < 20
    (wait,) = waits
    assert 10 < wait <= 30
    assert any(text.startswith("Waiting") for text in notices)


def test_a_pause_of_hours_is_a_failure_and_no_wait() -> None:
    with ScriptedEndpoint([Failure(429, "quota", retry_after="9000")]) as a:
        models, waits = pool(a)
        with pytest.raises(EndpointError):
            models.ask(MESSAGES, models.endpoints)
        with pytest.raises(EndpointError, match="to be left alone"):
            models.ask(MESSAGES, models.endpoints)
    assert waits == []
    assert len(a.requests) == 1


def test_a_model_that_refused_is_asked_after_the_others() -> None:
    with ScriptedEndpoint([Failure(401, "bad key")]) as a, ScriptedEndpoint(["one", "two"]) as b:
        models, _ = pool(a, b)
        for _ in range(2):
            models.ask(MESSAGES, models.endpoints)
    assert len(a.requests) == 1


def test_a_single_model_that_refused_is_asked_again() -> None:
    with ScriptedEndpoint([Failure(401, "bad key"), "yes"]) as a:
        models, _ = pool(a)
        with pytest.raises(ModelRefused):
            models.ask(MESSAGES, models.endpoints)
        assert models.ask(MESSAGES, models.endpoints).text == "yes"


def test_where_all_refuse_the_session_is_told() -> None:
    with ScriptedEndpoint([Failure(401)]) as a, ScriptedEndpoint([Failure(404)]) as b:
        models, _ = pool(a, b)
        with pytest.raises(ModelRefused):
            models.ask(MESSAGES, models.endpoints)


def test_no_call_is_made_that_a_cap_forbids() -> None:
    with ScriptedEndpoint(["yes"]) as a:
        models, _ = pool(a, max_model_calls=0)
        with pytest.raises(BudgetReached):
            models.ask(MESSAGES, models.endpoints)
    assert a.requests == []


def test_usage_is_counted_and_bounds_the_answer() -> None:
    with ScriptedEndpoint([Text(content="x", prompt_tokens=1_000, completion_tokens=500)] * 9) as a:
        models, _ = pool(a, max_model_tokens=5_000)
        for _ in range(3):
            models.ask(MESSAGES, models.endpoints)
        with pytest.raises(BudgetReached):
            models.ask(MESSAGES, models.endpoints)
    assert len(a.requests) == 3
    assert models.spending.in_session.tokens == 4_500
    assert a.requests[2].body["max_tokens"] == 1_000


def test_an_answer_that_never_came_is_counted() -> None:
    late = Text(content="x", delay_seconds=30)
    with ScriptedEndpoint([late]) as server:
        endpoint = Endpoint(model="openai/a", api_base=server.api_base, timeout_seconds=0.5)
        models = ModelPool((endpoint,), Spending(SessionSettings()))
        with pytest.raises(EndpointError):
            models.ask(MESSAGES, models.endpoints)
    assert models.spending.in_session.calls == 1
    assert models.spending.in_session.tokens > 1_000


def test_an_unknown_price_is_warned_of_once(notices: list[str]) -> None:
    with ScriptedEndpoint(["yes", "yes"]) as a:
        models, _ = pool(a, max_cost_usd=5)
        for _ in range(2):
            models.ask(MESSAGES, models.endpoints)
    (warning,) = [text for text in notices if "No price is known" in text]
    assert "--max-model-tokens" in warning
    assert models.spending.in_session.cost_usd > 0


def trial(number: int, model: str, gain: float = 0.0, cost_usd: float | None = 0.1) -> TrialRecord:
    verdict, reason = Verdict.DISCARD, Reason.WITHIN_NOISE
    if gain:
        verdict, reason = Verdict.KEEP, Reason.IMPROVED
    record = sample_record(number, scores=(2.0,), verdict=verdict, reason=reason)
    decision = record.decision.model_copy(update={"difference_bpb": -gain, "noise_bpb": 0.01})
    cost = ProposalCost(calls=1, prompt_tokens=1_000, completion_tokens=100, cost_usd=cost_usd)
    return record.model_copy(update={"decision": decision, "model": model, "cost": cost})


def test_a_model_is_asked_the_oftener_the_more_it_gained_for_its_price() -> None:
    prices = {"dear": Price(prompt=1e-5, completion=1e-5), "cheap": Price(prompt=0, completion=0)}
    records = [trial(n, "dear", gain=0.03, cost_usd=1.0) for n in range(4)]
    records += [trial(n, "cheap", gain=0.03, cost_usd=0.01) for n in range(4, 8)]
    records.append(trial(8, "gone"))
    arms = model_arms(prices, records, prices)
    assert arms["dear"].gain == pytest.approx(arms["cheap"].gain) == pytest.approx(12)
    assert arms["dear"].cost == pytest.approx(100 * arms["cheap"].cost)
    chosen = [choose_arm(arms, seed) for seed in range(100)]
    assert chosen.count("cheap") > 85


def test_models_without_a_price_compare_by_turns() -> None:
    free = {name: Price(prompt=0, completion=0) for name in ("a", "b")}
    records = [trial(n, "a", gain=0.0, cost_usd=0.0) for n in range(6)]
    records += [trial(9, "b", gain=0.05, cost_usd=0.0)]
    arms = model_arms(free, records, free)
    assert (arms["a"].cost, arms["b"].cost) == (6, 1)
    assert arms["b"].gain == pytest.approx(5)


def test_the_order_of_a_trial_is_drawn_once() -> None:
    with ScriptedEndpoint([]) as a, ScriptedEndpoint([]) as b:
        models, _ = pool(a, b)
        first = [models.order((), seed)[0].model for seed in range(30)]
        assert first == [models.order((), seed)[0].model for seed in range(30)]
    assert set(first) == {"openai/a", "openai/b"}
