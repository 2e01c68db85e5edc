"""One call of a language model through litellm, bounded in time, with errors for people.

What goes over the wire, and within what time, is ``nightlab/models/wire.py``'s. litellm knows
the providers, their addresses, keys and prices. Its own retries hide the cause of a failure, so
they are off: the caller retries.
"""

import contextvars
import functools
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import SecretStr

from nightlab import events
from nightlab.models.endpoint_errors import (
    Asked,
    EndpointError,
    as_model_error,
    no_completion,
    without_words,
)
from nightlab.models.keys import addresses_in_force, key_variables
from nightlab.models.providers import (
    LONGEST_ANSWER_TOKENS,
    cost_of,
    count_tokens,
    import_litellm,
    longest_answer,
    missing_keys,
    price_of,
    speaks_chat,
    takes_effort,
)
from nightlab.models.spending import Price
from nightlab.models.terms import ANSWER_LIMITS, Terms
from nightlab.redaction import learn, redact
from nightlab.settings import VARIABLE_PREFIX

Result = TypeVar("Result")

PLACEHOLDER_KEY = "no-key-needed"
"""Sent to an address that no key is named for: clients insist on one, or take the provider's."""
GRACE_SECONDS = 30.0
"""What litellm may take besides, before the request and after it; what does not go over the wire is
left alone after it."""
IDLE_SECONDS = 120.0
"""Longest silence in the middle of an answer; before it begins, models may think for as long as the
whole answer may take."""
MOST_TOKENS = 10_000_000
"""No call has more: an endpoint that reports more has not counted."""
EXPLICIT_CACHE_PROVIDERS = ("anthropic/", "claude")


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
    from the environment, where the endpoint is the provider's own. An ``api_base`` gets no
    key that was not given for it.
    """

    model: str
    api_base: str | None = None
    api_key: SecretStr | None = field(default=None, repr=False)
    timeout_seconds: float = 600.0
    """For a whole answer."""
    idle_seconds: float = IDLE_SECONDS
    """Longest silence once an answer has begun."""
    reasoning_effort: str | None = None
    """How long the model is to think; None leaves it to the provider."""
    terms: Terms = field(default_factory=Terms, repr=False, compare=False)
    """What its server takes, learnt while it is asked."""

    def __post_init__(self) -> None:
        """Keep the key out of all texts from now on."""
        if self.api_key is not None:
            learn(self.api_key.get_secret_value())

    @property
    def where(self) -> str:
        """The endpoint's name in sentences, with its address where that is not its provider's."""
        places = [self.api_base] if self.api_base else []
        if not places:
            found = addresses_in_force(self.model, os.environ)
            places = [f"{address} ({name})" for name, address in found.items()]
        place = f" at {redact(' or '.join(places))}" if places else ""
        return f"model {self.model}{place}"

    def price(self) -> Price:
        """What a token costs, by the list that came with litellm."""
        return price_of(self.model)

    def count_tokens(self, messages: Sequence[dict[str, str]]) -> int:
        """Tokens of a chat, not below what they can be."""
        return count_tokens(self.model, messages)

    def ask(self, messages: Sequence[dict[str, str]], answer_tokens: int | None = None) -> Reply:
        """Send a chat and wait for the answer, at most ``timeout_seconds``.

        The connection of an answer that is not waited for is closed, which most servers take as a
        sign to stop; it may still be billed.

        Args:
            messages: of the chat.
            answer_tokens: the longest answer that is paid for; None for the model's own.

        Raises:
            ModelRefused: no other try can help: wrong key, unknown model, bad request, no money.
            PromptTooLong: the model's context does not hold the prompt.
            EndpointError: anything else that kept the endpoint from answering.
        """
        litellm = import_litellm()
        import openai  # litellm's exceptions are its children.

        from nightlab.models import wire

        call = wire.Call(
            terms=self.terms,
            total_seconds=self.timeout_seconds,
            idle_seconds=min(self.idle_seconds, self.timeout_seconds),
            answer_tokens=answer_tokens,
            say_dropped=functools.partial(self._say_dropped, is_capped=answer_tokens is not None),
        )
        began = time.monotonic()
        try:
            with wire.calling(call):
                response = _within(
                    self.timeout_seconds + GRACE_SECONDS,
                    lambda: litellm.completion(
                        model=self.model,
                        messages=list(messages),
                        api_base=self.api_base,
                        api_key=self._key(),
                        timeout=self.timeout_seconds + GRACE_SECONDS,
                        max_retries=0,
                        drop_params=True,
                        **self._extras(answer_tokens),
                    ),
                )
        # Without their cause: litellm's exceptions carry requests, whose headers carry keys.
        except (TimeoutError, openai.OpenAIError) as error:
            if call.said is not None:
                raise as_model_error(call.said, self._asked()) from None
            if call.overdue is not None or isinstance(error, TimeoutError | openai.APITimeoutError):
                raise self._late(call.overdue) from None
            raise without_words(error, call.broken, self._asked()) from None
        return self._read(response, time.monotonic() - began)

    def _late(self, which: str | None) -> EndpointError:
        """The error of an answer that was not waited for any longer."""
        if which == "idle":
            silence = min(self.idle_seconds, self.timeout_seconds)
            problem = (
                f"must go on with an answer that it has begun and sent nothing for {silence:g} "
                "seconds: the connection was closed. Try again later, or use another model."
            )
        else:
            problem = (
                f"must answer within {self.timeout_seconds:g} seconds and had not finished by "
                "then: raise the setting model_timeout_seconds, lower --reasoning-effort, or use a "
                "faster model."
            )
        return self._asked().failed(problem, "late", may_be_billed=True)

    def _say_dropped(self, name: str, *, is_capped: bool) -> None:
        """Say what a person asked for and the endpoint does not take."""
        if name not in self.terms.dropped or name in self.terms.renamed:
            return
        if name == "reasoning_effort":
            text = f"takes no --reasoning-effort {self.reasoning_effort}: it is asked without."
        elif name in ANSWER_LIMITS and is_capped:
            text = "takes no limit on its answer: one that is longer than is paid for is cut off."
        else:
            return
        events.publish(events.Notice(text=f"The {self.where} {text}"))

    def _extras(self, answer_tokens: int | None) -> dict[str, Any]:
        """Parameters that not every call has."""
        extras: dict[str, Any] = {}
        if self.reasoning_effort is not None and "reasoning_effort" not in self.terms.dropped:
            extras["reasoning_effort"] = self.reasoning_effort
            if not takes_effort(self.model):
                # litellm would leave it out without a word. A server of the chat protocol can be
                # asked whether it takes it.
                if speaks_chat(self.model):
                    extras["allowed_openai_params"] = ["reasoning_effort"]
                else:
                    self.terms.dropped.add("reasoning_effort")
                    self._say_dropped("reasoning_effort", is_capped=False)
        if answer_tokens is not None and answer_tokens < LONGEST_ANSWER_TOKENS:
            extras["max_tokens"] = max(1, min(answer_tokens, longest_answer(self.model)))
        if self.model.startswith(EXPLICIT_CACHE_PROVIDERS):
            # These cache a prompt's beginning only where it is marked; the others by themselves.
            extras["cache_control_injection_points"] = [{"location": "message", "role": "system"}]
        return extras

    def _key(self) -> str | None:
        if self.api_key is not None:
            return self.api_key.get_secret_value()
        return PLACEHOLDER_KEY if self.api_base else None

    def _asked(self) -> Asked:
        no_key = ""
        missing: list[str] = []
        if self.api_key is None and self.api_base:
            names = key_variables(self.model, os.environ) or ["VARIABLE"]
            no_key = (
                "no key was sent, since none is named for this address; name one with "
                f"--api-key-secret {VARIABLE_PREFIX}{names[0]}={self.api_base}, or a Prefect "
                "Secret block in its place."
            )
        elif self.api_key is None:
            missing = missing_keys(self.model)
        return Asked(model=self.model, where=self.where, missing_keys=tuple(missing), no_key=no_key)

    def _read(self, response: Any, seconds: float) -> Reply:
        choices = getattr(response, "choices", None) or [None]
        message = getattr(choices[0], "message", None)
        if message is None:
            raise no_completion(self._asked(), "one without a message")
        usage = getattr(response, "usage", None)
        prompt_tokens = _count(getattr(usage, "prompt_tokens", None))
        # No prompt has 0 tokens: the server counted nothing.
        counted = prompt_tokens not in (None, 0)
        completion_tokens = _count(getattr(usage, "completion_tokens", None))
        return Reply(
            text=redact(message.content if isinstance(message.content, str) else ""),
            finish_reason=_finish_reason(choices[0]),
            prompt_tokens=prompt_tokens if counted else None,
            completion_tokens=completion_tokens if counted else None,
            cost_usd=cost_of(response, self.model) if counted else None,
            seconds=seconds,
            model=self.model,
        )


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


def _finish_reason(choice: Any) -> str:
    """The server's own word, where litellm put another in its place: ``stop`` for what it lacks."""
    beside = getattr(choice, "provider_specific_fields", None) or {}
    return str(beside.get("native_finish_reason") or choice.finish_reason or "unknown")


def _count(value: Any) -> int | None:
    """A number of tokens, where it can be one."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= MOST_TOKENS else None
