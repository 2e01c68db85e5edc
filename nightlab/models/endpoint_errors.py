"""What went wrong at a model's endpoint, for the session and in a sentence for people."""

import re

from nightlab.errors import ModelError, ModelRefused
from nightlab.models.meanings import Meaning, meaning_of
from nightlab.models.resets import seconds_until_reset
from nightlab.models.said import REDIRECTS, Said
from nightlab.models.texts import one_line
from nightlab.records import utc_now
from nightlab.redaction import Redaction

SHOWN_CHARACTERS = 300
_CLASS_NAMES = re.compile(
    r"^(?:(?:litellm\.)?\w+(?:Error|Timeout|Exception)\s*(?::|-)\s*)+(?:LiteLLM:\s*)?"
)
# litellm 1.106 puts its own traceback into the message where an answer of status 200 is no chat
# completion, as when it counts tokens in words.
_UNREADABLE = "Invalid response object"
_RAISED = re.compile(r"^[\w.]+(?:Error|Exception): (?P<why>.+?)(?:\s*\[type=|\n\n|\Z)", re.M | re.S)


class EndpointError(ModelError):
    """The endpoint failed in a way that may be temporary.

    Attributes:
        retry_after_seconds: what the server asked to be waited, where it did.
        may_be_billed: whether the model may have worked on an answer that never came.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after_seconds: float | None = None,
        may_be_billed: bool = False,
        cause: str = "",
    ) -> None:
        super().__init__(message, cause=cause)
        self.retry_after_seconds = retry_after_seconds
        self.may_be_billed = may_be_billed


class NoModelAnswers(EndpointError):  # noqa: N818 - a state of all of them
    """None of a session's models answers just now: the session waits for them."""


class PromptTooLong(ModelRefused):
    """The model's context does not hold the prompt; a shorter one may fit."""


def was_sent(error: Exception) -> bool:
    """Whether the request was out when the connection broke: a model may have worked on it."""
    import httpx

    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        if isinstance(cause, httpx.ReadError | httpx.WriteError | httpx.RemoteProtocolError):
            return True
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
    return False


def said_by(error: Exception, redaction: Redaction) -> str:
    """The endpoint's own words, without litellm's class names before them."""
    text = _CLASS_NAMES.sub("", str(error), count=1)
    return one_line(redaction(text), SHOWN_CHARACTERS).rstrip(".")


def as_model_error(
    said: Said, model: str, where: str, redaction: Redaction, no_key: str = ""
) -> ModelError:
    """What a server's error means for the session, with a sentence for people.

    Args:
        said: the error.
        model: who was asked.
        where: its name in sentences.
        redaction: takes keys out of the server's words.
        no_key: how to name a key for it, as a clause, where none was sent.
    """
    words = one_line(redaction(said.text), SHOWN_CHARACTERS).rstrip(".") or "without a word"
    found = (
        f"an error in its answer: {words}" if said.is_inside else f"status {said.status}: {words}"
    )
    cause = f"{model} {said.status}"
    wait = seconds_until_reset(said, utc_now())
    meaning = meaning_of(said, resets=bool(wait))
    if meaning is Meaning.TOO_LONG:
        return PromptTooLong(
            f"The {where} must take the whole prompt and finds it too long ({found}): name a model "
            "with a longer context with --model, raise the server's context setting, or shorten "
            "program.md.",
            cause=cause,
        )
    if meaning is Meaning.NO_MONEY:
        return ModelRefused(
            f"The {where} must accept the request and has no money or quota left for it "
            f"({found}): add credit or raise the limit in the account of this key; waiting does "
            "not help.",
            cause=cause,
        )
    if meaning is Meaning.REFUSED:
        return ModelRefused(
            f"The {where} must accept the request and refused it for good ({found}): "
            f"{_remedy(said, no_key)}",
            cause=cause,
        )
    later = "" if wait is None else f", in no less than {wait:g} seconds, as it asks"
    told = f"sent {found}" if said.is_inside else f"answered {found}"
    return EndpointError(
        f"The {where} must answer and {told}. Try again later{later}; `nightlab doctor` tries the "
        "endpoint.",
        retry_after_seconds=wait,
        may_be_billed=said.may_be_billed,
        cause=cause,
    )


def _remedy(said: Said, no_key: str) -> str:
    """What mends a refusal, as a clause."""
    if said.status in REDIRECTS:
        return (
            "it sends requests on to another address, and a key goes nowhere but where it was "
            "named for: give the final address with --api-base."
        )
    if said.status in (401, 403):
        return no_key or (
            "set the right key in the provider's environment variable, or in the Prefect Secret "
            "block that api_key_secret names."
        )
    if said.status in (404, 405):
        # Who answers in the protocol's form has the right address.
        return f"check the names in --model{'' if said.is_protocol else ' and --api-base'}."
    return (
        "its words say what it does not take; --model names the model, with its provider in front "
        "as in openai/NAME."
    )


def unreadable_part(error: Exception, redaction: Redaction) -> str | None:
    """What in an answer could not be read, on one line; None where that is not the failure."""
    text = str(error)
    if _UNREADABLE not in text:
        return None
    raised = _RAISED.search(text.partition(_UNREADABLE)[2])
    why = raised["why"] if raised is not None else "no reason given"
    return one_line(redaction(why), SHOWN_CHARACTERS)
