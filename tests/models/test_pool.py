"""Several models: who is asked, who stands in, who is left alone."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from nightlab.errors import BudgetReached, ModelRefused, UsageError
from nightlab.models.endpoint import Endpoint
from nightlab.models.endpoint_errors import PromptTooLong
from nightlab.models.pool import ModelPool, read_models
from nightlab.models.providers import import_litellm
from nightlab.proposers import EndpointError, NoModelAnswers, Spending
from nightlab.records import ProposalCost
from nightlab.settings import SessionSettings
from tests.scripted_endpoint import Failure, Hang, ScriptedEndpoint, Text

MESSAGES = [{"role": "user", "content": "Hello"}]


@pytest.fixture(autouse=True)
def _imported() -> None:
    import_litellm()


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
        with pytest.raises(NoModelAnswers, match="to be left alone for 2 h 30 min"):
            models.ask(MESSAGES, models.endpoints)
    assert waits == []
    assert len(a.requests) == 1


def test_limits_of_several_models_are_waited_for_by_the_one_that_ends_first() -> None:
    hours = [Failure(429, "Limit reached", retry_after=str(3600 * hour)) for hour in (5, 3)]
    with ScriptedEndpoint(hours[:1]) as a, ScriptedEndpoint(hours[1:]) as b:
        models, _ = pool(a, b)
        for _ in range(2):
            with pytest.raises(NoModelAnswers) as caught:
                models.ask(MESSAGES, models.endpoints)
            asked = caught.value.retry_after_seconds
            assert asked == pytest.approx(3 * 3600, abs=60)
    assert len(a.requests) == len(b.requests) == 1


def test_that_another_model_stands_in_is_said_once_for_each_outage(notices: list[str]) -> None:
    busy = [Failure(503, f"busy, request {number}") for number in range(3)]
    with (
        ScriptedEndpoint([*busy, "back", Failure(503, "busy")]) as a,
        ScriptedEndpoint(["yes"] * 4) as b,
    ):
        models, _ = pool(a, b)
        for _ in range(5):
            models.ask(MESSAGES, models.endpoints)
    assert sum("next model" in text for text in notices) == 2


def test_refusals_of_several_models_compare_whoever_is_asked_first() -> None:
    causes = set()
    for first in (0, 1):
        with (
            ScriptedEndpoint([Failure(401, f"no {first}")]) as a,
            ScriptedEndpoint([Failure(404, f"no {first}")]) as b,
        ):
            models, _ = pool(a, b)
            order = models.endpoints[first:] + models.endpoints[:first]
            with pytest.raises(ModelRefused) as caught:
                models.ask(MESSAGES, order)
        causes.add(caught.value.cause)
    assert causes == {"openai/a 401; openai/b 404"}


@pytest.mark.parametrize(
    ("characters", "tokens", "is_said"),
    [(40_000, 2_048, True), (40_000, 4_096, False), (40_000, 9_000, False), (2_000, 10, False)],
)
def test_a_prompt_that_was_read_in_part_is_said_once(
    characters: int, tokens: int, is_said: bool, notices: list[str]
) -> None:
    prompt = [{"role": "user", "content": "x" * characters}]
    with ScriptedEndpoint([Text(content="yes", prompt_tokens=tokens)] * 2) as a:
        models, _ = pool(a)
        for _ in range(2):
            models.ask(prompt, models.endpoints)
    said = [text for text in notices if "read only a part" in text]
    assert len(said) == is_said
    for text in said:
        assert "2,048 tokens" in text
        assert "num_ctx" in text


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


def test_two_ideas_asked_for_at_once_do_not_pass_a_cap_together() -> None:
    slow = Text(content="x", prompt_tokens=1_000, completion_tokens=500, delay_seconds=0.5)
    with ScriptedEndpoint([slow, slow]) as a:
        models, _ = pool(a, max_model_calls=1)
        with ThreadPoolExecutor() as threads:
            both = [threads.submit(models.ask, MESSAGES, models.endpoints) for _ in range(2)]
        failures = [type(each.exception()) for each in both]
    assert sorted(failures, key=str) == sorted([BudgetReached, type(None)], key=str)
    assert len(a.requests) == 1


def test_a_session_goes_on_while_a_model_that_was_not_asked_yet_can_be_paid() -> None:
    dear, cheap = "openai/gpt-4", "openai/gpt-4o-mini"
    answer = Text(content="x", prompt_tokens=1_000, completion_tokens=1_000)
    with ScriptedEndpoint([answer]) as a, ScriptedEndpoint([answer]) as b:
        endpoints = (
            Endpoint(model=dear, api_base=a.api_base),
            Endpoint(model=cheap, api_base=b.api_base),
        )
        models = ModelPool(endpoints, Spending(SessionSettings(max_cost_usd=0.12)))
        assert models.ask(MESSAGES, endpoints).model == dear  # $0.09
        assert models.spending.reached() is None
        assert models.ask(MESSAGES, endpoints).model == cheap


def test_a_prompt_too_long_for_one_model_is_shortened_though_the_other_is_away() -> None:
    long = Failure(400, "This model's maximum context length is 8192 tokens", code="context")
    with ScriptedEndpoint([long]) as a, ScriptedEndpoint([Failure(503)]) as b:
        models, _ = pool(a, b)
        with pytest.raises(PromptTooLong):
            models.ask(MESSAGES, models.endpoints)


def test_every_model_without_a_price_is_named(notices: list[str]) -> None:
    with ScriptedEndpoint([Failure(503)]) as a, ScriptedEndpoint(["yes"]) as b:
        models, _ = pool(a, b, max_cost_usd=5)
        models.ask(MESSAGES, models.endpoints)
    assert sum("No price is known" in text for text in notices) == 2


@pytest.mark.parametrize(
    ("model", "is_known"),
    [
        ("openai/gpt-4o", True),
        ("ollama/llama3", True),
        ("openai/gpt-5.99", False),
        ("anthropic/claude-sonnet-99", False),
        ("gemini/gemini-99-pro", False),
        ("openai/scripted", False),
    ],
)
def test_a_price_that_the_list_lacks_is_unknown_and_not_nothing(model: str, is_known: bool) -> None:
    assert Endpoint(model=model).price().is_known is is_known


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("openai/gpt-4o", 207),
        ("replicate/meta/llama-3-70b-instruct", 333),  # whose tokenizer would be fetched
        ("openai/scripted", 333),
        ("ollama/scripted", 333),  # whose server would be asked
    ],
)
def test_a_prompt_is_counted_without_the_network(
    model: str, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def refuse(*address: object, **_: object) -> None:
        asked.append(address)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    messages = [{"role": "user", "content": " ".join(["word"] * 200)}]
    assert Endpoint(model=model).count_tokens(messages) == tokens
    assert asked == []


@pytest.mark.parametrize(
    ("model", "tokens", "sent"),
    [
        ("openai/gpt-4o", 100_000, 16_384),  # the model's own limit
        ("openai/gpt-4o", 1_000, 1_000),
        ("openai/scripted", 100_000, 32_000),
        ("openai/scripted", 1_000_000, None),
        ("openai/scripted", None, None),
    ],
)
def test_an_answer_is_bounded_by_what_is_left_and_by_what_the_model_writes(
    model: str, tokens: int | None, sent: int | None
) -> None:
    with ScriptedEndpoint(["yes"]) as a:
        Endpoint(model=model, api_base=a.api_base).ask(MESSAGES, tokens)
    assert a.requests[0].body.get("max_tokens") == sent


def test_a_connection_that_breaks_after_the_request_may_be_billed() -> None:
    with ScriptedEndpoint([Hang(0.1)]) as a:
        models, _ = pool(a)
        with pytest.raises(EndpointError):
            models.ask(MESSAGES, models.endpoints)
    assert models.spending.in_session.calls == 1
    lost = models.spending.take_unanswered()
    assert (lost.calls, lost.cost_usd) == (1, None)
    assert lost.prompt_tokens
    assert models.spending.take_unanswered() == ProposalCost()
    models.endpoints = (Endpoint(model="openai/a", api_base="http://127.0.0.1:9/v1"),)
    with pytest.raises(EndpointError):
        models.ask(MESSAGES, models.endpoints)
    assert models.spending.in_session.calls == 1
