"""What goes over the wire to a real server: streams, refused parameters, errors, closed sockets."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from nightlab.errors import ModelError, ModelRefused
from nightlab.models.chat_stream import LONGEST_LINE, BrokenOffError, Lines
from nightlab.models.endpoint import Endpoint, Reply
from nightlab.models.endpoint_errors import EndpointError, PromptTooLong
from tests.scripted_endpoint import (
    Answer,
    Drip,
    Events,
    Failure,
    Hang,
    Raw,
    RecordedRequest,
    Scripted,
    ScriptedEndpoint,
    Text,
    chat_completion,
    chunk,
    streamed,
)

pytestmark = pytest.mark.usefixtures("no_keys")

MESSAGES = [{"role": "user", "content": "Hello"}]
LONG = "a longer answer\n" * 100


def endpoint_of(server: ScriptedEndpoint, **more: Any) -> Endpoint:
    given = {"model": "openai/scripted", "timeout_seconds": 20.0, **more}
    return Endpoint(api_base=server.api_base, **given)


def answer_of(*script: Scripted, streams: bool = True, **more: Any) -> Reply:
    with ScriptedEndpoint(list(script), streams=streams) as server:
        return endpoint_of(server, **more).ask(MESSAGES)


def failure_of(*script: Scripted, **more: Any) -> ModelError:
    with ScriptedEndpoint(list(script)) as server, pytest.raises(ModelError) as caught:
        endpoint_of(server, **more).ask(MESSAGES)
    return caught.value


def data(*chunks: object) -> list[str]:
    return [f"data: {json.dumps(each)}\n" for each in chunks]


HEAD, TAIL = chunk("one "), chunk("two", finish_reason="stop")


def whole(content: object, **more: object) -> Raw:
    body = json.loads(chat_completion(Text(content="")))
    body["choices"][0]["message"]["content"] = content
    return Raw(json.dumps({**body, **more}).encode())


def test_an_answer_is_streamed_and_its_usage_and_cost_are_counted() -> None:
    text = Text(content=LONG, prompt_tokens=1_000, completion_tokens=100)
    with ScriptedEndpoint([text]) as server:
        reply = endpoint_of(server, model="openai/gpt-4o").ask(MESSAGES)
    assert (reply.text, reply.finish_reason) == (LONG, "stop")
    assert (reply.prompt_tokens, reply.completion_tokens) == (1_000, 100)
    assert reply.cost_usd == pytest.approx(0.0035)
    (request,) = server.requests
    assert request.body["stream"] is True
    assert request.body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    "answer",
    [
        Events(lines=[*data(HEAD, TAIL), "data: [DONE]\n"]),
        Events(lines=data(HEAD, TAIL)),
        Events(lines=[line.rstrip() for line in data(HEAD, TAIL)]),
        Events(lines=[line.replace("data: ", "data:") for line in data(HEAD, TAIL)]),
        Events(lines=[line.replace("\n", "\r\n\r") for line in data(HEAD, TAIL)]),
        Events(lines=[": OPENROUTER PROCESSING\n", *data(HEAD), ": ping\n", *data(TAIL)]),
        Events(lines=["event: message", *data(HEAD), "id: 7", *data(TAIL)]),
        Events(lines=data(HEAD, TAIL), content_type="application/json"),
        Events(lines=[*map(json.dumps, (HEAD, TAIL))], content_type="application/x-ndjson"),
        Events(lines=[*data(HEAD, TAIL), "data: [DONE]\n"], then_silent_seconds=60),
        Events(lines=[*data(chunk("one "), chunk("two")), "data: [DONE]\n"]),
        Events(lines=data(chunk([{"type": "text", "text": "one "}]), TAIL)),
        Events(
            lines=data(
                chunk([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]),
                chunk(reasoning_content="hm"),
                *(HEAD, TAIL),
            )
        ),
        Events(
            lines=data({"choices": [{"message": {"content": "one two"}, "finish_reason": "stop"}]})
        ),
        # The whole message once more at the end.
        Events(
            lines=data(
                *(HEAD, TAIL),
                {"choices": [{"message": {"content": "one two"}, "finish_reason": "stop"}]},
            )
        ),
        whole("one two"),
        whole([{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]),
        whole([{"type": "reasoning", "text": "hm"}, {"type": "output_text", "text": "one two"}]),
        whole(["one ", "two"]),
        whole({"type": "text", "text": "one two"}),
    ],
)
def test_an_answer_is_read_in_every_form_that_servers_give_it(answer: Answer) -> None:
    began = time.monotonic()
    assert answer_of(answer).text == "one two"
    assert time.monotonic() - began < 40


def test_a_server_that_cannot_stream_answers_at_once() -> None:
    reply = answer_of(Text(content=LONG, prompt_tokens=7), streams=False)
    assert (reply.text, reply.prompt_tokens) == (LONG, 7)


@pytest.mark.parametrize("usage", ["many", {"prompt_tokens": "many"}, {"completion_tokens": 1.5}])
def test_usage_that_is_none_does_not_cost_the_answer(usage: object) -> None:
    for answer in (whole("yes", usage=usage), Events(lines=data({**TAIL, "usage": usage}))):
        reply = answer_of(answer, model="openai/gpt-4o")
        assert reply.text in ("yes", "two")
        assert (reply.prompt_tokens, reply.cost_usd) == (None, None)


@pytest.mark.parametrize(
    "answer",
    [
        Events(lines=data(HEAD)),
        Events(lines=data(chunk("one ", finish_reason="null"))),
        Events(lines=[*data(HEAD), "data: {broken\n", "\n"]),
        Events(lines=[]),
        Events(lines=data(HEAD), then_silent_seconds=0.1),
    ],
)
def test_a_stream_that_breaks_off_is_no_answer(answer: Answer) -> None:
    error = failure_of(answer)
    assert isinstance(error, EndpointError)
    assert error.may_be_billed
    assert "\n" not in str(error)


ERRORS: list[tuple[object, type[ModelError], str]] = [
    ({"error": {"message": "Bad key", "code": "invalid_api_key"}}, ModelRefused, "Bad key"),
    ({"error": {"message": "slow down", "code": 429}}, EndpointError, "slow down"),
    ({"error": "the model crashed"}, EndpointError, "the model crashed"),
    (
        {"error": {"message": "prompt is too long: 9 tokens > 8 maximum", "code": 400}},
        PromptTooLong,
        "too long",
    ),
    ({"error": {"message": "x", "code": "insufficient_quota"}}, ModelRefused, "add credit"),
    ({"object": "error", "message": "nothing here", "code": 404}, ModelRefused, "nothing here"),
    ({"choices": [], "error": {"message": "upstream", "code": 502}}, EndpointError, "upstream"),
    ({"choices": None, "error": "no choices"}, EndpointError, "no choices"),
]


@pytest.mark.parametrize(("body", "kind", "words"), ERRORS)
@pytest.mark.parametrize("form", ["whole", "event", "error event", "after text"])
def test_an_error_inside_a_200_keeps_its_words_and_is_what_its_status_would_be(
    form: str, body: object, kind: type[ModelError], words: str
) -> None:
    text = json.dumps(body)
    answer: Answer = {
        "whole": Raw(text.encode()),
        "event": Events(lines=[f"data: {text}\n"]),
        "error event": Events(lines=["event: error", f"data: {text}\n"]),
        "after text": Events(lines=[*data(HEAD), f"data: {text}\n"]),
    }[form]
    error = failure_of(answer)
    assert isinstance(error, kind)
    assert words in str(error)
    assert "litellm" not in str(error).lower()
    if kind is EndpointError:
        assert isinstance(error, EndpointError)
        assert error.may_be_billed is (form == "after text")


def test_an_answer_that_cannot_be_read_is_told_in_one_line() -> None:
    error = failure_of(whole(5))
    assert isinstance(error, EndpointError)
    assert error.may_be_billed
    assert "cannot be read" in str(error)
    assert "\n" not in str(error)
    assert "Traceback" not in str(error)


def test_words_alone_in_an_error_event_are_kept() -> None:
    assert "it broke" in str(failure_of(Events(lines=["event: error", "data: it broke\n"])))


@pytest.mark.parametrize(
    ("answer", "which"),
    [
        (Hang(60), "within 1 seconds"),
        (Text(content="late", delay_seconds=60), "within 1 seconds"),
        (Drip(content=LONG, seconds_between=0.1), "within 1 seconds"),
        (Events(lines=[": ping\n"] * 600, seconds_between=0.1), "within 1 seconds"),
        (Events(lines=data(*[HEAD] * 600), seconds_between=0.1), "within 1 seconds"),
        (Events(lines=data(HEAD), then_silent_seconds=60), "sent nothing for 0.4 seconds"),
    ],
)
def test_an_answer_that_is_given_up_is_closed_as_its_server_sees(
    answer: Answer, which: str
) -> None:
    began = time.monotonic()
    with ScriptedEndpoint([answer]) as server:
        with pytest.raises(EndpointError, match=which) as caught:
            endpoint_of(server, timeout_seconds=1.0, idle_seconds=0.4).ask(MESSAGES)
        assert server.was_left.wait(10)
    assert time.monotonic() - began < 40
    assert caught.value.may_be_billed
    assert "litellm" not in str(caught.value).lower()


def test_the_wire_is_closed_for_other_protocols_too() -> None:
    with ScriptedEndpoint([Hang(60)]) as server:
        claude = endpoint_of(
            server,
            model="anthropic/claude-sonnet-4-5",
            api_key=SecretStr("x" * 9),
            timeout_seconds=1.0,
        )
        with pytest.raises(EndpointError, match="within 1 seconds"):
            claude.ask(MESSAGES)
        assert server.was_left.wait(10)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_the_wire_is_closed_under_tls_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = str(tmp_path / "own.pem")
    made = ("-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "2")
    names = ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", certificate, "-out", "-")
    public = subprocess.run(
        ["openssl", "req", *made, *names], capture_output=True, check=True, text=True
    ).stdout
    with Path(certificate).open("a") as file:
        file.write(public)
    with ScriptedEndpoint(["yes"], certificate=certificate) as server:
        with pytest.raises(ModelRefused, match=r"not trusted here.* SSL_CERT_FILE"):
            endpoint_of(server).ask(MESSAGES)
        assert not server.requests
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    with ScriptedEndpoint(["yes", Hang(60)], certificate=certificate) as server:
        endpoint = endpoint_of(server)
        assert endpoint.ask(MESSAGES).text == "yes"
        with pytest.raises(EndpointError, match="within 1 seconds"):
            replace(endpoint, timeout_seconds=1.0).ask(MESSAGES)
        assert server.was_left.wait(10)


def test_an_address_without_tls_is_not_waited_for() -> None:
    with ScriptedEndpoint(["yes"]) as server:
        address = server.api_base.replace("http:", "https:")
        with pytest.raises(ModelRefused, match="write http://"):
            replace(endpoint_of(server), api_base=address).ask(MESSAGES)


def refusing(*names: str, words: str = "Unsupported parameter: {}") -> Callable[..., Answer]:
    """A server that refuses parameters, one at a time."""

    def answer(request: RecordedRequest) -> Answer:
        for name in names:
            if name in request.body:
                return Failure(400, words.format(name))
        return Text(content="yes")

    return answer


@pytest.mark.parametrize(
    ("names", "tries"),
    [
        (("max_tokens",), 2),
        (("max_tokens", "max_completion_tokens"), 3),
        (("stream_options",), 2),
        (("stream",), 2),
        (("reasoning_effort",), 2),
        (("stream_options", "max_tokens", "reasoning_effort"), 4),
        (("max_tokens", "max_completion_tokens", "stream", "reasoning_effort"), 5),
    ],
)
def test_what_a_server_takes_is_found_out_once(names: tuple[str, ...], tries: int) -> None:
    with ScriptedEndpoint([refusing(*names)] * 20) as server:
        endpoint = endpoint_of(server, reasoning_effort="low")
        assert endpoint.ask(MESSAGES, 1_000).text == "yes"
        assert len(server.requests) == tries
        assert endpoint.ask(MESSAGES, 1_000).text == "yes"
    assert len(server.requests) == tries + 1
    assert not set(names) & server.requests[-1].body.keys()


def test_a_limit_on_the_answer_is_lowered_until_it_is_taken() -> None:
    def answer(request: RecordedRequest) -> Answer:
        wanted = request.body["max_tokens"]
        if wanted > 4_096:
            return Failure(400, f"max_tokens is too large: {wanted}. This model supports 4096.")
        return Text(content="yes")

    with ScriptedEndpoint([answer] * 9) as server:
        endpoint = endpoint_of(server)
        endpoint.ask(MESSAGES, 16_000)
        endpoint.ask(MESSAGES, 16_000)
    assert [request.body["max_tokens"] for request in server.requests] == [
        *(16_000, 8_000, 4_000),
        4_000,
    ]


def test_the_reader_cuts_an_answer_that_no_server_limits(notices: list[str]) -> None:
    endless = Events(lines=data(*[chunk("word " * 20)] * 1_000), seconds_between=0.01)

    def answer(request: RecordedRequest) -> Answer:
        refused = refusing("max_tokens", "max_completion_tokens")(request)
        return refused if isinstance(refused, Failure) else endless

    with ScriptedEndpoint([answer] * 3) as server:
        reply = endpoint_of(server).ask(MESSAGES, 100)
        assert server.was_left.wait(10)
    assert reply.finish_reason == "length"
    assert 300 <= len(reply.text) < 1_000
    assert any("no limit on its answer" in text for text in notices)


def test_the_effort_of_thinking_is_passed_on_and_a_refusal_of_it_said_once(
    notices: list[str],
) -> None:
    with ScriptedEndpoint(["yes", *[refusing("reasoning_effort")] * 4]) as server:
        endpoint = endpoint_of(server, reasoning_effort="high")
        for _ in range(3):
            endpoint.ask(MESSAGES)
    efforts = [request.body.get("reasoning_effort") for request in server.requests]
    assert efforts == ["high", "high", None, None]
    (said,) = notices
    assert "takes no --reasoning-effort" in said


def test_an_effort_that_a_provider_cannot_be_told_is_said_once(notices: list[str]) -> None:
    with ScriptedEndpoint([Failure(500)] * 2) as server:
        claude = endpoint_of(
            server,
            model="anthropic/claude-3-haiku-20240307",
            api_key=SecretStr("x" * 9),
            reasoning_effort="high",
        )
        for _ in range(2):
            with pytest.raises(EndpointError):
                claude.ask(MESSAGES)
    (said,) = notices
    assert "takes no --reasoning-effort high" in said
    assert not any("effort" in key for key in server.requests[0].body)


def test_no_effort_is_sent_where_none_is_set() -> None:
    with ScriptedEndpoint(["yes"]) as server:
        endpoint_of(server).ask(MESSAGES)
    assert "reasoning_effort" not in server.requests[0].body


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422, 429, 500, 503])
def test_what_is_refused_for_good_is_asked_once(status: int) -> None:
    with ScriptedEndpoint([Failure(status, "no")] * 5) as server, pytest.raises(ModelError):
        endpoint_of(server).ask(MESSAGES)
    assert len(server.requests) == 1


def test_proxies_are_no_way_to_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert answer_of("yes").text == "yes"


def test_what_breaks_a_connection_is_said() -> None:
    endpoint = Endpoint(model="openai/x", api_base="http://127.0.0.1:9/v1", timeout_seconds=5)
    with pytest.raises(EndpointError, match="Connection refused") as caught:
        endpoint.ask(MESSAGES)
    assert not caught.value.may_be_billed
    assert caught.value.cause == "openai/x away"


@pytest.mark.parametrize("end", ["\r", "\n", "\x00"])
def test_a_key_with_characters_that_none_may_have_is_not_shown(end: str) -> None:
    error = failure_of("yes", api_key=SecretStr(f"sk-canary-0123456789{end}"))
    assert "canary" not in str(error)
    assert error.__cause__ is None


def test_streamed_lines_are_what_the_answer_was() -> None:
    lines = streamed(Text(content="x" * 450))
    assert sum("xxx" in line for line in lines) == 3
    assert lines[-1].startswith("data: [DONE]")


def test_a_line_without_an_end_is_not_kept_for_ever() -> None:
    lines = Lines()
    list(lines.feed(b"x" * LONGEST_LINE))
    with pytest.raises(BrokenOffError, match="a line of more than"):
        list(lines.feed(b"x"))
