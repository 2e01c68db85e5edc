"""The proposer with a language model: asks, reads the edit, has it repaired once."""

import re
from dataclasses import dataclass, field

from nightlab.errors import ModelError
from nightlab.proposers.brief import Brief
from nightlab.proposers.contract import check_source
from nightlab.proposers.edits import apply_edits, is_block_start, parse_edits
from nightlab.proposers.endpoint import Endpoint, Reply
from nightlab.proposers.prompts import (
    TITLE_CHARACTERS,
    crash_message,
    one_line,
    opening_messages,
    repair_message,
)
from nightlab.records import Edit, Exchange, Proposal, ProposalCost

REPAIR_ROUNDS = 1
HYPOTHESIS_CHARACTERS = 2_000
_TITLE = re.compile(r"[\s#*>]*TITLE\s*\**\s*:\s*\**(?P<title>.*)", re.IGNORECASE)
_HYPOTHESIS = re.compile(r"[\s#*>]*HYPOTHESIS\s*\**\s*:\s*\**(?P<text>.*)", re.IGNORECASE)
_THOUGHTS = re.compile(r"\s*<think>.*?</think>", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An answer, read: an idea and its edits, or what keeps them from being used."""

    title: str
    hypothesis: str
    edits: tuple[Edit, ...] = ()
    error: str | None = None


class LlmProposer:
    """Asks a language model for an edit of ``train.py``."""

    name = "llm"

    def __init__(
        self,
        model: str,
        api_base: str | None = None,
        api_key: str | None = None,
        timeout_seconds: float = 90.0,
    ) -> None:
        self.model: str | None = model
        self._endpoint = Endpoint(
            model=model, api_base=api_base, api_key=api_key, timeout_seconds=timeout_seconds
        )

    @property
    def where(self) -> str:
        """The model, and its address where one is set, for sentences."""
        return self._endpoint.where

    def propose(self, brief: Brief) -> Proposal:
        """Ask for an idea, and once more where its edits cannot be used.

        Returns:
            A proposal whose edits apply and keep the trainer's contract; else with
            ``error``. An endpoint that fails in the repair round does not throw away
            the first answer, which was paid for: the proposal then says both.

        Raises:
            ModelRefused: the endpoint refuses these settings.
            ModelError: the endpoint gave nothing that could be read as an answer.
        """
        return self._converse(_Conversation(messages=self._opening(brief)), brief)

    def repair(self, brief: Brief, proposal: Proposal, problem: str) -> Proposal | None:
        """Show the model its own answer and what became of it, and ask for it mended.

        Args:
            brief: as it was for the proposal.
            proposal: what failed its dry run.
            problem: the sentence and the traceback.

        Returns:
            What ``propose`` returns, with the cost and the exchanges of the repair alone; None
            where no answer of the model's stands in the proposal.

        Raises:
            ModelRefused, ModelError: as ``propose``.
        """
        if not proposal.exchanges:
            return None
        messages = self._opening(brief)
        messages.append({"role": "assistant", "content": proposal.exchanges[-1].answer})
        told = len(messages)
        crash = crash_message(problem)
        messages.append({**crash, "content": self._endpoint.redaction(crash["content"])})
        return self._converse(_Conversation(messages=messages, told=told), brief)

    def _opening(self, brief: Brief) -> list[dict[str, str]]:
        redaction = self._endpoint.redaction
        return [
            {"role": message["role"], "content": redaction(message["content"])}
            for message in opening_messages(brief)
        ]

    def _converse(self, talk: "_Conversation", brief: Brief) -> Proposal:
        draft = talk.ask(self._endpoint, brief)
        for _ in range(REPAIR_ROUNDS):
            if draft.error is None:
                break
            talk.messages.append(repair_message(draft.error))
            try:
                draft = talk.ask(self._endpoint, brief)
            except ModelError as error:
                problem = f"{draft.error} It could not be sent back: {error}"
                return self._proposal(draft, talk, problem)
        return self._proposal(draft, talk, draft.error)

    def _proposal(self, draft: Draft, talk: "_Conversation", error: str | None) -> Proposal:
        return Proposal(
            title=draft.title,
            hypothesis=draft.hypothesis,
            edits=draft.edits,
            proposer=self.name,
            model=self.model,
            cost=talk.cost(),
            exchanges=tuple(talk.exchanges),
            error=error,
        )


@dataclass(slots=True, kw_only=True)
class _Conversation:
    """The rounds of one proposal."""

    messages: list[dict[str, str]]
    exchanges: list[Exchange] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    told: int = 0
    """Messages that stand in an exchange already."""

    def ask(self, endpoint: Endpoint, brief: Brief) -> Draft:
        """Send the messages and read the answer."""
        reply = endpoint.ask(self.messages)
        # Each exchange holds what was new in its round; the earlier ones stand before it.
        new = self.messages[self.told :]
        prompt = "\n\n".join(f"[{part['role']}]\n{part['content']}" for part in new)
        self.messages.append({"role": "assistant", "content": reply.text})
        self.told = len(self.messages)
        self.exchanges.append(Exchange(prompt=prompt, answer=reply.text))
        self.replies.append(reply)
        return read_answer(reply.text, reply.finish_reason, brief.incumbent_source)

    def cost(self) -> ProposalCost:
        """The sum over all rounds; None as soon as one round is not known."""
        dollars = [reply.cost_usd for reply in self.replies]
        known = [amount for amount in dollars if amount is not None]
        return ProposalCost(
            calls=len(self.replies),
            prompt_tokens=_total([reply.prompt_tokens for reply in self.replies]),
            completion_tokens=_total([reply.completion_tokens for reply in self.replies]),
            cost_usd=sum(known) if len(known) == len(dollars) else None,
            seconds=sum(reply.seconds for reply in self.replies),
        )


def _total(counts: list[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def read_answer(answer: str, finish_reason: str, source: str) -> Draft:
    """Read an answer and try its edits on the incumbent's source.

    A missing title is no reason to send an edit back: the hypothesis stands in for it.
    """
    text = _THOUGHTS.sub("", answer, count=1) if answer.lstrip().startswith("<think>") else answer
    title, hypothesis = _read_idea(text)
    parsed = parse_edits(text)
    error = parsed.error
    if error is None:
        applied = apply_edits(source, parsed.edits)
        error = applied.error or check_source(applied.source)
    if error is not None and not text.strip():
        error = f"The answer is empty (finish reason {finish_reason})."
    elif error is not None and finish_reason == "length":
        error = f"{error} The answer was cut off at the model's longest: make it shorter."
    return Draft(title=title, hypothesis=hypothesis, edits=parsed.edits, error=error)


def _read_idea(text: str) -> tuple[str, str]:
    title = ""
    hypothesis: list[str] = []
    inside = False
    for line in text.replace("\r\n", "\n").split("\n"):
        if is_block_start(line) or line.lstrip().startswith(("```", "~~~")):
            break
        if match := _TITLE.fullmatch(line):
            title, inside = title or one_line(match["title"], TITLE_CHARACTERS), False
        elif match := _HYPOTHESIS.fullmatch(line):
            hypothesis, inside = [match["text"]], True
        elif inside:
            hypothesis.append(line)
    why = one_line(" ".join(hypothesis), HYPOTHESIS_CHARACTERS)
    return title.strip("* ") or one_line(why, TITLE_CHARACTERS) or "An answer without a title", why


def try_model(model: str, api_base: str | None = None, timeout_seconds: float = 30.0) -> str:
    """Ask a model for a word, to see that it answers; return the beginning of its answer.

    Raises:
        ModelError: it does not; the sentence says what to do.
    """
    endpoint = Endpoint(model=model, api_base=api_base, timeout_seconds=timeout_seconds)
    reply = endpoint.ask([{"role": "user", "content": "Answer with the one word: ready"}])
    return one_line(reply.text, 40) or f"nothing (finish reason {reply.finish_reason})"
