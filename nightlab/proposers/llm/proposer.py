"""The proposer with language models: asks, has the answer mended, checks whether it is new."""

from collections.abc import Callable
from dataclasses import dataclass, field

from pydantic import SecretStr

from nightlab import events
from nightlab.errors import ModelError
from nightlab.models.endpoint import Endpoint, Reply
from nightlab.models.endpoint_errors import PromptTooLong
from nightlab.models.pool import ModelPool
from nightlab.models.texts import one_line
from nightlab.proposers.arms import choose_arm, model_arms
from nightlab.proposers.brief import Brief
from nightlab.proposers.llm.answer import Draft, edits_of, read_answer
from nightlab.proposers.novelty import near_trial
from nightlab.proposers.prompts import (
    PROMPT_VERSION,
    Room,
    crash_message,
    mode_of,
    near_message,
    opening_messages,
    repair_message,
    shown_suggestions,
)
from nightlab.records import Exchange, Proposal, ProposalCost
from nightlab.redaction import redact

REPAIR_ROUNDS = 2


class LlmProposer:
    """Asks language models for an edit of ``train.py``."""

    name = "llm"
    reads = True
    needs_money = True

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool

    @property
    def model(self) -> str | None:
        """The models, with commas between."""
        return ",".join(endpoint.model for endpoint in self._pool.endpoints)

    @property
    def where(self) -> str:
        """The models, and their addresses where set, for sentences."""
        return self._pool.where

    def propose(self, brief: Brief) -> Proposal:
        """Ask for an idea; again where its edits cannot be used, once where it was tried.

        Returns:
            A proposal whose edits apply and keep the trainer's contract; else with
            ``error``. An endpoint that fails in a later round does not throw away
            the first answer, which was paid for: the proposal then says both.

        Raises:
            BudgetReached: the caps allow no call; none was made.
            ModelRefused: every endpoint refuses these settings.
            ModelError: no endpoint gave anything that could be read as an answer.
        """
        return self._fitted(brief, self._propose_in)

    def repair(self, brief: Brief, proposal: Proposal, problem: str) -> Proposal | None:
        """Show the model its own answer and what became of it, and ask for it mended.

        Returns:
            What ``propose`` returns, with the cost and the exchanges of the repair alone; None
            where no answer of the model's stands in the proposal.

        Raises:
            BudgetReached, ModelRefused, ModelError: as ``propose``.
        """
        answer = _used_answer(proposal)
        if answer is None:
            return None
        return self._fitted(
            brief, lambda talk: self._repair_in(talk, answer, problem, proposal.model)
        )

    def _fitted(self, brief: Brief, work: Callable[["_Conversation"], Proposal]) -> Proposal:
        """Have the prompt shortened where no model's context holds it."""
        for room in Room:
            talk = self._conversation(brief, room)
            try:
                return work(talk)
            except PromptTooLong:
                if room is Room.LEAST or talk.replies:
                    raise
                text = f"The prompt of trial {brief.number} is too long for the model: shortened."
                events.publish(events.Notice(text=text))
        raise RuntimeError("the shortest prompt was neither answered nor refused")

    def _conversation(self, brief: Brief, room: Room) -> "_Conversation":
        endpoints = self._pool.endpoints
        talk = _Conversation(pool=self._pool, order=endpoints, brief=brief)
        for message in opening_messages(brief, room):
            talk.say(message)
        if len(endpoints) > 1:
            prices = {endpoint.model: self._pool.price(endpoint) for endpoint in endpoints}
            talk.prefer(choose_arm(model_arms(prices, brief.records), brief.draw_seed("model")))
        return talk

    def _propose_in(self, talk: "_Conversation") -> Proposal:
        draft, problem = talk.ask_until_usable(REPAIR_ROUNDS)
        near = near_trial(talk.brief, draft.source, draft.title) if problem is None else None
        if near is None:
            return talk.proposal(draft, problem)
        tried = f"near trial {near.number} by its {near.by}"
        talk.say(near_message(near))
        try:
            second, unusable = talk.ask_until_usable(0)
        except ModelError as error:
            return talk.proposal(draft, None, f"It is {tried}; asking for another failed: {error}")
        if unusable is not None:
            return talk.proposal(
                draft, None, f"It is {tried}; its second answer could not be used."
            )
        again = near_trial(talk.brief, second.source, second.title)
        note = f"The model's first answer was {tried}, so another was asked for"
        if again is not None:
            note += f"; this one is near trial {again.number} by its {again.by}"
        return talk.proposal(second, None, f"{note}.")

    def _repair_in(
        self, talk: "_Conversation", answer: str, problem: str, model: str | None
    ) -> Proposal:
        talk.prefer(model)
        talk.messages.append({"role": "assistant", "content": answer})
        talk.told = len(talk.messages)
        talk.say(crash_message(problem))
        draft, unusable = talk.ask_until_usable(REPAIR_ROUNDS)
        return talk.proposal(draft, unusable)


