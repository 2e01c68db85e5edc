"""What a server's error means for the session, whichever server it is."""

import re
from enum import Enum

from nightlab.models.said import REDIRECTS, Said
from nightlab.models.words import Words


class Meaning(Enum):
    """What is to be done about an error."""

    TOO_LONG = "too long"
    """The model's context does not hold the prompt: a shorter one may fit."""
    NO_MONEY = "no money"
    """Quota, credit or billing: waiting never helps."""
    REFUSED = "refused"
    """Another try with the same settings meets the same refusal."""
    LATER = "later"


_REFUSALS = frozenset({*REDIRECTS, 400, 401, 403, 404, 405, 406, 407, 410, 413, 415, 422, 451, 501})
_SENTENCES = re.compile(r"(?<=[.!?;])\s+|\n+")
# Servers that cannot say whose fault it is; and what is no fault of the request.
_NEVER_LENGTH = frozenset({401, 402, 403, 404, 405, 502, 503, 504, 529})


def meaning_of(said: Said, *, resets: bool) -> Meaning:
    """What an error means that says, or not, when it ends by itself (``resets``)."""
    if is_overflow(said):
        return Meaning.TOO_LONG
    told = f"{said.code} {said.text}"
    may_be_money = said.is_inside or said.status in (400, 401, 403, 429)
    is_of_money = may_be_money and not resets and Words.NO_MONEY.are_in(told)
    if is_of_money or said.status == 402 or "insufficient_quota" in told:
        return Meaning.NO_MONEY
    # Whatever the status is, the provider may only ask for patience, or a filter took offence, and
    # another wording may pass. What is said of times with a wrong key is about the key.
    is_temporary = (
        (resets and said.status != 401)
        or (said.status in (400, 403) and (Words.RATE.are_in(told) or Words.FILTERED.are_in(told)))
        or (said.status in (400, 403, 404) and Words.NOT_YET.are_in(told))
    )
    return Meaning.REFUSED if said.status in _REFUSALS and not is_temporary else Meaning.LATER


def is_overflow(said: Said) -> bool:
    """Whether the prompt is too long for the model."""
    if said.status in _NEVER_LENGTH:
        return False
    told = f"{said.text} {said.code}"
    if said.status == 413 or Words.ALONE_TOO_LARGE.are_in(told):
        return True
    if "context_length" in said.code or "exceed_context" in said.code:
        return True
    if said.status == 429 or Words.RATE.are_in(told):
        return False
    return any(map(_is_too_long, _SENTENCES.split(said.text)))


def _is_too_long(sentence: str) -> bool:
    # A limit on the answer alone is mended by asking for a shorter one.
    about = Words.OF_THE_ANSWER.removed_from(sentence)
    is_other = Words.OTHER_LENGTHS.are_in(sentence)
    return Words.TOO_LONG.are_in(sentence) and Words.PROMPT.are_in(about) and not is_other
