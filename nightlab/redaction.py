"""Keeps keys out of whatever is sent, stored or shown.

A secret is known by its value, and found however it was written down on its way: as it is, in
URLs, JSON, HTML or Python's notation, in hex, in base64 (also as a part of something longer, as
in ``Basic user:key``), in capitals or not, and with line breaks or a terminal's colours in between.
"""

import base64
import html.entities
import os
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Self

# A word of the name, wherever it stands (AWS_BEARER_TOKEN_BEDROCK); TOKENIZERS is another word.
_SECRET_NAME = re.compile(
    r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|(?:^|_)PASS|(?:^|_)PAT|_PWD|_AUTH)S?(?![A-Z])",
    re.IGNORECASE,
)
_PLACE_NAME = re.compile(r"_(FILE|PATH|DIR|DIRECTORY|SOCK)$", re.IGNORECASE)
# The second form is a password with a slash in it; digits before the slash are a port. What stands
# before a whole address is no user: models are named NAME@ADDRESS, with commas between.
_USER_IN_ADDRESS = re.compile(
    r"(?<=://)(?:[^\s/?#\"'<>]*@|[^\s/:@\[\"'<>]*:(?!\d+[/?#,])[^\s@\"'<>]{0,200}@"
    r"(?:[^\s/?#@\"'<>]*@)*)(?!\w+://)"
)
_PASSWORD_IN_ADDRESS = re.compile(
    r"://[^\s/:@]*:(?!\d+[/?#,])(?P<password>\S{1,200}?)@(?=[^@/]*(?:[/?#,\s]|$))"
)
# MLflow's pages name a view by a "key", which opens it and is none.
_SECRET_IN_QUERY = re.compile(
    r"(?P<name>[?&;#](?!viewStateShareKey=)[\w.-]*"
    r"(?:key|token|secret|passw(?:or)?d|pwd|auth|sig|signature|credential)s?=)"
    r"[^\s&;#\"'<>]+",
    re.IGNORECASE,
)
MIN_CHARACTERS = 8
"""But for white space; shorter values are no keys, and without them ordinary text is garbled."""
REDACTED = "[redacted]"
PIECE_CHARACTERS = 64
"""A longer secret, such as a certificate's, is looked for in pieces."""

# What may stand between two characters of a secret: line breaks and other white space, as they are
# or escaped, the backslash of an escape, and what frames, quotes or comments the lines of a text.
# All of it has a bound: texts are made by anybody.
_BETWEEN = r"\s\x00-\x1f\x7f\xad\u200b-\u200d\u2060\ufeff"
_FRAMES = "|\"'>#\u2502\u2503\u2551"
_BETWEEN_BYTES = r"(?:[\s:,;-]|0[xX]|\\[nrt]?){0,40}"
# A terminal's colours, as they are or escaped; a text goes without them where they hide a secret.
_COLOUR = re.compile(r"(?:\x1b|\\{1,9}(?:u001[bB]|x1[bB]|033|e))\[[\d;]{0,20}[A-Za-z]")
_ESCAPE = r"\\{1,9}"
"""Texts in JSON in JSON have several."""
_BLANK = r"(?:[\s\x00-\x1f\x7f+]|\\[nrt]?|%(?:25)*[0-9a-fA-F]{2}|&nbsp;){0,40}"
_AROUND = (
    "".join(map(chr, (*range(0x21), 0x7F, 0xA0, 0xFEFF)))
    + "\"'`\u2018\u2019\u201a\u201c\u201d\u201e"
)
_WHITE = re.compile(r"[\s\x00-\x1f\x7f]")

_learned: set[str] = set()


def learn(secret: str) -> None:
    """Have a secret taken out of all that this process writes, wherever it came from."""
    _learned.add(secret)


def redact(text: str) -> str:
    """Return the text without the secrets that this process knows, and without users in addresses.

    It knows those that it learned, and every variable of its environment that is named like one.
    """
    return Redaction.of(None, os.environ)(text)


def redacted(value: Any, redaction: "Redaction | None" = None) -> Any:
    """Return a copy of plain data with the secrets taken out of every text."""
    redaction = redaction or Redaction.of(None, os.environ)
    if isinstance(value, str):
        return redaction(value)
    if isinstance(value, dict):
        return {key: redacted(item, redaction) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item, redaction) for item in value]
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """Replaces known secrets in texts."""

    secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, key: str | None, environment: Mapping[str, str]) -> Self:
        """Know a key, what was learned, and what the environment holds of secrets."""
        values = {key or "", *_learned, *_secrets_of(environment)}
        bare = {value.strip(_AROUND) for value in values}
        known = {value for value in bare if len("".join(value.split())) >= MIN_CHARACTERS}
        # The longest first: one secret may be a part of another.
        return cls(secrets=tuple(sorted(known, key=lambda value: (-len(value), value))))

    def __call__(self, text: str) -> str:
        """Return the text without secrets, and without users and passwords in addresses."""
        if len(text) < MIN_CHARACTERS:
            return text
        plain = _COLOUR.sub("", text)
        if plain != text and self.found_in(plain):
            text = plain
        for secret in self.secrets:
            for pattern in _patterns(secret):
                text = pattern.sub(REDACTED, text)
        text = _USER_IN_ADDRESS.sub("", text)
        return _SECRET_IN_QUERY.sub(rf"\g<name>{REDACTED}", text)

    def found_in(self, text: str) -> frozenset[str]:
        """The secrets that the text holds, in whatever form."""
        return frozenset(
            secret
            for secret in self.secrets
            if any(pattern.search(text) for pattern in _patterns(secret))
        )


