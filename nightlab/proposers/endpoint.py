"""One call of a language model through litellm, bounded in time, with errors for people.

What litellm 1.106 does with the failures of an endpoint is measured in the tests. Three
things about it shape this module: a closed port, a broken connection and a missing key all
come as a made-up status 500 without headers; its time-out bounds each read and not the
whole, so that an answer that drips in never ends; and its own retries hide the cause, so
they are off: the caller retries.
"""

import contextvars
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from nightlab.errors import ModelError, ModelRefused
from nightlab.proposers.endpoint_errors import (
    EndpointError,
    PromptTooLong,
    headers_of,
    remedy,
    retry_after_seconds,
    said_by,
    unreadable_part,
    was_sent,
)
from nightlab.proposers.spending import MILLION, UNKNOWN_PRICE, Price
from nightlab.redaction import Redaction

Result = TypeVar("Result")

PLACEHOLDER_KEY = "no-key-needed"
"""Sent to an endpoint of one's own where no key is set: clients insist on some key."""
GRACE_SECONDS = 1.0
"""What litellm's own time-out is given, since it closes the connection and ours cannot."""
LONGEST_ANSWER_TOKENS = 131_072
"""No model writes more in one answer, so a limit above it is none."""
USUAL_LONGEST_ANSWER_TOKENS = 32_000
"""The most that is asked for where a model's own limit is not known: many refuse to be asked for
more than they can."""
CHARACTERS_PER_TOKEN = 3.0
"""Of a prompt whose model litellm does not know; source code has more tokens than prose."""
MOST_TOKENS = 10_000_000
"""No call has more: an endpoint that reports more has not counted."""
FREE_PROVIDERS = ("ollama/", "ollama_chat/", "lemonade/", "llamafile/", "lm_studio/")
"""Where a price of nothing is one. Elsewhere litellm's list has 0 for prices that it lacks: of new
models of known families, and of those that are priced in steps."""
EXPLICIT_CACHE_PROVIDERS = ("anthropic/", "claude")
# For good: another try with the same settings meets the same refusal.
REFUSALS = frozenset({400, 401, 403, 404, 405, 413, 422})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a model answered."""

    text: str
    finish_reason: str
    """``stop``; ``length`` where the answer was cut off; or the provider's word."""
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_usd: float | None
    """None where litellm knows no price for the model."""
    seconds: float
    model: str
    """Which one it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A model, where it is reached, and how long an answer may take.

    ``api_key`` None leaves the key to litellm, which reads the provider's own variable
    from the environment.
    """

    model: str
    api_base: str | None = None
    api_key: str | None = field(default=None, repr=False)
    timeout_seconds: float = 90.0

    @property
    def redaction(self) -> Redaction:
        """Takes this endpoint's key, and the environment's, out of texts."""
        return Redaction.of(self.api_key, os.environ)

    @property
    def where(self) -> str:
        """The endpoint's name in sentences."""
        place = f" at {self.redaction(self.api_base)}" if self.api_base else ""
        return f"model {self.model}{place}"

    def price(self) -> Price:
        """What a token costs, by the list that came with litellm."""
        litellm = import_litellm()
        try:
            dollars = litellm.cost_per_token(
                model=self.model, prompt_tokens=MILLION, completion_tokens=MILLION
            )
        except (litellm.exceptions.ModelNotMappedError, litellm.exceptions.BadRequestError):
            return UNKNOWN_PRICE
        prompt, completion = (float(amount) / MILLION for amount in dollars)
        if not (prompt or completion or self._is_free):
            return UNKNOWN_PRICE
        return Price(prompt=prompt, completion=completion)

    def count_tokens(self, messages: Sequence[dict[str, str]]) -> int:
        """Tokens of a chat: as litellm counts for OpenAI's models; for others not below a guess.

        It has the tokenizer of the former only, and those of other makers may give more tokens.
        """
        litellm = import_litellm()
        characters = sum(len(message["content"]) for message in messages)
        guess = math.ceil(characters / CHARACTERS_PER_TOKEN)
        # Not get_model_info, which asks a server where a provider has one.
        names = {self.model, self.model.partition("/")[2]} & litellm.model_cost.keys()
        if not names:
            return guess
        count = int(litellm.token_counter(model=self.model, messages=list(messages)))
        makers = {litellm.model_cost[name].get("litellm_provider") for name in names}
        return count if makers <= {"openai", "azure"} else max(count, guess)

    @property
    def _is_free(self) -> bool:
        return self.model.startswith(FREE_PROVIDERS)

    def ask(self, messages: Sequence[dict[str, str]], answer_tokens: int | None = None) -> Reply:
        """Send a chat and wait for the answer, at most ``timeout_seconds`` (plus a second).

        An answer that comes later is not waited for, though it may still be billed.

        Args:
            messages: of the chat.
            answer_tokens: the longest answer that is paid for; None for the model's own.

        Raises:
            ModelRefused: no other try can help: wrong key, unknown model, bad request.
            EndpointError: anything else that kept the endpoint from answering.
        """
        litellm = import_litellm()
        import openai  # litellm's exceptions are its children.

        began = time.monotonic()
        try:
            response = _within(
                self.timeout_seconds + GRACE_SECONDS,
                lambda: litellm.completion(
                    model=self.model,
                    messages=list(messages),
                    api_base=self.api_base,
                    api_key=self._key(litellm),
                    timeout=self.timeout_seconds,
                    max_retries=0,
                    drop_params=True,
                    **_extras(self.model, answer_tokens, litellm),
                ),
            )
        # Without their cause: litellm's exceptions carry requests, whose headers carry keys.
        except (TimeoutError, openai.APITimeoutError):
            raise EndpointError(
                f"The {self.where} must answer within {self.timeout_seconds:g} seconds and had not "
                "finished by then: raise the setting model_timeout_seconds, or use a faster model.",
                may_be_billed=True,
            ) from None
        except openai.OpenAIError as error:
            raise self._explain(error, litellm) from None
        return self._read(response, time.monotonic() - began, litellm)

    def _key(self, litellm: Any) -> str | None:
        if self.api_key is None and self.api_base and self._missing_keys(litellm):
            return PLACEHOLDER_KEY
        return self.api_key

    def _missing_keys(self, litellm: Any) -> list[str]:
        """Names of the variables that hold the provider's key, where none of them is set."""
        missing = litellm.validate_environment(self.model)["missing_keys"]
        return [name for name in missing if name.endswith("_API_KEY")]

    def _explain(self, error: Exception, litellm: Any) -> ModelError:
        """Turn an exception of litellm into one of ours, with a sentence for people."""
        status = getattr(error, "status_code", None)
        headers = headers_of(error)
        said = said_by(error, self.redaction)
        missing = self._missing_keys(litellm)
        if not headers and missing and self.api_key is None and not self.api_base:
            return ModelRefused(
                f"The {self.where} needs a key and none is set: export {' or '.join(missing)}, or "
                "name a Prefect Secret block with the setting api_key_secret."
            )
        if isinstance(error, litellm.exceptions.ContextWindowExceededError):
            return PromptTooLong(
                f"The {self.where} must take the whole prompt and finds it too long ({said}): "
                "name a model with a longer context with --model, or shorten program.md."
            )
        filtered = isinstance(error, litellm.exceptions.ContentPolicyViolationError)
        if status in REFUSALS and not filtered:
            return ModelRefused(
                f"The {self.where} must accept the request and refused it for good (status "
                f"{status}: {said}): {remedy(status)}"
            )
        unreadable = unreadable_part(error, self.redaction)
        if unreadable is not None:
            return EndpointError(
                f"The {self.where} must send a chat completion and sent one that cannot be read "
                f"({unreadable}): check that --api-base names an endpoint of the OpenAI chat "
                "protocol.",
                may_be_billed=True,
            )
        wait = retry_after_seconds(headers)
        # A status without headers is litellm's own invention: no server has spoken.
        found = f"answered status {status}: {said}" if headers else f"failed: {said}"
        later = "" if wait is None else f", in no less than {wait:g} seconds, as it asks"
        return EndpointError(
            f"The {self.where} must answer and {found}. Try again later{later}; `nightlab doctor` "
            "tries the endpoint.",
            retry_after_seconds=wait,
            may_be_billed=was_sent(error),
        )

    def _read(self, response: Any, seconds: float, litellm: Any) -> Reply:
        choices = getattr(response, "choices", None) or [None]
        message = getattr(choices[0], "message", None)
        if message is None:
            raise EndpointError(
                f"The {self.where} must send a chat completion and sent one without a message: "
                "check that --api-base names an endpoint of the OpenAI chat protocol.",
                may_be_billed=True,
            )
        usage = getattr(response, "usage", None)
        prompt_tokens = _count(getattr(usage, "prompt_tokens", None))
        # No prompt has 0 tokens: the server counted nothing.
        counted = prompt_tokens not in (None, 0)
        completion_tokens = _count(getattr(usage, "completion_tokens", None))
        return Reply(
            text=self.redaction(message.content if isinstance(message.content, str) else ""),
            finish_reason=str(choices[0].finish_reason or "unknown"),
            prompt_tokens=prompt_tokens if counted else None,
            completion_tokens=completion_tokens if counted else None,
            cost_usd=self._cost(response, litellm) if counted else None,
            seconds=seconds,
            model=self.model,
        )

    def _cost(self, response: Any, litellm: Any) -> float | None:
        try:
            cost = litellm.completion_cost(completion_response=response, model=self.model)
        except (litellm.exceptions.ModelNotMappedError, litellm.exceptions.BadRequestError):
            return None
        if cost == 0 and not self._is_free:
            return None
        return float(cost) if math.isfinite(cost) and cost >= 0 else None


