"""What the errors of many servers mean, in their own words."""

import pytest

from nightlab.errors import ModelRefused
from nightlab.models.endpoint_errors import Asked, EndpointError, PromptTooLong, as_model_error
from nightlab.models.said import Said, error_in, said_in, said_of

OVERFLOWS = [
    (400, "9000 tokens is beyond the 8192 that this model takes"),
    (400, "prompt tokens 9000 above limit 8192"),
    (400, "the conversation has become too lengthy"),
    (400, "Prompt length (9000) is over model limit"),
    (400, "sequence length 9000 outside the allowed window"),
    (400, "No room left in the context for an answer"),
    # OpenAI, Azure
    (
        400,
        "This model's maximum context length is 8192 tokens. However, your messages resulted in "
        "9000 tokens. Please reduce the length of the messages.",
    ),
    (
        400,
        "Your input exceeds the context window of this model. Please adjust your input and try "
        "again.",
    ),
    (
        400,
        "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in "
        "300000 tokens.",
    ),
    (
        429,
        "Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, "
        "Requested 40000. The input or output tokens must be reduced in order to run successfully. "
        "Visit https://platform.openai.com/account/rate-limits to learn more.",
    ),
    (
        400,
        "Invalid 'messages[1].content': string too long. Expected a string with maximum length "
        "1048576, but got a string with length 1200000 instead.",
    ),
    # vLLM
    (
        400,
        "This model's maximum context length is 4096 tokens. However, your request has 5000 input "
        "tokens. Please reduce the length of the input messages.",
    ),
    (
        400,
        "The decoder prompt (length 9000) is longer than the maximum model length of 8192. Make "
        "sure that `max_model_len` is no smaller than the number of text tokens.",
    ),
    # llama.cpp, llama-cpp-python, llamafile
    (
        400,
        "the request exceeds the available context size. try increasing the context size or "
        "enable context shift",
    ),
    (
        400,
        "request (9000 tokens) exceeds the available context size (4096 tokens), try increasing it",
    ),
    (400, "Requested tokens (5000) exceed context window of 4096"),
    (500, "input is too large to process. increase the physical batch size"),
    # sglang
    (400, "The input (5000 tokens) is longer than the model's context length (4096 tokens)."),
    (400, "Requested token count exceeds the model's maximum context length of 4096 tokens."),
    # LM Studio
    (
        400,
        "Trying to keep the first 5000 tokens when context the overflows. However, the model is "
        "loaded with context length of only 4096 tokens, which is not enough. Try to load the "
        "model with a larger context length, or provide a shorter input",
    ),
    (
        400,
        "Reached context length of 4096 tokens with model (arch: qwen2) that does not currently "
        "support mid-generation context overflow. Try reloading with a larger context length or "
        "shortening the prompt/chat.",
    ),
    (
        400,
        "The number of tokens to keep from the initial prompt is greater than the context length. "
        "Try to load the model with a larger context length, or provide a shorter input",
    ),
    # Ollama
    (400, "prompt too long; exceeded max context length by 4 tokens"),
    (400, "the input length exceeds the context length"),
    # TGI
    (422, "Input validation error: `inputs` must have less than 4096 tokens. Given: 5000"),
    (
        422,
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 "
        "`inputs` tokens and 1000 `max_new_tokens`",
    ),
    # Bedrock
    (400, "Input is too long for requested model."),
    (
        400,
        "The model returned the following errors: prompt is too long: 215000 tokens > 200000 "
        "maximum",
    ),
    (
        400,
        "Malformed input request: expected maxLength: 20000, actual: 30000, please reformat your "
        "input and try again.",
    ),
    (400, "Too many input tokens. Max input tokens: 8192, request input token count: 9000"),
    # Gemini, Vertex
    (
        400,
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    ),
    (
        400,
        "Unable to submit request because the input token count is 40000 but model only supports "
        "up to 32768. Reduce the input token count and try again.",
    ),
    # Anthropic
    (400, "prompt is too long: 210000 tokens > 200000 maximum"),
    (
        400,
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease "
        "input length or `max_tokens` and try again",
    ),
    (413, "Request exceeds the maximum size"),
    # Mistral, Cohere, Groq, DeepSeek, xAI, OpenRouter, Fireworks, Moonshot, Cerebras, GitHub
    (
        400,
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum "
        "context length",
    ),
    (
        400,
        "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000. "
        "Try using a shorter prompt, or enable prompt truncating.",
    ),
    (
        413,
        "Request too large for model `llama-3.1-8b-instant` in organization `org_x` service tier "
        "`on_demand` on tokens per minute (TPM): Limit 6000, Requested 8000, please reduce your "
        "message size and try again.",
    ),
    (400, "Please reduce the length of the messages or completion."),
    (400, "This model's maximum prompt length is 131072 but the request contains 537812 tokens."),
    (
        400,
        "This endpoint's maximum context length is 32768 tokens. However, you requested about "
        "40000 tokens (40000 of text input). Please reduce the length of either one, or use the "
        '"middle-out" transform.',
    ),
    (400, "The prompt is too long: 5000, model maximum context length: 4096"),
    (400, "Invalid request: Your request exceeded model token limit: 8192 (requested: 9000)"),
    (
        400,
        "Please reduce the length of the messages or completion. Current length is 9000 while "
        "limit is 8192",
    ),
    (413, "Request body too large for gpt-4o model. Max size: 8000 tokens."),
    # watsonx, DashScope, Zhipu, MiniMax, Databricks, NIM, TabbyAPI, MLX
    (
        400,
        "Invalid input argument for Model 'm': the number of input tokens 8193 cannot exceed the "
        "total tokens limit 8192 for this model",
    ),
    (400, "Range of input length should be [1, 30720]"),
    (400, "Prompt exceeds max length"),
    (400, "invalid params, context window exceeds limit (2013)"),
    (400, "Bad request: prompt token count 9000 exceeds the limit of 8192"),
    (500, "prompt length (5000) exceeds maximum input length (4096)"),
    (400, "Prompt length 5000 is greater than max_seq_len 4096"),
    (400, "Context size has been exceeded."),
    (400, "Your prompt has 10000 tokens but the context window is 8192"),
    (400, "Input sequence length (5000) > max_position_embeddings (4096)"),
    (500, "failed to find free space in the KV cache"),
    (400, "The prompt does not fit into the model's context"),
    (400, "The conversation is too long"),
    (400, "num_ctx is 2048 at most and the history has 9000 tokens"),
    (400, "input_tokens (9000) must be <= 8192"),
    (400, "Insufficient context"),
    (400, "输入长度超过模型的最大长度 (context)"),
]
NO_OVERFLOWS = [
    (400, "max_tokens is too large: 32000. This model supports at most 16384 completion tokens."),
    (400, "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens"),
    (
        429,
        "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29000, Requested "
        "2000. Please try again in 2s.",
    ),
    (
        429,
        "This request would exceed your organization's rate limit of 40,000 input tokens per "
        "minute. Please reduce the prompt length or the maximum tokens requested, or try again "
        "later.",
    ),
    (429, "Too many requests"),
    (
        400,
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
        "'max_completion_tokens' instead.",
    ),
    (400, "messages: at least one message is required"),
    (400, "Invalid value for 'temperature': must be less than 2"),
    (400, "Too many images in the request: at most 5 are allowed"),
    (401, "token too long"),
    (403, "Your quota of tokens is exceeded"),
    (500, "CUDA out of memory. Tried to allocate 2.00 GiB"),
    (404, "The model `x` does not exist"),
    (400, "roles must alternate user/assistant"),
    (503, "The maximum number of concurrent requests is exceeded"),
    (400, "unknown field"),
    (400, "This model is limited to text input"),
    (400, "at most one system message is supported"),
    (400, "This key has exceeded its monthly token limit"),
    (503, "The queue is full: at most 100 inputs are held"),
    (400, "Invalid API key: token has a wrong format"),
]