@dataclass(slots=True, kw_only=True)
class _Conversation:
    """The rounds of one proposal."""

    pool: ModelPool
    order: tuple[Endpoint, ...]
    brief: Brief
    messages: list[dict[str, str]] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    told: int = 0
    """Messages that stand in an exchange already."""

    def say(self, message: dict[str, str]) -> None:
        """Add a message, without secrets that a candidate's output may hold."""
        self.messages.append({**message, "content": redact(message["content"])})

    def prefer(self, model: str | None) -> None:
        """Ask a model before the others: the one whose answer is talked about."""
        self.order = tuple(sorted(self.order, key=lambda endpoint: endpoint.model != model))

    def ask_until_usable(self, repairs: int) -> tuple[Draft, str | None]:
        """Ask, and send back what cannot be used; the last draft and what is wrong with it."""
        draft = self._ask()
        for _ in range(repairs):
            if draft.error is None:
                break
            self.say(repair_message(draft.error))
            try:
                draft = self._ask()
            except ModelError as error:
                return draft, f"{draft.error} It could not be sent back: {error}"
        return draft, draft.error

    def _ask(self) -> Draft:
        reply = self.pool.ask(self.messages, self.order)
        # Each exchange holds what was new in its round; the earlier ones stand before it.
        new = self.messages[self.told :]
        prompt = "\n\n".join(f"[{part['role']}]\n{part['content']}" for part in new)
        self.messages.append({"role": "assistant", "content": reply.text})
        self.told = len(self.messages)
        self.exchanges.append(Exchange(prompt=prompt, answer=reply.text))
        self.replies.append(reply)
        self.prefer(reply.model)
        return read_answer(reply.text, reply.finish_reason, self.brief.incumbent_source)

    def proposal(self, draft: Draft, error: str | None, note: str = "") -> Proposal:
        """What came of it."""
        if draft.tolerated and error is None:
            blocks = ", ".join(map(str, draft.tolerated))
            note = f"{note} Found in train.py but for white space: block {blocks}.".strip()
        return Proposal(
            title=draft.title,
            hypothesis=draft.hypothesis,
            edits=draft.edits,
            proposer=LlmProposer.name,
            model=self.replies[-1].model,
            mode=mode_of(self.brief),
            expected_bpb=draft.expected_bpb,
            prompt_version=PROMPT_VERSION,
            suggestions=shown_suggestions(self.brief),
            note=note,
            cost=self._cost(),
            exchanges=tuple(self.exchanges),
            error=error,
        )

    def _cost(self) -> ProposalCost:
        """The sum over all rounds."""
        rounds = [
            ProposalCost(
                calls=1,
                prompt_tokens=reply.prompt_tokens,
                completion_tokens=reply.completion_tokens,
                cost_usd=reply.cost_usd,
                seconds=reply.seconds,
            )
            for reply in self.replies
        ]
        return sum(rounds, ProposalCost())


def _used_answer(proposal: Proposal) -> str | None:
    """The answer whose blocks the proposal has: not the last one, where that was of no use."""
    answers = [exchange.answer for exchange in proposal.exchanges]
    for answer in reversed(answers):
        if edits_of(answer) == proposal.edits:
            return answer
    return answers[-1] if answers else None


def try_model(
    model: str,
    api_base: str | None = None,
    timeout_seconds: float = 30.0,
    api_key: SecretStr | None = None,
) -> str:
    """Ask a model for a word, to see that it answers; return the beginning of its answer.

    Raises:
        ModelError: it does not; the sentence says what to do.
    """
    endpoint = Endpoint(
        model=model, api_base=api_base, api_key=api_key, timeout_seconds=timeout_seconds
    )
    reply = endpoint.ask([{"role": "user", "content": "Answer with the one word: ready"}])
    return one_line(reply.text, 40) or f"nothing (finish reason {reply.finish_reason})"