def _extras(model: str, answer_tokens: int | None, litellm: Any) -> dict[str, Any]:
    """Parameters that not every call has."""
    extras: dict[str, Any] = {}
    if answer_tokens is not None and answer_tokens < LONGEST_ANSWER_TOKENS:
        extras["max_tokens"] = max(1, min(answer_tokens, _longest_answer(model, litellm)))
    if model.startswith(EXPLICIT_CACHE_PROVIDERS):
        # These cache a prompt's beginning only where it is marked; the others by themselves.
        extras["cache_control_injection_points"] = [{"location": "message", "role": "system"}]
    return extras


def _longest_answer(model: str, litellm: Any) -> int:
    """Tokens of the longest answer that a model writes, where litellm's list says."""
    try:
        listed = litellm.get_model_info(model).get("max_output_tokens")
    except (litellm.exceptions.ModelNotMappedError, litellm.exceptions.BadRequestError):
        listed = None
    return listed if isinstance(listed, int) and listed > 0 else USUAL_LONGEST_ANSWER_TOKENS


def import_litellm() -> Any:
    """Import litellm, which takes seconds, with what must be set before.

    The price list and the tokenizers are those that came with the package, so that nothing is
    fetched. A file ``.env`` is not read: keys come from the environment as it is.
    """
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    import litellm

    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.disable_hf_tokenizer_download = True
    return litellm


def _within(seconds: float, call: Callable[[], Result]) -> Result:
    """Return the call's result, or leave it to a daemon thread once the time is over.

    Raises:
        TimeoutError: the call had not returned by then.
    """
    future: Future[Result] = Future()
    # MLflow finds the trace that the call belongs to in the context.
    context = contextvars.copy_context()

    def work() -> None:
        try:
            future.set_result(context.run(call))
        except BaseException as error:  # noqa: BLE001 - raised again in the waiting thread
            future.set_exception(error)

    threading.Thread(target=work, name="model-call", daemon=True).start()
    return future.result(timeout=seconds)


def _count(value: Any) -> int | None:
    """A number of tokens, where it can be one."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= MOST_TOKENS else None
