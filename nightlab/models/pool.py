"""Several language models as one: which is asked, which stands in, when none may be.

Where one fails, the next stands in at once, and a model that asked to be left alone (Retry-After)
is left alone for that long. Caps are checked before every call.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from nightlab import events
from nightlab.errors import BudgetReached, ModelError, ModelRefused, UsageError
from nightlab.models.endpoint import Endpoint, Reply
from nightlab.models.endpoint_errors import EndpointError, NoModelAnswers, PromptTooLong
from nightlab.models.spending import Price, Spending
from nightlab.records.durations import in_words

LONGEST_WAIT_SECONDS = 60.0
"""Within a call; who asks for a longer pause is waited for by the session."""

MOST_CHARACTERS_PER_TOKEN = 12
"""No tokenizer gets along with fewer tokens for program text: an endpoint that counted fewer has
not read all of it."""
LEAST_CHARACTERS = 4_000
"""Shorter prompts say nothing about that."""

_WITH_ADDRESS = re.compile(r"(?>(?P<name>[^@]\S*?)@(?=https?://\S))(?P<address>\S+)")


def read_models(text: str, api_base: str | None) -> tuple[tuple[str, str | None], ...]:
    """Read ``NAME,NAME@ADDRESS,…``: names and addresses, ``api_base`` for those that name none.

    Raises:
        UsageError: a name is empty, or stands there twice.
    """
    found: dict[str, str | None] = {}
    for part in (part.strip() for part in text.split(",")):
        match = _WITH_ADDRESS.fullmatch(part)
        name, address = (match["name"], match["address"]) if match else (part, api_base)
        if not name or "://" in name or name in found:
            what = f"names {name!r} twice" if name in found else f"has {part!r}, which names none"
            raise UsageError(
                f"--model takes one name or several with commas between, and {text!r} {what}: "
                "write it as openai/NAME,anthropic/NAME or NAME@http://ADDRESS."
            )
        found[name] = address
    return tuple(found.items())


@dataclass(slots=True)
class _Standing:
    """What a model's last answers mean for the next call."""

    not_before: float = 0.0
    """On the monotonic clock."""
    has_refused: bool = False
    """Whether its last word was a refusal: then the others go first."""
    failure: str = ""
    """Of which kind its last one was, which was said; empty once it has answered."""


