"""The words of many servers' errors, in one table: what each kind of them says.

Every server says the same few things in words of its own, so a meaning is recognised by what has
to stand together (nightlab/models/meanings.py). The test has some fifty servers' sentences.
"""

import re
from enum import Enum


class Words(Enum):
    """Kinds of words: patterns, any of which is one of the kind."""

    PROMPT = (
        r"\b(?:contexts?|prompts?|inputs?|messages?|tokens?|conversation|sequence|history)(?:\b|_)",
        r"model length|request body|\bmax_(?:model|seq|input|prompt)_len|\bn(?:um)?_ctx\b",
        r"\bkv[ -](?:cache|slot)|输入|上下文",
    )
    """What is too long where the prompt is."""
    TOO_LONG = (
        r"exceed|surpass|over(?:flow|runs?)|超过|超出|过长",
        r"\b(?:over|above|beyond|outside)\s+(?:the|its|our|model|max\w*|allowed|limit|\d)",
        r"too (?:long|lengthy|large|big|many|much|verbose)",
        r"\b(?:(?:long|larg|great|bigg|high)er|more|less) than|<=|must be <|> ?(?:\d|max|n_ctx)",
        r"n(?:o|')t fit|not (?:enough|find)|insufficient|no (?:more )?room|out of (?:context|room)",
        r"\breached\b|\bfull\b|free space|only \d+|at most|range of input",
        r"\b(?:reduce|shorten|truncate|trim)\b|shorter",
        r"maximum|\bmax[ _]?(?:\w{1,20}[ _])?len|\bmax:? ?\d",
        r"(?:context|window|length|size) (?:(?:is|of) (?:only )?\d|limit)|limit(?:ed)? (?:is|of)",
    )
    LIMITS = (r"\brange\b|between|below|up to|limit",)
    """Of a value that is over one, besides what is too long."""
    OF_THE_ANSWER = (
        r"\b(?:completion|output|response|generated|new)[ _]tokens?\b",
        r"\bmax_(?:completion_|new_|output_)?tokens|\bmaxoutputtokens\b",
    )
    OTHER_LENGTHS = (
        r"(?:messages|input|prompt)\W*(?:list|array)? (?:is |are )?(?:empty|required|missing)",
        r"(?:number of|too many) (?:images|messages|tools|functions|stop)",
        r"system (?:message|prompt|role)|characters? of (?:user|name)|'(?:user|name|stop|seed)'",
        r"memory",
    )
    """What may be too long or too many besides the prompt."""
    ALONE_TOO_LARGE = (
        r"request (?:is |body ){0,3}too large|reduce your message size",
        r"(?:tokens|prompt|message size|messages) must be reduced",
    )
    """What is larger than all that a minute may have never fits into one."""
    RATE = (
        r"rate[ _-]?limit|usage limit|quota|throttl|too many requests|concurren",
        r"per[ -](?:second|minute|min|hour|day|month)|(?:month|week|dai|hour)ly",
        r"/(?:min|day)\b|\b[tr]p[mdh]\b",
    )
    NOT_YET = (
        r"(?:\bis|\bare|still|currently|being) (?:re)?(?:loading|loaded|starting|deployed)\b",
        r"warming up|\boverloaded|at capacity|temporarily (?:un|not )available",
    )
    NO_MONEY = (
        r"insufficient[ _-]?(?:\w{1,20} )?(?:quota|balance|funds?|credits?)",
        r"exceeded[_ ](?:your[_ ])?(?:current[_ ]quota|(?:\w{1,20} ){0,2}credits?)",
        r"(?:balance|funds?|credits?) (?:\w{1,20} )?(?:insufficient|exhausted|depleted|used up)",
        r"(?:trial|subscription) (?:has |is )?(?:expired|ended|required|inactive)",
        r"credit balance|(?:(?:out of|no) (?:\w{1,20} )?|not enough |more )credits?\b",
        r"(?:all|used up) (?:\w{1,20} ){0,5}credits|payment (?:is )?required|key limit exceeded",
        r"billing[ _](?:hard[ _]limit|is not|not active|issue|required|account|details|cycle)",
        r"(?:enable|set up|check your) billing",
        r"account (?:\w{1,20} ){0,3}(?:overdue|arrears|suspended|inactive|not active|deactivated)",
        r"spend(?:ing)?[ _-](?:limit|cap)|budget (?:\w{1,20} ){0,5}exceeded",
        r"exceeded (?:\w{1,20} ){0,5}budget",
        r"(?:add|buy|purchase|top up|recharge)\b.{0,30}\b(?:credit|balance|fund)|欠费|余额不足",
    )
    FILTERED = (
        r"content[ _-]?(?:filter|policy|moderation|management)|responsible ai",
        r"safety (?:system|filter|polic)|flagged|prohibited content|data_inspection",
    )
    UNKNOWN_NAME = (
        r"unsupported|not[ _](?:yet )?support|n't support|unknown|unrecogni[sz]ed|unexpected",
        r"extra[ _](?:inputs?|fields?|data|keys?|forbidden|parameters?)|additional propert",
        r"not (?:permitted|allowed|recogni[sz]ed)|deprecated|instead|no such",
    )
    """Of a parameter whose name is not known; not of a value that is not taken."""
    UNSUPPORTED = (
        *UNKNOWN_NAME,
        r"not (?:available|implemented|enabled|valid|compatible)|invalid|incompatible|unavailable",
        r"n(?:o|')t (?:accept|allow|recogni[sz]e|exist|know|use)|unpermitted|forbidden|rejected",
        r"rather than|non-stream|disabled|removed?\b|no longer|verified to",
        r"only (?:supports?|accepts?|allows?|the default|works?)",
        r"(?:must|should) (?:be|not)|can(?:not|'t) (?:both )?(?:be )?(?:use|set|specif|stream)",
    )
    """Of what is not taken, for whatever reason."""

    def are_in(self, text: str) -> bool:
        """Whether a text has one of them."""
        return re.search("|".join(self.value), text, re.IGNORECASE) is not None

    def removed_from(self, text: str) -> str:
        """The text with a blank in place of each."""
        return re.sub("|".join(self.value), " ", text, flags=re.IGNORECASE)


STATUS_OF_CODE = (
    (429, ("quota", "rate_limit", "ratelimit", "too_many", "resource_exhausted", "throttl")),
    (401, ("authentication", "unauthenticated", "unauthorized", "api_key", "apikey", "login_fail")),
    (402, ("payment", "billing", "balance")),
    (403, ("permission", "forbidden")),
    (404, ("not_found", "notfound", "no_such")),
    (529, ("overloaded",)),
    (503, ("unavailable", "loading")),
    (500, ("server_error", "servererror", "internal", "timeout", "upstream")),
    (400, ("invalid", "bad_request", "badrequest", "context", "unsupported", "validation")),
)
"""The status that an error without one stands for, by words of its code or type, the first that
fits: codes differ from server to server, and the words in them hardly do."""
