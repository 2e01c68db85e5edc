"""What endpoints refuse of a request, and how it is sent to them from then on."""

from typing import Any

import pytest

from nightlab.models.said import said_of
from nightlab.models.terms import Terms

BODY = {"model": "x", "messages": [], "max_tokens": 32_000, "reasoning_effort": "high"}


def learnt(text: str, body: dict[str, Any] = BODY, **more: Any) -> tuple[Terms, dict[str, Any]]:
    """The terms after one refusal, and the request that follows from it."""
    terms = Terms()
    status = more.pop("status", 400)
    terms.learn(terms.applied(body), said_of({"message": text, **more}, {}, status=status))
    return terms, terms.applied(body)


@pytest.mark.parametrize(
    "text",
    [
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
        "'max_completion_tokens' instead.",
        "Unrecognized request argument supplied: max_tokens",
        "max_tokens: Extra inputs are not permitted",
        "`max_tokens` is deprecated",
        "Unknown field max_tokens. Allowed: model, messages, stream, max_completion_tokens",
    ],
)
def test_the_limit_of_an_answer_has_two_names(text: str) -> None:
    _, sent = learnt(text)
    assert "max_tokens" not in sent
    assert sent["max_completion_tokens"] == 32_000
    assert sent["stream"] is True


def test_a_limit_under_both_names_refused_is_left_out() -> None:
    terms = Terms()
    for name in ("max_tokens", "max_completion_tokens"):
        sent = terms.applied(BODY)
        assert terms.learn(sent, said_of(f"unknown parameter {name}", {}, status=400)) == name
    sent = terms.applied(BODY)
    assert not {"max_tokens", "max_completion_tokens"} & sent.keys()
    assert terms.learn(sent, said_of("unknown parameter max_tokens", {}, status=400)) is None


def test_the_newer_name_gives_way_to_the_older() -> None:
    body = {**BODY, "max_completion_tokens": 9}
    del body["max_tokens"]
    _, sent = learnt("Unrecognized request argument supplied: max_completion_tokens", body)
    assert sent["max_tokens"] == 9


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens is too large: 32000. This model supports at most 16384 completion tokens.",
        "max_tokens: 32000 > 16384, which is the maximum allowed number of output tokens",
        "Invalid max_tokens value, the valid range of max_tokens is [1, 16384]",
        "`max_tokens` must be less than or equal to `16384`",
        "body.max_tokens Input should be less than or equal to 16384",
        "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context "
        "length is 24000 tokens and your request has 5000 input tokens (32000 > 24000 - 5000).",
        "This model's maximum context length is 24000 tokens. However, you requested 37000 tokens "
        "(5000 in the messages, 32000 in the completion). Please reduce the length of the messages "
        "or completion.",
        "The maximum allowed number of output tokens is 16384",
        "maxOutputTokens must be below 16385",
        "input length and `max_tokens` exceed context limit: 190000 + 32,000 > 200000, decrease "
        "input length or `max_tokens` and try again",
        "`inputs` tokens + `max_new_tokens` must be <= 32768. Given: 5000 `inputs` tokens and "
        "32000 `max_new_tokens`",
    ],
)
def test_a_limit_that_is_too_high_is_lowered(text: str) -> None:
    _, sent = learnt(text)
    assert sent["max_tokens"] == 16_000


def test_a_prompt_that_fills_the_context_is_not_taken_for_a_limit_that_is_too_high() -> None:
    terms = Terms()
    tries = 0
    while True:
        sent = terms.applied(BODY)
        text = (
            f"maximum context length is 4096 tokens. However, you requested {9000} tokens (9000 in "
            f"the messages, {sent['max_tokens']} in the completion)."
        )
        if terms.learn(sent, said_of(text, {}, status=400)) is None:
            break
        tries += 1
    assert 3 < tries < 10
    assert terms.applied(BODY)["max_tokens"] == 32_000


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Unknown parameter: stream_options", "stream_options"),
        ("body.stream_options Extra inputs are not permitted extra_forbidden", "stream_options"),
        ("include_usage is not supported", "stream_options"),
        ("Streaming is not supported for this model", "stream"),
        ("Your organization must be verified to stream this model.", "stream"),
        ("stream must be false", "stream"),
        ("Only non-streaming requests are accepted", "stream"),
        ("This server does not support streaming.", "stream"),
        ("SSE responses are not supported", "stream"),
        ("Server-sent events are not enabled here", "stream"),
        ("reasoning_effort is not supported with this model", "reasoning_effort"),
        ("Unrecognized request argument supplied: reasoning_effort", "reasoning_effort"),
        ('"qwen3:8b" does not support thinking', "reasoning_effort"),
        (
            "Unsupported value: 'reasoning_effort' does not support 'minimal' with this model. "
            "Supported values are: 'low', 'medium', and 'high'.",
            "reasoning_effort",
        ),
    ],
)
def test_a_parameter_that_is_not_taken_is_left_out(text: str, name: str) -> None:
    terms, sent = learnt(text)
    assert name not in sent
    assert terms.dropped == {name}
    assert "max_tokens" in sent


def test_any_other_parameter_of_the_request_can_be_refused() -> None:
    body = {**BODY, "temperature": 0.7}
    text = "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default"
    _, sent = learnt(text, body)
    assert "temperature" not in sent
    assert "reasoning_effort" in sent


def test_the_parameter_that_an_error_names_is_believed() -> None:
    for path in ("reasoning_effort", "body.reasoning_effort", "$.reasoning_effort"):
        _, sent = learnt("It is not to our liking.", param=path)
        assert "reasoning_effort" not in sent
    _, sent = learnt("Unsupported: see stream and max_tokens", param="messages")
    assert {"stream", "max_tokens"} <= sent.keys()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("unknown field", 400),
        ("The model `stream-1` is overloaded", 503),
        ("Invalid API key", 401),
        ("stream is not supported", 429),
        ("This model's maximum context length is 8192 tokens", 400),
        ("The upstream server failed", 500),
    ],
)
def test_other_refusals_change_nothing(text: str, status: int) -> None:
    terms, sent = learnt(text, status=status)
    assert terms == Terms()
    assert sent == Terms().applied(BODY)


def test_who_does_not_stream_is_asked_for_no_options_of_it() -> None:
    _, sent = learnt("stream is not supported")
    assert not {"stream", "stream_options"} & sent.keys()
