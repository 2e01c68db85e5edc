"""What the words of a server's error mean, whichever server it is.

Every server says the same few things in words of its own, so these are recognised by what has to
stand together: something that is long, and a word for too long. ``tests/proposers/test_meanings.py``
has the words of some thirty servers.
"""

import re

from nightlab.proposers.said import Said

_SENTENCES = re.compile(r"(?<=[.!?;])\s+|\n+")
_IGNORECASE = re.IGNORECASE
_PROMPT = re.compile(
    r"\b(?:contexts?|context[_ ](?:length|window|size|limit)|prompts?|inputs?|messages?|tokens?"
    r"|conversation|sequence|max_(?:model|seq|input|prompt)_len(?:gth)?|chat history|request body)\b"
    r"|context_|model length|input[_ ]length|输入|上下文",
    _IGNORECASE,
)
_TOO_LONG = re.compile(
    r"exceed|too (?:long|large|big|many|much)|over(?:flow|runs?|\s+the)|surpass|超过|超出|过长"
    r"|(?:long|larg|great|bigg|high)er than|more than|out of (?:context|room)|not fit|n't fit"
    r"|not enough|at most|less than|fewer than|maximum|max(?:imum)? (?:\w+ )?length|cannot exceed"
    r"|<=|> ?\d|\b(?:reduce|shorten|truncate|trim)\b|shorter|range of input|limit(?:ed)? (?:is|of|to)"
    r"|max(?:_|imum )\w*len|maxlength|(?:size|length|window|context) limit|only \d+",
    _IGNORECASE,
)
_RATE = re.compile(
    r"rate[ _-]?limit|per[ -](?:second|minute|min|hour|day|month)|/(?:min|day)\b|\b[tr]p[mdh]\b|quota"
    r"|too many requests|concurren|throttl|usage limit",
    _IGNORECASE,
)
# What is larger than all that a minute may have never fits into one.
_ALONE_TOO_LARGE = re.compile(
    r"request (?:is |body )*too large|(?:tokens|prompt|message size|messages) must be reduced"
    r"|reduce your message size",
    _IGNORECASE,
)
_OF_THE_ANSWER = re.compile(
    r"\b(?:completion|output|response|generated|new)[ _]tokens?\b|\bmax_(?:completion_|new_|output_)?tokens",
    _IGNORECASE,
)
_OTHER_LENGTHS = re.compile(
    r"(?:messages|input|prompt)\W*(?:list|array)? (?:is |are )?(?:empty|required|missing)"
    r"|number of (?:images|messages|tools|functions|stop)|too many (?:images|tools|functions|messages)"
    r"|characters? of (?:user|name)|'(?:user|name|stop|seed)'|memory",
    _IGNORECASE,
)
_NO_MONEY = re.compile(
    r"insufficient[ _-]?(?:quota|balance|funds?|credits?)|exceeded your current quota"
    r"|credit balance|out of (?:\w+ )?credits?|no (?:\w+ )?credits?\b|(?:not enough|more) credits"
    r"|billing[ _](?:hard[ _]limit|is not|not active|issue|required|account|details|cycle)"
    r"|payment (?:is )?required|(?:enable|set up|check your) billing|account (?:\w+ ){0,3}"
    r"(?:overdue|arrears|suspended|inactive|not active|deactivated|delinquent)"
    r"|spend(?:ing)?[ _-](?:limit|cap)|(?:add|buy|purchase|top up|recharge)\b.{0,30}\b(?:credit|balance"
    r"|fund|account)|budget (?:\w+ )*exceeded|exceeded (?:\w+ )*budget|欠费|余额不足",
    _IGNORECASE,
)
_FILTERED = re.compile(
    r"content[ _-]?(?:filter|policy|moderation)|responsible ai|safety (?:system|filter|polic)"
    r"|flagged|prohibited content|data_inspection",
    _IGNORECASE,
)
_UNSUPPORTED = re.compile(
    r"unsupported|not[ _](?:yet )?support|n't support|unknown|unrecogni[sz]ed|unexpected"
    r"|extra[ _](?:inputs?|fields?|data|keys?|forbidden|parameters?)|additional propert"
    r"|not (?:permitted|allowed|available|implemented|enabled|accepted|valid|recogni[sz]ed|compatible)"
    r"|n't (?:accept|allow|recogni[sz]e|know)|not (?:accept|allow|recogni[sz]e|exist|know|use)"
    r"|forbidden|invalid|unavailable|disabled|deprecated|removed?\b|no longer|instead|incompatible"
    r"|only (?:supports?|accepts?|allows?|the default|works?)|verified to|no such|unpermitted"
    r"|must (?:be|not)|can(?:not|'t) (?:be )?(?:use|set|specif|stream)|should (?:be|not)",
    _IGNORECASE,
)
_REFUSED_NAME = re.compile(
    r"unsupported|not support|n't support|unknown|unrecogni[sz]ed|unexpected|extra[ _]|additional prop"
    r"|not permitted|not allowed|deprecated|instead|no such|not recogni",
    _IGNORECASE,
)
# Servers that cannot say whose fault it is; and what is no fault of the request.
_NEVER_LENGTH = frozenset({401, 402, 403, 404, 405})


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
    return is_told and said.status in (400, 403, 429) and not resets


def is_rate_limit(said: Said) -> bool:
    """Whether the provider only asks for patience, whatever its status is."""
    return said.status == 429 or (
        said.status in (400, 403) and _RATE.search(f"{said.code} {said.text}") is not None
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


def is_too_much(text: str) -> bool:
    """Whether a value is over a limit."""
    return (
        _TOO_LONG.search(text) is not None
        or re.search(r"range|between|up to|limit", text) is not None
    )
