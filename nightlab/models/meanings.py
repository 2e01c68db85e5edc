"""What the words of a server's error mean, whichever server it is.

Every server says the same few things in words of its own, so these are recognised by what has to
stand together: something that is long, and a word for too long. The test has some fifty of them.
"""

import re

from nightlab.models.said import Said


def _any(*words: str) -> re.Pattern[str]:
    return re.compile("|".join(words), re.IGNORECASE)


_SENTENCES = re.compile(r"(?<=[.!?;])\s+|\n+")
_PROMPT = _any(
    r"\b(?:contexts?|prompts?|inputs?|messages?|tokens?|conversation|sequence|chat history)\b",
    r"\b(?:context|input)[_ ](?:length|window|size|limit)|\bcontext_|model length|request body",
    r"\bmax_(?:model|seq|input|prompt)_len(?:gth)?\b|\bn(?:um)?_ctx\b|\b(?:input|prompt)_|history",
    r"\bkv[ -](?:cache|slot)|输入|上下文",
)
_TOO_LONG = _any(
    r"exceed|surpass|over(?:flow|runs?)|too (?:lengthy|verbose)|no (?:more )?room",
    r"\b(?:over|above|beyond|outside)\s+(?:the|its|our|model|max\w*|allowed|limit|\d)|超过|超出|过长",
    r"too (?:long|large|big|many|much)|\b(?:longer|larger|greater|bigger|higher|more|less) than",
    r"not fit|n't fit|not enough|out of (?:context|room)|only \d+|at most|<=|> ?(?:\d|max|n_ctx)",
    r"(?:context|window|length|size) (?:is|of) (?:only )?\d",
    r"\breached\b|\bfull\b|free space|not find",
    r"\b(?:reduce|shorten|truncate|trim)\b|shorter|range of input",
    r"maximum|max(?:imum)? (?:\w+ )?length|max(?:_|imum )\w*len|maxlength",
    r"\bmax:? ?\d|must be <|insufficient",
    r"limit(?:ed)? (?:is|of)|(?:size|length|window|context) limit",
)
_RATE = _any(
    r"rate[ _-]?limit|usage limit|quota|throttl|too many requests|concurren",
    r"per[ -](?:second|minute|min|hour|day|month)|(?:month|week|dai|hour)ly",
    r"/(?:min|day)\b|\b[tr]p[mdh]\b",
)
_NOT_YET = _any(
    r"(?:\bis|\bare|still|currently|being) (?:re)?(?:loading|loaded|starting|deployed)\b",
    r"warming up|\boverloaded|at capacity|temporarily (?:un|not )available",
)
# What is larger than all that a minute may have never fits into one.
_ALONE_TOO_LARGE = _any(
    r"request (?:is |body )*too large",
    r"(?:tokens|prompt|message size|messages) must be reduced",
    r"reduce your message size",
)
_OF_THE_ANSWER = _any(
    r"\b(?:completion|output|response|generated|new)[ _]tokens?\b",
    r"\bmax_(?:completion_|new_|output_)?tokens|\bmaxoutputtokens\b",
)
_OTHER_LENGTHS = _any(
    r"(?:messages|input|prompt)\W*(?:list|array)? (?:is |are )?(?:empty|required|missing)",
    r"(?:number of|too many) (?:images|messages|tools|functions|stop)",
    r"system (?:message|prompt|role)|characters? of (?:user|name)|'(?:user|name|stop|seed)'|memory",
)
_NO_MONEY = _any(
    r"insufficient[ _-]?(?:\w+ )?(?:quota|balance|funds?|credits?)",
    r"exceeded[_ ](?:your[_ ])?(?:current[_ ]quota|(?:\w+ ){0,2}credits?)",
    r"(?:balance|funds?|credits?) (?:is |are |have )?(?:insufficient|exhausted|depleted|used up)",
    r"(?:trial|subscription) (?:has |is )?(?:expired|ended|required|inactive)|key limit exceeded",
    r"credit balance|out of (?:\w+ )?credits?|no (?:\w+ )?credits?\b|(?:not enough|more) credits",
    r"(?:all|used up) (?:\w+ )*credits|payment (?:is )?required",
    r"billing[ _](?:hard[ _]limit|is not|not active|issue|required|account|details|cycle)",
    r"(?:enable|set up|check your) billing",
    r"account (?:\w+ ){0,3}(?:overdue|arrears|suspended|inactive|not active|deactivated)",
    r"spend(?:ing)?[ _-](?:limit|cap)|budget (?:\w+ )*exceeded|exceeded (?:\w+ )*budget",
    r"(?:add|buy|purchase|top up|recharge)\b.{0,30}\b(?:credit|balance|fund)",
    r"欠费|余额不足",
)
_FILTERED = _any(
    r"content[ _-]?(?:filter|policy|moderation|management)|responsible ai",
    r"safety (?:system|filter|polic)|flagged|prohibited content|data_inspection",
)
_UNKNOWN_NAME = (
    r"unsupported|not[ _](?:yet )?support|n't support|unknown|unrecogni[sz]ed|unexpected",
    r"extra[ _](?:inputs?|fields?|data|keys?|forbidden|parameters?)|additional propert",
    r"not (?:permitted|allowed|recogni[sz]ed)|deprecated|instead|no such",
)
_REFUSED_NAME = _any(*_UNKNOWN_NAME)
_UNSUPPORTED = _any(
    *_UNKNOWN_NAME,
    r"not (?:available|implemented|enabled|accepted|valid|compatible)",
    r"n't (?:accept|allow|recogni[sz]e|know)|not (?:accept|allow|recogni[sz]e|exist|know|use)",
    r"forbidden|invalid|rejected|rather than|non-stream|unavailable|disabled|removed?\b|no longer",
    r"incompatible|unpermitted",
    r"only (?:supports?|accepts?|allows?|the default|works?)|verified to",
    r"must (?:be|not)|should (?:be|not)|can(?:not|'t) (?:both )?(?:be )?(?:use|set|specif|stream)",
)
_LIMITS = _any(r"\brange\b|between|below|up to|limit")
# Servers that cannot say whose fault it is; and what is no fault of the request.
_NEVER_LENGTH = frozenset({401, 402, 403, 404, 405, 502, 503, 504, 529})


