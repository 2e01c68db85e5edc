"""What went wrong at a model's endpoint, read from the exceptions of litellm."""

import email.utils
import math
import re

from nightlab.errors import ModelError, ModelRefused
from nightlab.proposers.texts import one_line
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
    ) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        self.may_be_billed = may_be_billed


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


def headers_of(error: Exception) -> dict[str, str]:
    """The headers of the server's answer in lower case; none where no server answered."""
    response = getattr(error, "response", None)
    for headers in (
        getattr(error, "litellm_response_headers", None),
        getattr(response, "headers", None),
    ):
        if headers:
            return {str(name).lower(): str(value) for name, value in headers.items()}
    return {}


def said_by(error: Exception, redaction: Redaction) -> str:
    """The endpoint's own words, without litellm's class names before them."""
    text = _CLASS_NAMES.sub("", str(error), count=1)
    return one_line(redaction(text), SHOWN_CHARACTERS).rstrip(".")


def remedy(status: int) -> str:
    """What mends a refusal, as a clause."""
    if status in (401, 403):
        return (
            "set the right key in the provider's environment variable, or in the Prefect Secret "
            "block that api_key_secret names."
        )
    if status in (404, 405):
        return "check the names in --model and --api-base."
    return "check --model (with its provider in front, as in openai/NAME) and --api-base."


def retry_after_seconds(headers: dict[str, str]) -> float | None:
    """Seconds from a Retry-After header, which holds a number or a date."""
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = email.utils.parsedate_to_datetime(value)
        except ValueError:
            return None
        if moment.tzinfo is None:
            return None
        seconds = (moment - utc_now()).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def unreadable_part(error: Exception, redaction: Redaction) -> str | None:
    """What in an answer could not be read, on one line; None where that is not the failure."""
    text = str(error)
    if _UNREADABLE not in text:
        return None
    raised = _RAISED.search(text.partition(_UNREADABLE)[2])
    why = raised["why"] if raised is not None else "no reason given"
    return one_line(redaction(why), SHOWN_CHARACTERS)
