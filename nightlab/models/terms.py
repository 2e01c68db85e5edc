"""What one endpoint takes of a request, learnt from what it refused, for the whole session.

Servers differ in the names of parameters, in which of them they know, and in whether they
stream. A refusal costs nothing, so the request is sent as most servers want it, and what an
endpoint refuses is taken out, renamed or made smaller, once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nightlab.models.meanings import is_overflow
from nightlab.models.said import Said
from nightlab.models.words import Words

NEEDED = frozenset({"model", "messages"})
ANSWER_LIMITS = ("max_tokens", "max_completion_tokens")
"""Two names of one parameter: newer models of some makers take the second only."""
LEAST_ANSWER_TOKENS = 512
"""An endpoint that has no room for so short an answer has none for the prompt."""
# 5xx are for servers that fail over a parameter instead of refusing it.
_STATUSES = frozenset({400, 404, 405, 406, 415, 422, 500, 501})
_OTHER_NAMES = {
    "stream": r"stream(?:ing|ed)?(?![\w -]?options)|sse|server-sent events",
    "stream_options": r"stream[_ -]?options|include_usage",
    "reasoning_effort": r"reasoning(?:[_ .-]?effort)?|thinking",
}
"""What parameters are called in sentences."""


@dataclass(slots=True)
class Terms:
    """What an endpoint takes."""

    dropped: set[str] = field(default_factory=set)
    """Parameters that it does not."""
    renamed: dict[str, str] = field(default_factory=dict)
    longest_answer: int | None = None
    """Tokens; None where it refused no limit."""

    def applied(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The request's body as this endpoint takes it; every answer is asked for as a stream."""
        wanted = {**body, "stream": True, "stream_options": {"include_usage": True}}
        taken: dict[str, Any] = {}
        for given, value in wanted.items():
            name = self.renamed.get(given, given)
            if name not in self.dropped:
                taken[name] = value
        if "stream" not in taken:
            taken.pop("stream_options", None)
        for name in ANSWER_LIMITS:
            if name in taken and self.longest_answer is not None:
                taken[name] = min(taken[name], self.longest_answer)
        return taken

    def learn(self, sent: Mapping[str, Any], said: Said) -> str | None:
        """Learn from a refusal.

        Returns:
            The parameter that is sent otherwise from now on; None where another try would meet the
            same refusal.
        """
        if said.status not in _STATUSES:
            return None
        limit = next((name for name in ANSWER_LIMITS if name in sent), None)
        if limit is not None and self._is_over(limit, sent[limit], said):
            if sent[limit] > LEAST_ANSWER_TOKENS:
                self.longest_answer = sent[limit] // 2
                return limit
            self.longest_answer = None  # It was the prompt.
            return None
        if is_overflow(said):
            self.longest_answer = None
            return None
        name = _refused_name(sent, said)
        if name is None:
            return None
        self._give_up(name)
        return name

    def _is_over(self, name: str, value: int, said: Said) -> bool:
        """Whether the limit on the answer is what is too large."""
        text = said.text.lower()
        if not (Words.TOO_LONG.are_in(text) or Words.LIMITS.are_in(text)):
            return False
        digits = "".join(rf"[,.' ]?{digit}" for digit in str(value)).removeprefix("[,.' ]?")
        if re.search(rf"(?<![\d.,]){digits}(?!\d)", text):
            return True
        if Words.OF_THE_ANSWER.are_in(text) and not is_overflow(said):
            return True
        return re.search(_pattern(name), text) is not None and not Words.UNKNOWN_NAME.are_in(text)

    def _give_up(self, name: str) -> None:
        if name in ANSWER_LIMITS:
            (other,) = set(ANSWER_LIMITS) - {name}
            if other not in self.dropped:
                self.renamed[name] = other
                self.renamed.pop(other, None)
        self.dropped.add(name)


def _refused_name(sent: Mapping[str, Any], said: Said) -> str | None:
    """The first of the sent parameters that an error says is not taken."""
    names = [name for name in sent if name not in NEEDED]
    if said.param:
        # It may be a path (body.stream_options), or a list of one.
        return next((part for part in re.findall(r"\w+", said.param) if part in names), None)
    text = f"{said.text} {said.code}".lower()
    if not Words.UNSUPPORTED.are_in(text):
        return None
    found = {
        name: match.start()
        for name in names
        if (match := re.search(_pattern(name), text)) is not None
    }
    return min(found, key=found.__getitem__) if found else None


def _pattern(name: str) -> str:
    plain = _OTHER_NAMES.get(name, re.escape(name).replace("_", "[_ ]?"))
    return rf"(?<![a-z_])(?:{plain})(?![a-z_])"
