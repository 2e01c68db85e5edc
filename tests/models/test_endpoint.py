"""Every way in which an endpoint can fail or refuse, and that no key gets out."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import SecretStr

from nightlab.errors import ModelError, ModelRefused
from nightlab.models.endpoint import Endpoint
from nightlab.proposers import EndpointError, try_model
from nightlab.records import utc_now
from tests.proposers.asking import GOOD, asks, propose
from tests.proposers.trainer_sample import sample_brief
from tests.samples import sample_record
from tests.scripted_endpoint import (
    Answer,
    Disconnect,
    Drip,
    Failure,
    Hang,
    Raw,
    ScriptedEndpoint,
    Text,
)

pytestmark = pytest.mark.usefixtures("no_keys")

CANARY = "sk-canary-0123456789"


def failure_of(answer: Answer, timeout_seconds: float = 20.0) -> tuple[ModelError, int]:
    """The error that one answer leads to, and how many requests were made."""
    with ScriptedEndpoint([answer]) as endpoint:
        with pytest.raises(ModelError) as caught:
            propose(endpoint, timeout_seconds=timeout_seconds)
        return caught.value, len(endpoint.requests)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Failure(429, "slow down"), ["answered status 429: slow down", "nightlab doctor"]),
        (Failure(500, "boom"), ["answered status 500: boom"]),
        (Failure(503), ["answered status 503"]),
        (Failure(529, "overloaded"), ["answered status 529: overloaded"]),
        (Raw(b"{not json"), ["failed: "]),
        (Raw(b"<html>a proxy</html>", content_type="text/html"), ["failed: ", "a proxy"]),
        (Raw(b"{}"), ["failed: "]),
        (Raw(b'{"choices": []}'), ["without a message", "--api-base"]),
        (Raw(b'{"choices": [{"message": {"content": "\xff\xfe"}}]}'), ["failed: "]),
        (Disconnect(), ["failed: Connection error"]),
    ],
)
def test_failures_that_another_try_may_mend_are_model_errors(
    answer: Answer, words: list[str]
) -> None:
    error, requests = failure_of(answer)
    assert isinstance(error, EndpointError)
    assert not isinstance(error, ModelRefused)
    assert error.retry_after_seconds is None
    assert requests == 1
    for word in ["model openai/scripted at http://127.0.0.1", *words]:
        assert word in str(error)
    assert "\n" not in str(error)
    assert "litellm" not in str(error).lower()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Failure(400, "unknown field"), "unknown field"),
        (Failure(401, "bad key"), "no key was sent"),
        (Failure(403), "no key was sent"),
        (Failure(404, "The model `scripted` does not exist"), "check the names in --model"),
    ],
)
def test_refusals_for_good_are_told_apart(answer: Answer, words: str) -> None:
    error, requests = failure_of(answer)
    assert isinstance(error, ModelRefused)
    assert requests == 1
    assert words in str(error)


def test_retry_after_is_carried_as_seconds() -> None:
    in_seconds, _ = failure_of(Failure(429, retry_after="7"))
    in_an_hour = format_datetime(utc_now() + timedelta(hours=1), usegmt=True)
    as_date, _ = failure_of(Failure(503, retry_after=in_an_hour))
    senseless, _ = failure_of(Failure(503, retry_after="soon"))
    assert isinstance(in_seconds, EndpointError)
    assert isinstance(as_date, EndpointError)
    assert isinstance(senseless, EndpointError)
    assert in_seconds.retry_after_seconds == 7
    assert "in no less than 7 seconds" in str(in_seconds)
    assert as_date.retry_after_seconds is not None
    assert 3_000 < as_date.retry_after_seconds <= 3_600
    assert senseless.retry_after_seconds is None


@pytest.mark.parametrize(
    "answer",
    [Hang(60), Drip(content=GOOD, seconds_between=0.2), Text(content=GOOD, delay_seconds=60)],
)
def test_the_whole_answer_is_bounded_in_time(answer: Answer) -> None:
    """Drip sends a byte every 0.2 s for minutes: no single read is ever slow."""
    began = time.monotonic()
    error, requests = failure_of(answer, timeout_seconds=1.0)
    assert time.monotonic() - began < 30
    assert isinstance(error, EndpointError)
    assert "within 1 seconds" in str(error)
    assert "model_timeout_seconds" in str(error)
    assert requests == 1


def test_a_closed_port_is_a_model_error() -> None:
    with ScriptedEndpoint([]) as endpoint:
        api_base = endpoint.api_base
    with pytest.raises(EndpointError, match="failed: Connection error"):
        asks("openai/scripted", api_base, timeout_seconds=5).propose(sample_brief())


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("openai/gpt-4o", "export OPENAI_API_KEY"),
        ("anthropic/claude-sonnet-4-5", "export ANTHROPIC_API_KEY"),
        ("nobody/knows", "with its provider in front"),
    ],
)
def test_a_missing_key_or_provider_is_refused_without_a_call(model: str, words: str) -> None:
    with pytest.raises(ModelRefused, match=words):
        asks(model, timeout_seconds=5).propose(sample_brief())


def test_keys_stay_out_of_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_OTHER_API_KEY", "other-" + CANARY[::-1])
    leaky = GOOD.replace("Depth helps.", f"The key is {CANARY}.")
    record = sample_record(1).model_copy(update={"title": f"other-{CANARY[::-1]}"})
    with ScriptedEndpoint([leaky, Failure(401, f"bad key {CANARY}")]) as endpoint:
        proposer = asks("openai/scripted", endpoint.api_base, CANARY, 20)
        brief = sample_brief(records=(record,), program=f"My key is {CANARY}, keep it.")
        proposal = proposer.propose(brief)
        with pytest.raises(ModelRefused) as caught:
            proposer.propose(brief)
    assert endpoint.requests[0].headers["authorization"] == f"Bearer {CANARY}"
    seen = [json.dumps(dict(request.body)) for request in endpoint.requests]
    seen += [proposal.model_dump_json(), str(caught.value), repr(proposer), repr(vars(proposer))]
    for text in seen:
        assert CANARY not in text
        assert CANARY[::-1] not in text
    assert "[redacted]" in proposal.hypothesis
    assert caught.value.__cause__ is None


def test_a_refused_key_is_to_be_set_right() -> None:
    with ScriptedEndpoint([Failure(401)]) as endpoint, pytest.raises(ModelRefused) as caught:
        propose(endpoint, api_key=CANARY)
    assert "set the right key" in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "model", ["openai/x", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.0-flash", "azure/x"]
)
def test_an_endpoint_sends_no_key_and_no_prompt_elsewhere(model: str, status: int) -> None:
    with ScriptedEndpoint([GOOD]) as elsewhere:
        with redirecting(status, f"{elsewhere.api_base}/chat/completions") as address:
            endpoint = Endpoint(model=model, api_base=address, api_key=SecretStr(CANARY))
            with pytest.raises(ModelError) as caught:
                endpoint.ask([{"role": "user", "content": "x"}])
        assert elsewhere.requests == []
    if model == "openai/x":
        assert isinstance(caught.value, ModelRefused)
        assert "give the final address" in str(caught.value)


@contextmanager
def redirecting(status: int, target: str) -> Iterator[str]:
    """A server that sends everybody on to another one; its base address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Location", target)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def test_try_model_says_what_was_answered() -> None:
    with ScriptedEndpoint(["ready", Text(content=None)]) as endpoint:
        assert try_model("openai/scripted", endpoint.api_base, timeout_seconds=20) == "ready"
        assert try_model("openai/scripted", endpoint.api_base) == "nothing (finish reason stop)"