@dataclass(slots=True)
class ModelPool:
    """Models that stand in for each other."""

    endpoints: tuple[Endpoint, ...]
    spending: Spending
    wait: Callable[[float], None] = time.sleep
    _standing: dict[str, _Standing] = field(default_factory=dict)
    _prices: dict[str, Price] = field(default_factory=dict)
    _reads_in_part: set[str] = field(default_factory=set)

    @property
    def where(self) -> str:
        """The models, and their addresses where set, for sentences."""
        return ", ".join(endpoint.where for endpoint in self.endpoints)

    def price(self, endpoint: Endpoint) -> Price:
        """What a token of a model costs; that it is not known is said once, under a cap."""
        known = self._prices.get(endpoint.model)
        if known is None:
            known = self._prices[endpoint.model] = endpoint.price()
            if not known.is_known and self.spending.has_dollar_cap:
                text = (
                    f"No price is known for the {endpoint.where}: under the cap on dollars a "
                    f"million of its tokens count as ${known.of(1_000_000, 0):.2f}. "
                    "--max-model-tokens sets a cap on tokens instead."
                )
                events.publish(events.Notice(text=text))
        return known

    def ask(self, messages: Sequence[dict[str, str]], order: Sequence[Endpoint]) -> Reply:
        """Have one of the models answer.

        Raises:
            BudgetReached: no model's call fits under the caps; none was made.
            ModelRefused: every model refuses these settings.
            NoModelAnswers: every model that does not refuse has failed.
        """
        failures: list[ModelError] = []
        for endpoint in order:
            counted = endpoint.count_tokens(messages)
            self.spending.expect(endpoint.model, counted, self.price(endpoint))
        for endpoint in self._by_readiness(order):
            standing = self._standing.setdefault(endpoint.model, _Standing())
            try:
                with self.spending.turn():
                    return self._ask_one(endpoint, standing, messages)
            except ModelError as error:
                failures.append(error)
                is_news = standing.failure != (error.cause or str(error))
                standing.failure = error.cause or str(error)
                if len(failures) < len(order) and is_news:
                    text = f"{error} The next model is asked instead."
                    events.publish(events.Notice(text=text))
        raise _worst(failures)

    def _ask_one(
        self, endpoint: Endpoint, standing: _Standing, messages: Sequence[dict[str, str]]
    ) -> Reply:
        counted, price = endpoint.count_tokens(messages), self.price(endpoint)
        answer_tokens = self.spending.ask(endpoint.model, counted, price)
        self._wait_as_asked(endpoint, standing)
        try:
            reply = endpoint.ask(messages, answer_tokens)
        except PromptTooLong:
            raise  # Another trial's prompt may fit.
        except ModelRefused:
            standing.has_refused = True
            raise
        except EndpointError as error:
            standing.not_before = time.monotonic() + (error.retry_after_seconds or 0.0)
            if error.may_be_billed:
                self.spending.add_unanswered(endpoint.model, counted, price)
            raise
        standing.has_refused, standing.failure = False, ""
        self._check_that_all_was_read(endpoint, messages, reply.prompt_tokens)
        self.spending.add(
            endpoint.model,
            counted,
            price,
            reply.prompt_tokens,
            reply.completion_tokens,
            reply.cost_usd,
        )
        return reply

    def _check_that_all_was_read(
        self, endpoint: Endpoint, messages: Sequence[dict[str, str]], prompt_tokens: int | None
    ) -> None:
        """Say once where a server cut the prompt, as some do without a word."""
        characters = sum(len(message["content"]) for message in messages)
        if prompt_tokens is None or characters < LEAST_CHARACTERS:
            return
        is_whole = prompt_tokens * MOST_CHARACTERS_PER_TOKEN >= characters
        if is_whole or endpoint.where in self._reads_in_part:
            return
        self._reads_in_part.add(endpoint.where)
        text = (
            f"The {endpoint.where} counted {prompt_tokens:,} tokens in a prompt of {characters:,} "
            "characters, so it read only a part of it: raise its context setting (num_ctx or "
            "OLLAMA_CONTEXT_LENGTH, --ctx-size, --max-model-len), or name a model with a longer "
            "context with --model."
        )
        events.publish(events.Notice(text=text))

    def _wait_as_asked(self, endpoint: Endpoint, standing: _Standing) -> None:
        seconds = standing.not_before - time.monotonic()
        if seconds <= 0:
            return
        if seconds > LONGEST_WAIT_SECONDS:
            raise EndpointError(
                f"The {endpoint.where} asks to be left alone for {in_words(seconds)}.",
                retry_after_seconds=seconds,
                cause=standing.failure,
            )
        events.publish(
            events.Notice(text=f"Waiting {seconds:.0f} s, as the {endpoint.where} asks.")
        )
        self.wait(seconds)

    def _by_readiness(self, order: Sequence[Endpoint]) -> list[Endpoint]:
        """Those that may be asked at once, then those that asked for a pause, then refusers."""
        now = time.monotonic()

        def lateness(endpoint: Endpoint) -> tuple[bool, float]:
            standing = self._standing.get(endpoint.model, _Standing())
            return standing.has_refused, max(0.0, standing.not_before - now)

        return sorted(order, key=lateness)


def _worst(failures: Sequence[ModelError]) -> ModelError:
    """The failure that says most about what to do.

    One that a shorter prompt may help; else that a model may answer later, by the one that may
    first; else one of caps; else that all refuse.
    """
    for failure in failures:
        if isinstance(failure, PromptTooLong):
            return failure
    silent = [failure for failure in failures if isinstance(failure, EndpointError)]
    if silent:
        first = min(silent, key=lambda failure: failure.retry_after_seconds or 0.0)
        return NoModelAnswers(
            str(first),
            retry_after_seconds=first.retry_after_seconds,
            may_be_billed=first.may_be_billed,
            cause=first.cause,
        )
    for failure in failures:
        if isinstance(failure, BudgetReached):
            return failure
    causes = {failure.cause or str(failure) for failure in failures}
    return ModelRefused(str(failures[-1]), cause="; ".join(sorted(causes)))
