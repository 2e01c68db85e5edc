"""What went wrong at a model's endpoint, for the session and in a sentence for people."""

import re
from dataclasses import dataclass

from nightlab.errors import ModelError, ModelRefused
from nightlab.models.meanings import Meaning, meaning_of
from nightlab.models.resets import seconds_until_reset
from nightlab.models.said import REDIRECTS, Said
from nightlab.models.texts import one_line
from nightlab.records import utc_now
from nightlab.redaction import redact

SHOWN_CHARACTERS = 300
_CLASS_NAMES = re.compile(
    r"^(?:(?:litellm\.)?\w+(?:Error|Timeout|Exception)\s*(?::|-)\s*)+(?:LiteLLM:\s*)?"
)
_NO_TLS = {
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted here, so name a file that has "
    "its maker's in SSL_CERT_FILE, or correct the address or this machine's clock",
    "WRONG_VERSION_NUMBER": "its address begins with https:// and has no TLS, so write http://",
}
"""What a connection that will not come about says, and what mends it."""
# litellm 1.106 puts its own traceback into the message where an answer of status 200 is no chat
# completion, as when it counts tokens in words.
_UNREADABLE = "Invalid response object"
_RAISED = re.compile(r"^[\w.]+(?:Error|Exception): (?P<why>.+?)(?:\[type=|\n\n|\Z)", re.M | re.S)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who was asked, for sentences and causes."""

    model: str
    where: str
    """Its name in sentences."""
    missing_keys: tuple[str, ...] = ()
    """Variables of which one must hold a key, where none was given and none of them does."""
    no_key: str = ""
    """How to name a key for it, as a clause, where none was sent."""

    def refused(self, problem: str, cause: object) -> ModelRefused:
        """An error that no other try mends."""
        return ModelRefused(f"The {self.where} {problem}", cause=f"{self.model} {cause}")

    def failed(
        self,
        problem: str,
        cause: object,
        *,
        may_be_billed: bool,
        retry_after_seconds: float | None = None,
    ) -> EndpointError:
        """One that another try may mend."""
        return EndpointError(
            f"The {self.where} {problem}",
            retry_after_seconds=retry_after_seconds,
            may_be_billed=may_be_billed,
            cause=f"{self.model} {cause}",
        )


def as_model_error(said: Said, asked: Asked) -> ModelError:
    """What a server's error means for the session, with a sentence for people."""
    words = _shown(said.text).rstrip(".") or "without a word"
    found = f"{'an error in its answer' if said.is_inside else f'status {said.status}'}: {words}"
    wait = seconds_until_reset(said, utc_now())
    match meaning_of(said, resets=bool(wait)):
        case Meaning.TOO_LONG:
            return PromptTooLong(
                f"The {asked.where} must take the whole prompt and finds it too long ({found}): "
                "name a model with a longer context with --model, raise the server's context "
                "setting, or shorten program.md.",
                cause=f"{asked.model} {said.status}",
            )
        case Meaning.NO_MONEY:
            problem = (
                f"must accept the request and has no money or quota left for it ({found}): add "
                "credit or raise the limit in the account of this key; waiting does not help."
            )
            return asked.refused(problem, said.status)
        case Meaning.REFUSED:
            remedy = _remedy(said, asked.no_key)
            problem = f"must accept the request and refused it for good ({found}): {remedy}"
            return asked.refused(problem, said.status)
    later = "" if wait is None else f", in no less than {wait:g} seconds, as it asks"
    return asked.failed(
        f"must answer and {'sent' if said.is_inside else 'answered'} {found}. Try again "
        f"later{later}; `nightlab doctor` tries the endpoint.",
        said.status,
        may_be_billed=said.may_be_billed,
        retry_after_seconds=wait,
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


def without_words(error: Exception, broken: str | None, asked: Asked) -> ModelError:
    """The same of litellm's own error, where no server spoke; ``broken``: why the connection is."""
    said = _shown(_CLASS_NAMES.sub("", str(error), count=1)).rstrip(".")
    if broken is None and asked.missing_keys:
        problem = (
            f"needs a key and none is set: export {' or '.join(asked.missing_keys)}, or name a "
            "Prefect Secret block with the setting api_key_secret."
        )
        return asked.refused(problem, "no key")
    if _UNREADABLE in str(error):
        raised = _RAISED.search(str(error).partition(_UNREADABLE)[2])
        why = _shown(raised["why"]) if raised is not None else "no reason given"
        return no_completion(asked, f"one that cannot be read ({why})")
    if broken is None and getattr(error, "status_code", None) in (400, 404, 422):
        # litellm's own word: it knows no such provider, or a variable that it needs is not set.
        problem = (
            f"cannot be asked ({said}): check --model (with its provider in front, as in "
            "openai/NAME) and --api-base."
        )
        return asked.refused(problem, "unknown")
    remedy = next((_NO_TLS[each] for each in _NO_TLS if each in (broken or "")), None)
    if remedy is not None:
        return asked.refused(f"cannot be asked ({said}): {remedy}.", "TLS")
    if broken is not None and broken not in said:
        said = f"{said} ({broken})"
    return asked.failed(
        f"must answer and failed: {said}. Try again later; `nightlab doctor` tries the endpoint.",
        "away",
        may_be_billed=_was_sent(error),
    )


def no_completion(asked: Asked, what: str) -> EndpointError:
    """The error of an answer that is none."""
    return asked.failed(
        f"must send a chat completion and sent {what}: check that --api-base names an endpoint of "
        "the OpenAI chat protocol.",
        "unreadable",
        may_be_billed=True,
    )


def _was_sent(error: Exception) -> bool:
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


def _shown(text: str) -> str:
    """Words of others on one line; redacted before a cut leaves half of a key."""
    return one_line(redact(text), SHOWN_CHARACTERS)
