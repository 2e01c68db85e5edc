"""What models may cost, checked before every call, and what they have cost so far.

A call is made only where its estimate fits under every cap, its answer may be no longer than
what is left pays for, and under a cap calls are made one at a time. Where litellm knows no
price, dollars are counted at ``UNKNOWN_USD_PER_MILLION_TOKENS``, so that a cap on dollars is then
one on tokens.
"""

import math
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from nightlab.errors import BudgetReached
from nightlab.records import Exchange, Frozen, ProposalCost
from nightlab.records.counting import counted
from nightlab.settings import SessionSettings

UNKNOWN_USD_PER_MILLION_TOKENS = 5.0
"""What a token counts where its price is not known: about that of a large model's prompt."""
UNKNOWN_TOKENS_PER_CALL = 15_000
"""What a past call counts whose tokens nobody reported."""
ANSWER_TOKENS = 1_500
"""Of an answer before one was seen."""
MILLION = 1_000_000


class Price(Frozen):
    """Dollars per token of one model."""

    prompt: float
    completion: float
    is_known: bool = True

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What a call costs, in dollars."""
        return prompt_tokens * self.prompt + completion_tokens * self.completion


UNKNOWN_PRICE = Price(
    prompt=UNKNOWN_USD_PER_MILLION_TOKENS / MILLION,
    completion=UNKNOWN_USD_PER_MILLION_TOKENS / MILLION,
    is_known=False,
)


@dataclass(slots=True)
class Spent:
    """What calls came to."""

    cost_usd: float = 0.0
    tokens: int = 0
    calls: int = 0

    def add(self, cost_usd: float, tokens: int, calls: int = 1) -> None:
        """Count more calls."""
        self.cost_usd += cost_usd
        self.tokens += tokens
        self.calls += calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What calls may come to; None where there is no cap."""

    what: str
    """``session`` or ``study``, for sentences."""
    cost_usd: float | None = None
    tokens: int | None = None
    calls: int | None = None

    @property
    def is_set(self) -> bool:
        """Whether anything is limited."""
        return (self.cost_usd, self.tokens, self.calls) != (None, None, None)

    def passed_by(self, spent: Spent, more: Spent) -> str | None:
        """The sentence on the first cap that ``more`` would pass, or None."""
        for name, cap, have, wanted in (
            ("dollars", self.cost_usd, spent.cost_usd, more.cost_usd),
            ("tokens", self.tokens, spent.tokens, more.tokens),
            ("calls", self.calls, spent.calls, more.calls),
        ):
            if cap is not None and (have >= cap or have + wanted > cap):
                return (
                    f"{_shown(name, cap)} were given for models in this {self.what}, "
                    f"{_shown(name, have)} are spent, and the next call would need about "
                    f"{_shown(name, wanted)}."
                )
        return None


def _shown(name: str, amount: float) -> str:
    return f"${amount:.4f}" if name == "dollars" else f"{amount:,.0f} {name}"