ASKED = Asked(model="openai/x", where="model openai/x")


def error(status: int, text: str, code: str = "") -> Exception:
    told = said_of({"message": text, "code": code}, {}, status=status)
    return as_model_error(told, ASKED)


@pytest.mark.parametrize(("status", "text"), OVERFLOWS)
def test_a_prompt_that_is_too_long_is_known_in_any_words(status: int, text: str) -> None:
    assert isinstance(error(status, text), PromptTooLong)


@pytest.mark.parametrize(("status", "text"), NO_OVERFLOWS)
def test_other_limits_are_not_taken_for_it(status: int, text: str) -> None:
    assert not isinstance(error(status, text), PromptTooLong)


def test_a_code_says_it_alone() -> None:
    assert isinstance(error(400, "Bad.", "context_length_exceeded"), PromptTooLong)


@pytest.mark.parametrize(
    ("status", "text", "code"),
    [
        (
            429,
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
        ),
        (429, "You exceeded your current quota, please check your plan and billing details.", ""),
        (402, "Insufficient Balance", ""),
        (429, "Insufficient account balance", ""),
        (402, "Payment Required", ""),
        (429, "You have exceeded your monthly included credits. Subscribe to get more.", ""),
        (429, "No.", "exceeded_current_quota_error"),
        (401, "Your balance is insufficient", ""),
        (403, "Key limit exceeded (total limit). Manage it on the settings page", ""),
        (429, "You have run out of credits. Top up your account to go on", ""),
        (
            400,
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & "
            "Billing to upgrade or purchase credits.",
            "",
        ),
        (
            403,
            "Your team has used all available credits or reached its monthly spending limit.",
            "",
        ),
        (402, "This request requires more credits, or fewer max_tokens.", ""),
        (429, "Billing hard limit has been reached", "billing_hard_limit_reached"),
        (429, "余额不足或无可用资源包,请充值", "1113"),
        (403, "This API method requires billing to be enabled: enable billing on project 5.", ""),
        (
            400,
            "Your account is not active, please check your billing details on our website.",
            "billing_not_active",
        ),
    ],
)
def test_quota_that_never_comes_back_by_waiting_is_a_refusal(
    status: int, text: str, code: str
) -> None:
    refused = error(status, text, code)
    assert isinstance(refused, ModelRefused)
    assert not isinstance(refused, PromptTooLong)
    assert "add credit" in str(refused)
    assert "Try again later" not in str(refused)