def is_overflow(said: Said) -> bool:
    """Whether the prompt is too long for the model: a shorter one may fit."""
    if said.status in _NEVER_LENGTH:
        return False
    told = f"{said.text} {said.code}"
    if _ALONE_TOO_LARGE.search(told):
        return True
    if "context_length" in said.code or "exceed_context" in said.code:
        return True
    if said.status == 413:
        return True
    if said.status == 429 or _RATE.search(told):
        return False
    return any(_is_too_long(sentence) for sentence in _SENTENCES.split(said.text))


def _is_too_long(sentence: str) -> bool:
    if _OTHER_LENGTHS.search(sentence) or not _TOO_LONG.search(sentence):
        return False
    # A limit on the answer alone is mended by asking for a shorter one.
    return _PROMPT.search(_OF_THE_ANSWER.sub(" ", sentence)) is not None


def is_out_of_money(said: Said, resets: bool) -> bool:
    """Whether waiting never helps: quota, credit or billing.

    Args:
        said: the error.
        resets: whether it says when it ends by itself.
    """
    if said.status == 402 or "insufficient_quota" in f"{said.code} {said.text}":
        return True
    is_told = _NO_MONEY.search(f"{said.code} {said.text}") is not None
    may_say_so = said.is_inside or said.status in (400, 401, 403, 429)
    return is_told and may_say_so and not resets


def is_for_now(said: Said) -> bool:
    """Whether the provider only asks for patience, whatever its status is."""
    told = f"{said.code} {said.text}"
    return (
        said.status == 429
        or (said.status in (400, 403) and _RATE.search(told) is not None)
        or (said.status in (400, 403, 404) and _NOT_YET.search(told) is not None)
    )


def is_filtered(said: Said) -> bool:
    """Whether a filter took offence: another wording may pass."""
    return said.status in (400, 403) and _FILTERED.search(f"{said.code} {said.text}") is not None


def is_unsupported(text: str) -> bool:
    """Whether something is not taken."""
    return _UNSUPPORTED.search(text) is not None


def is_unknown_name(text: str) -> bool:
    """Whether it is the name that is not known, and not the value that is not taken."""
    return _REFUSED_NAME.search(text) is not None


def is_of_the_answer(text: str) -> bool:
    """Whether something is said of the answer's length."""
    return _OF_THE_ANSWER.search(text) is not None


def is_too_much(text: str) -> bool:
    """Whether a value is over a limit."""
    return _TOO_LONG.search(text) is not None or _LIMITS.search(text) is not None