class Spending:
    """The caps of a session and its study against what was spent; for several threads."""

    def __init__(self, settings: SessionSettings) -> None:
        self._caps = (
            Caps(
                what="session",
                cost_usd=settings.max_cost_usd,
                tokens=settings.max_model_tokens,
                calls=settings.max_model_calls,
            ),
            Caps(
                what="study",
                cost_usd=settings.max_study_cost_usd,
                tokens=settings.max_study_model_tokens,
                calls=settings.max_study_model_calls,
            ),
        )
        self._spent = {"session": Spent(), "study": Spent()}
        self._next: dict[str, Spent] = {}
        self._excess: dict[str, float] = {}
        self._answer_tokens: dict[str, int] = {}
        self._unanswered = ProposalCost()
        self._failed_runs: list[Exchange] = []
        self._is_estimated = False
        self._guard = threading.Lock()
        self._turn = threading.Lock()

    @property
    def in_session(self) -> Spent:
        """What this session has spent."""
        return self._spent["session"]

    @property
    def has_dollar_cap(self) -> bool:
        """Whether dollars are limited."""
        return any(caps.cost_usd is not None for caps in self._caps)

    def count_earlier(self, costs: Iterable[tuple[bool, ProposalCost]]) -> None:
        """Count what stands in git: whether each proposal was this session's, and its cost."""
        for ours, cost in costs:
            tokens = (cost.prompt_tokens or 0) + (cost.completion_tokens or 0)
            tokens = tokens or UNKNOWN_TOKENS_PER_CALL * cost.calls
            dollars = cost.cost_usd
            if dollars is None:
                # Counted twice, what was priced errs on the safe side.
                dollars = cost.priced_usd + UNKNOWN_PRICE.of(tokens, 0)
            self._is_estimated |= ours and cost.calls > 0 and cost.cost_usd is None
            self._spent["study"].add(dollars, tokens, cost.calls)
            if ours:
                self._spent["session"].add(dollars, tokens, cost.calls)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold while a call is asked for, made and counted.

        The ideas of two trials may be asked for at once, and each call may use all that is left.
        """
        with self._turn if any(caps.is_set for caps in self._caps) else nullcontext():
            yield

    def expect(self, model: str, counted_tokens: int, price: Price) -> None:
        """Note what a call of a model would need that may be asked as well as another."""
        with self._guard:
            self._expect(model, counted_tokens, price)

    def ask(self, model: str, counted_tokens: int, price: Price) -> int | None:
        """Ask whether a call may be made, and how long its answer may be: None without a cap.

        Raises:
            BudgetReached: its estimate would pass a cap.
        """
        with self._guard:
            self._require_room(self._expect(model, counted_tokens, price))
            prompt, _ = self._estimate(model, counted_tokens)
            longest = min(self._affordable(caps, prompt, price) for caps in self._caps)
            return None if math.isinf(longest) else int(longest)

    def add(
        self,
        model: str,
        counted_tokens: int,
        price: Price,
        prompt_tokens: int | None,
        completion_tokens: int | None,
        cost_usd: float | None,
    ) -> None:
        """Count a call that was made; what its endpoint did not report is estimated."""
        with self._guard:
            guessed_prompt, guessed_answer = self._estimate(model, counted_tokens)
            if prompt_tokens is not None and counted_tokens:
                # Counts are rough: another tokenizer's, or a guess.
                excess = prompt_tokens / counted_tokens
                self._excess[model] = max(excess, self._excess.get(model, 0.0))
            if completion_tokens is not None:
                longest = max(completion_tokens, self._answer_tokens.get(model, 0))
                self._answer_tokens[model] = longest
            prompt = guessed_prompt if prompt_tokens is None else prompt_tokens
            answer = guessed_answer if completion_tokens is None else completion_tokens
            dollars = price.of(prompt, answer) if cost_usd is None else cost_usd
            self._is_estimated |= cost_usd is None
            for spent in self._spent.values():
                spent.add(dollars, prompt + answer)
            self._expect(model, counted_tokens, price)

    def add_unanswered(self, model: str, counted_tokens: int, price: Price) -> None:
        """Count a call that may be billed though its answer never came, by its estimate."""
        with self._guard:
            prompt, answer = self._estimate(model, counted_tokens)
            self._is_estimated = True
            self._unanswered += ProposalCost(
                calls=1,
                prompt_tokens=prompt,
                completion_tokens=answer,
                cost_usd=price.of(prompt, answer) if price.is_known else None,
            )
        self.add(model, counted_tokens, price, prompt, answer, price.of(prompt, answer))

    def ask_run(self, command: str) -> None:
        """Ask whether a command may be run: a call, whose tokens and dollars nobody reports.

        Raises:
            BudgetReached: it would pass the cap on calls.
        """
        with self._guard:
            self._next[command] = Spent(calls=1)
            self._require_room(self._next[command])

    def add_run(self) -> None:
        """Count a run of a command."""
        with self._guard:
            for spent in self._spent.values():
                spent.add(0.0, 0)

    def add_failed_run(self, seconds: float, exchange: Exchange) -> None:
        """Count one that came to no proposal, and keep what it was told and what it said."""
        self.add_run()
        with self._guard:
            self._unanswered += ProposalCost(calls=1, seconds=seconds)
            self._failed_runs.append(exchange)

    def take_failed_runs(self) -> tuple[Exchange, ...]:
        """What such runs were told and said since this was asked last: for a trial's evidence."""
        with self._guard:
            taken, self._failed_runs = self._failed_runs, []
            return tuple(taken)

    def take_unanswered(self) -> ProposalCost:
        """What calls without an answer came to since this was asked last: for a trial's record."""
        with self._guard:
            taken, self._unanswered = self._unanswered, ProposalCost()
            return taken

    def in_words(self) -> str | None:
        """What this session's calls came to; None where there was none."""
        spent = self.in_session
        if not spent.calls:
            return None
        calls = counted(spent.calls, "call")
        if not spent.tokens and not spent.cost_usd:
            return f"{calls}, whose tokens and dollars nobody reported"
        told = f"{calls}, {spent.tokens:,} tokens"
        if self._is_estimated:
            return f"{told}, about ${spent.cost_usd:.4f} (some prices or counts are not known)"
        return f"{told}, ${spent.cost_usd:.4f}"

    def reached(self) -> str | None:
        """The sentence on a cap under which no model's next call would fit; None without one."""
        with self._guard:
            wanted = list(self._next.values()) or [Spent()]
            problems = [self._passed_by(more) for more in wanted]
            return None if None in problems else problems[0]

    def _require_room(self, more: Spent) -> None:
        problem = self._passed_by(more)
        if problem is not None:
            raise BudgetReached(problem)

    def _passed_by(self, more: Spent) -> str | None:
        found = (caps.passed_by(self._spent[caps.what], more) for caps in self._caps)
        return next((problem for problem in found if problem is not None), None)

    def _affordable(self, caps: Caps, prompt_tokens: int, price: Price) -> float:
        """Tokens of the longest answer that fits under the caps."""
        spent, longest = self._spent[caps.what], math.inf
        if caps.tokens is not None:
            longest = caps.tokens - spent.tokens - prompt_tokens
        if caps.cost_usd is not None and price.completion > 0:
            left = caps.cost_usd - spent.cost_usd - prompt_tokens * price.prompt
            longest = min(longest, left / price.completion)
        return longest

    def _expect(self, model: str, counted_tokens: int, price: Price) -> Spent:
        prompt, answer = self._estimate(model, counted_tokens)
        self._next[model] = Spent(price.of(prompt, answer), prompt + answer, 1)
        return self._next[model]

    def _estimate(self, model: str, counted_tokens: int) -> tuple[int, int]:
        prompt = math.ceil(self._excess.get(model, 1.0) * counted_tokens)
        return prompt, self._answer_tokens.get(model, ANSWER_TOKENS)
