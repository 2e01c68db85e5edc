"""Which variables are secrets, and that their values go."""

import pytest

from nightlab.redaction import REDACTED, Redaction

VALUE = "canary-value-123"


@pytest.mark.parametrize(
    "name",
    [
        "OPENAI_API_KEY",
        "OPENAI_API_KEY_2",
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_SECRET_ACCESS_KEY",
        "apikey",
        "DB_PASSWORD",
        "GOOGLE_CREDENTIALS",
        "MY_KEYS",
    ],
)
def test_what_is_named_like_a_secret_is_taken_out(name: str) -> None:
    assert Redaction.of(None, {name: VALUE})(f"x {VALUE} y") == f"x {REDACTED} y"


@pytest.mark.parametrize("name", ["HOME", "TOKENIZERS_PARALLELISM", "SSH_KEY_PATH", "KEYMAP"])
def test_what_is_not_stays(name: str) -> None:
    assert VALUE in Redaction.of(None, {name: VALUE})(f"x {VALUE} y")


def test_users_in_addresses_go_and_short_values_stay() -> None:
    redact = Redaction.of("key-of-its-own", {"A_KEY": "short"})
    assert (
        redact("http://me:word@host/v1 short key-of-its-own") == f"http://host/v1 short {REDACTED}"
    )
