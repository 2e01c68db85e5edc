"""Keeps keys out of whatever is sent, stored or shown."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

# A word of the name, wherever it stands (AWS_BEARER_TOKEN_BEDROCK); TOKENIZERS is another word.
_SECRET_NAME = re.compile(
    r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL)S?(?![A-Z])", re.IGNORECASE
)
_PLACE_NAME = re.compile(r"_(FILE|PATH|DIR|DIRECTORY)$", re.IGNORECASE)
_USER_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]+@")
MIN_CHARACTERS = 8
"""Shorter values are no keys, and taking them out would garble ordinary text."""
REDACTED = "[redacted]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """Replaces known secrets in texts."""

    secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, key: str | None, environment: Mapping[str, str]) -> Self:
        """Know a key, and every variable of the environment that is named like one."""
        named = [value for name, value in environment.items() if _holds_secret(name)]
        values = {value for value in (key or "", *named) if len(value) >= MIN_CHARACTERS}
        # The longest first: one secret may begin with another.
        return cls(secrets=tuple(sorted(values, key=len, reverse=True)))

    def __call__(self, text: str) -> str:
        """Return the text without secrets, and without users in addresses."""
        for secret in self.secrets:
            text = text.replace(secret, REDACTED)
        return _USER_IN_ADDRESS.sub("", text)


def _holds_secret(name: str) -> bool:
    """Whether a variable is named like a secret, and not like the place where one lies."""
    return _SECRET_NAME.search(name) is not None and _PLACE_NAME.search(name) is None