@pytest.mark.parametrize(
    ("status", "text", "seconds"),
    [
        (429, "Rate limit reached for requests per min (RPM): Limit 3, Used 3. Please try again in "
         "20s. You can increase your rate limit by adding a payment method to your account at "
         "https://platform.openai.com/account/billing.", 20),
        (429, "You exceeded your current quota, please check your plan and billing details. Please "
         "retry in 32.5s.", 32.5),
        (429, "Too many requests", None),
        (403, "Rate limit exceeded, slow down.", None),
        (400, "Throttled: too many requests per minute", None),
        (503, "Loading model", None),
        (529, "Overloaded", None),
        (400, "The response was filtered by our content policy", None),
        (400, "The response was filtered by our content management policy", None),
        (400, "The model is still loading", None),
        (404, "model m is currently being loaded", None),
        (403, "The model is overloaded", None),
        (404, "The model is temporarily unavailable", None),
    ],
)  # fmt: skip
def test_what_ends_by_itself_is_no_refusal(status: int, text: str, seconds: float | None) -> None:
    later = error(status, text)
    assert isinstance(later, EndpointError)
    assert later.retry_after_seconds == seconds


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (401, "Your API key expires at 2099-01-01T00:00:00Z and is not for this project"),
        (401, "Session expired, please try again in 5 minutes"),
        (400, "Failed to load model"),
        (406, "Not acceptable"),
        (407, "Proxy authentication required"),
        (410, "This model has been retired"),
        (415, "Unsupported media type"),
        (451, "Not available in your country"),
        (501, "Not implemented"),
    ],
)
def test_what_no_wait_mends_is_a_refusal(status: int, text: str) -> None:
    assert isinstance(error(status, text), ModelRefused)


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"error": {"message": "slow down", "code": 429}}, 429, "slow down"),
        ({"error": {"message": "slow down", "code": "429"}}, 429, "slow down"),
        ({"error": {"message": "no", "type": "invalid_request_error"}}, 400, "no"),
        ({"error": {"message": "no", "code": "invalid_api_key"}}, 401, "no"),
        ({"error": {"message": "no", "type": "authentication_error"}}, 401, "no"),
        ({"error": {"message": "no", "code": "insufficient_quota"}}, 429, "no"),
        ({"error": {"message": "no", "status": "RESOURCE_EXHAUSTED"}}, 429, "no"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, 529, "busy"),
        ({"error": {"message": "x", "type": "not_found_error"}}, 404, "x"),
        ({"error": {"message": "?"}}, 500, "?"),
        ({"error": "the model is overloaded"}, 529, "the model is overloaded"),
        ({"error": "invalid api key"}, 401, "invalid api key"),
        ({"error": '{"error": {"message": "inner", "code": 503}}'}, 503, "inner"),
        ({"error": True, "message": "bad gateway", "status": 502}, 502, "bad gateway"),
        ({"object": "error", "message": "no such thing", "code": 404}, 404, "no such thing"),
        ({"detail": "Not authenticated", "status_code": 401}, 401, "Not authenticated"),
        ([{"error": {"code": 503, "message": "the service is away"}}], 503, "the service is away"),
        (
            {"error": {"message": "Provider returned error", "code": 502,
                       "metadata": {"raw": "upstream said no"}}},
            502, "Provider returned error: upstream said no",
        ),
        ({"choices": [{"error": {"code": 502, "message": "cut"}}]}, 502, "cut"),
        ({"error_code": 110, "error_msg": "Invalid key"}, 400, "Invalid key"),
        ({"code": 1113, "msg": "no more for today"}, 500, "no more for today"),
        ({"choices": None, "base_resp": {"status_code": 1004, "status_msg": "login fail"}},
         401, "login fail"),
        ({"choices": None, "error": {"message": "null choices", "code": 500}}, 500, "null choices"),
        (
            {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"],
                         "msg": "Extra inputs are not permitted"}]},
            422, "body.stream_options Extra inputs are not permitted extra_forbidden",
        ),
    ],
)  # fmt: skip
def test_an_error_inside_an_answer_is_what_its_status_would_be(
    body: object, status: int, text: str
) -> None:
    found = error_in(body)
    assert found is not None
    said = said_of(found, {})
    assert (said.status, said.text) == (status, text)
    assert said.is_inside


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"choices": []},
        {"choices": [{"message": {}}]},
        {"choices": [], "base_resp": {"status_code": 0, "status_msg": "success"}},
        {"choices": [], "code": 0, "msg": "success"},
        {"choices": [{"message": {}}], "error": {"message": "", "type": "", "code": None}},
        [],
        "x",
        None,
    ],
)
def test_an_answer_without_an_error_has_none(body: object) -> None:
    assert error_in(body) is None


def test_words_that_are_no_json_are_kept() -> None:
    said = said_in(502, {}, b"<html>bad gateway</html>")
    assert (said.status, said.text, said.is_protocol) == (502, "<html>bad gateway</html>", False)


def test_a_right_address_is_not_called_wrong() -> None:
    ours = str(error(404, "The model `x` does not exist"))
    assert "--model" in ours
    assert "--api-base" not in ours
    told = Said(status=404, text="<html>nothing here</html>")
    proxy = as_model_error(told, ASKED)
    assert "--api-base" in str(proxy)


def test_a_cause_is_the_same_whatever_the_words() -> None:
    first, second = error(401, "bad key (request 17)"), error(401, "bad key (request 18)")
    assert isinstance(first, ModelRefused)
    assert isinstance(second, ModelRefused)
    assert first.cause == second.cause == "openai/x 401"