def is_secret_name(name: str) -> bool:
    """Whether a variable is named like a secret, and not like the place where one lies."""
    return _SECRET_NAME.search(name) is not None and _PLACE_NAME.search(name) is None


def _secrets_of(environment: Mapping[str, str]) -> Iterator[str]:
    """Values of variables that are named like a secret, and passwords in addresses."""
    for name, value in environment.items():
        if is_secret_name(name):
            yield value
            continue
        for found in _PASSWORD_IN_ADDRESS.finditer(value):
            written = found["password"]
            # A word alone is no secret worth the texts that it would garble: postgres, password.
            if not written.isalpha():
                yield from (written, urllib.parse.unquote(written))


@cache
def _patterns(secret: str) -> tuple[re.Pattern[str], ...]:
    """What finds a secret, in each of its forms."""
    found = []
    # One that the secret itself has several times would be tried in all ways.
    frames = "".join(each for each in _FRAMES if secret.count(each) < 2)
    gap = rf"(?:[{_BETWEEN}{frames}]|\\[nrt]?){{0,40}}"
    for piece in _pieces(secret):
        found.append(gap.join(map(_as_written, piece)))
        found += _in_base64(_bytes(piece), gap)
        found.append(_in_hex(_bytes(piece), gap))
    return tuple(map(re.compile, found))


def _pieces(secret: str) -> list[str]:
    """A secret as it is looked for: whole, or where it is long in pieces that are long enough."""
    count = max(1, len(secret) // PIECE_CHARACTERS)
    size = -(-len(secret) // count)
    return [secret[start : start + size] for start in range(0, len(secret), size)]


def _as_written(character: str) -> str:
    """A character in all the ways in which it may be escaped."""
    if _WHITE.match(character):
        return _BLANK
    number, content = ord(character), _bytes(character)
    ways = dict.fromkeys(map(re.escape, (character, character.lower(), character.upper())))
    percent = "".join(f"%(?:25)*{_hex(byte, 2)}" for byte in content)
    in_bytes = "".join(f"{_ESCAPE}x{_hex(byte, 2)}" for byte in content)
    in_octal = "".join(f"{_ESCAPE}{byte:03o}" for byte in content)
    units = character.encode("utf-16-be", "surrogatepass").hex()
    in_json = "".join(
        f"(?:{_ESCAPE}|%)u{_hex(int(units[at : at + 4], 16), 4)}" for at in range(0, len(units), 4)
    )
    ways |= dict.fromkeys((percent, in_bytes, in_octal, in_json))
    ways |= dict.fromkeys((f"{_ESCAPE}x{_hex(number, 2)}", f"{_ESCAPE}U{_hex(number, 8)}"))
    ways[f"{_ESCAPE}u\\{{0*{_hex(number, 1)}\\}}"] = None
    ways |= dict.fromkeys((f"&#0*{number};", f"&#[xX]0*{_hex(number, 1)};"))
    ways |= dict.fromkeys(map(re.escape, _entities(character)))
    return f"(?:{'|'.join(ways)})"


def _in_base64(content: bytes, gap: str) -> Iterator[str]:
    """Bytes in base64, wherever in something longer they begin.

    Of its first and last characters, those that hold bits of what stands beside are anyone.
    """
    for before in range(3):
        bits = 8 * (before + len(content))
        encoded = base64.b64encode(bytes(before) + content).decode()
        inner = encoded[-(-8 * before // 6) : bits // 6]
        body = gap.join(map(_in_either_alphabet, inner))
        mixed = r"[A-Za-z0-9+/_-]?"
        yield f"{mixed if before else ''}{body}{mixed if bits % 6 else ''}(?:=|%3[dD])*"


def _in_hex(content: bytes, gap: str) -> str:
    """Bytes in hex, as one number or as several."""
    return _BETWEEN_BYTES.join(gap.join(map(_either_case, f"{byte:02x}")) for byte in content)


def _in_either_alphabet(character: str) -> str:
    """A character of base64; those that differ between alphabets, and their escapes."""
    return {"+": r"(?:\+|-|%2[bB])", "/": r"(?:/|_|%2[fF])"}.get(character, character)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _hex(number: int, digits: int) -> str:
    return "".join(map(_either_case, f"{number:0{digits}x}"))


def _either_case(digit: str) -> str:
    return f"[{digit}{digit.upper()}]" if digit.isalpha() else digit


@cache
def _entities(character: str) -> tuple[str, ...]:
    """The names that HTML has for a character."""
    return tuple(f"&{name}" for name, value in html.entities.html5.items() if value == character)
