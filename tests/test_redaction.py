"""Which variables are secrets, and that their values go, in whatever form they are written."""

import base64
import html
import json
import textwrap
import urllib.parse
from collections.abc import Callable

import pytest

from nightlab.errors import EvaluationError, SandboxUnavailable
from nightlab.redaction import REDACTED, Redaction, learn, redact, redacted
from tests.key_forms import FORMS

VALUE = "canary-value-123"
# With every character that some notation escapes, and enough that base64 differs by alphabet.
CANARY = "sk-Proj/4f?>~x\"y\\z'&<+%_90é/AbC"


@pytest.mark.parametrize(
    "name",
    [
        "OPENAI_API_KEY",
        "OPENAI_API_KEY_2",
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_SECRET_ACCESS_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "PREFECT_API_AUTH_STRING",
        "apikey",
        "DB_PASSWORD",
        "PGPASSWORD",
        "DB_PASSWD",
        "SMTP_PASS",
        "MYSQL_PWD",
        "SSH_PASSPHRASE",
        "GOOGLE_CREDENTIALS",
        "MY_KEYS",
        "GITHUB_PAT",
    ],
)
def test_what_is_named_like_a_secret_is_taken_out(name: str) -> None:
    assert Redaction.of(None, {name: VALUE})(f"x {VALUE} y") == f"x {REDACTED} y"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "HOME",
            "PWD",
            "OLDPWD",
            "KEYMAP",
            "COMPASS",
            "AUTHOR",
            "MY_PATTERN",
            "TOKENIZERS_PARALLELISM",
        ),
        *("SSH_KEY_PATH", "TLS_KEY_FILE", "KEY_DIR", "TOKEN_DIRECTORY", "SSH_AUTH_SOCK"),
    ],
)
def test_what_is_not_stays(name: str) -> None:
    assert VALUE in Redaction.of(None, {name: VALUE})(f"x {VALUE} y")


@pytest.mark.parametrize("key", [CANARY, "sk-0123456789abcdefABCDEF", "Pass\U0001d11eWord-0123"])
@pytest.mark.parametrize("form", FORMS)
def test_a_key_goes_in_whatever_form(key: str, form: str) -> None:
    written = FORMS[form](key)
    assert written != key or form == "as it is"
    said = Redaction.of(key, {})(f"refused: {written}.")
    assert REDACTED in said
    for core in (key, written, key[4:-4], key[:8], key[-8:]):
        assert core not in said
    assert said.startswith("refused: ")


@pytest.mark.parametrize(
    "written",
    [
        VALUE.encode().hex(":"),
        " ".join(map(hex, VALUE.encode())),
        ", ".join(f"0x{byte:02X}" for byte in VALUE.encode()),
        "\u200b".join(VALUE),
        "".join(f"\\u{{{ord(each):x}}}" for each in VALUE),
        "".join(f"%u{ord(each):04X}" for each in VALUE),
    ],
)
def test_a_key_goes_in_the_notations_of_other_tools(written: str) -> None:
    said = Redaction.of(VALUE, {})(f"refused: {written}.")
    assert written not in said
    assert REDACTED in said


@pytest.mark.parametrize("before", range(7))
@pytest.mark.parametrize("after", range(4))
def test_a_key_goes_wherever_it_stands_in_something_longer_in_base64(
    before: int, after: int
) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        longer = b"me:2345"[:before] + CANARY.encode() + b"tail"[:after]
        said = Redaction.of(CANARY, {})(f"Basic {encode(longer).decode()}")
        assert REDACTED in said
        rest = said.replace(REDACTED, "").removeprefix("Basic ").rstrip("=")
        # What is left are bytes that stood beside the key, and at most two bits of it.
        assert len(rest) <= (4 * (before + after)) // 3 + 2


@pytest.mark.parametrize(
    "around",
    ["{}\r", "{}\n", " {}", '"{}"', "'{}'", "\u201c{}\u201d", "\ufeff{}", "\u00a0{}\t"],
)
def test_what_stands_around_a_value_does_not_hide_the_key_in_it(around: str) -> None:
    redact_it = Redaction.of(None, {"OPENAI_API_KEY": around.format(VALUE)})
    assert redact_it(f"key {VALUE}.") == f"key {REDACTED}."
    assert VALUE not in redact_it(around.format(VALUE))


def test_the_longer_secret_goes_before_the_one_that_is_a_part_of_it() -> None:
    for whole in (f"{VALUE}-and-more", f"more-and-{VALUE}", f"more-{VALUE}-more"):
        for names in (("A_KEY", "B_KEY"), ("B_KEY", "A_KEY")):
            redact_it = Redaction.of(None, dict(zip(names, (VALUE, whole), strict=True)))
            assert redact_it(f"x {whole} y {VALUE} z") == f"x {REDACTED} y {REDACTED} z"


def test_a_long_secret_goes_in_its_lines_and_as_a_whole() -> None:
    lines = textwrap.wrap(base64.b64encode(bytes(range(256)) * 4).decode(), 64)
    secret = "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----"])
    redact_it = Redaction.of(None, {"TLS_KEY": secret})
    for said in (redact_it(secret), redact_it(json.dumps({"key": secret}))):
        assert all(line[4:-4] not in said for line in lines)
    passphrase = Redaction.of("correct horse battery", {})
    for written in ("correct horse battery", "correct%20horse+battery", "correct\nhorse  battery"):
        assert passphrase(f"({written})") == f"({REDACTED})"


def test_ordinary_text_stays() -> None:
    redact_it = Redaction.of(CANARY, {"A_KEY": VALUE, "B_KEY": "short"})
    texts = [
        "WIDTH = 64  # canary value 123 short sk-Proj",
        "canary-value-12",
        "https://host:8080/v1/chat?model=x&n=3#top",
        "openai/a@http://127.0.0.1:8000,b@http://host,c@https://[::1]:9/v1",
        "https://host:8080/a@b, http://host:80?a@b, http://host:80#a@b",
        "git@github.com:me/it.git, me@example.org",
        "for x in y: z @ w; a://b",
        "",
    ]
    for text in texts:
        assert redact_it(text) == text


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://me:word@host/v1", "http://host/v1"),
        ("https://token@host:8080/a@b", "https://host:8080/a@b"),
        ("postgresql+psycopg://me:p@ss@db/x", "postgresql+psycopg://db/x"),
        ("postgresql://me:pa/ss@db:5432/x", "postgresql://db:5432/x"),
        ("http://me:p/w@host/x?to=a@b", "http://host/x?to=a@b"),
        ("postgresql://me:p/a@ss@db/x", "postgresql://db/x"),
        ("ssh://git:pw@host:22/r.git", "ssh://host:22/r.git"),
        ("fatal: 'https://me:pw@h/r.git/' not found", "fatal: 'https://h/r.git/' not found"),
        ("x@http://me:pw@h,y@http://you:pw@i", "x@http://h,y@http://i"),
        ("http://h/#/a?b=c&viewStateShareKey=trials", "http://h/#/a?b=c&viewStateShareKey=trials"),
        ("http://h/a?shareKey=x1", f"http://h/a?shareKey={REDACTED}"),
        ("http://h/a?api_key=x1&b=2", f"http://h/a?api_key={REDACTED}&b=2"),
        (
            "db://h/d?user=me&password=x y",
            f"db://h/d?user=me&password={REDACTED} y",
        ),
        ("http://h/?Access_Token=x1#f", f"http://h/?Access_Token={REDACTED}#f"),
        ("http://h/#access_token=x1", f"http://h/#access_token={REDACTED}"),
        ("https://h/a?sig=x1&v=2", f"https://h/a?sig={REDACTED}&v=2"),
        ("mysql://h/d?sslpassword=x1", f"mysql://h/d?sslpassword={REDACTED}"),
    ],
)
def test_users_and_passwords_in_addresses_go(address: str, shown: str) -> None:
    assert Redaction.of(None, {})(address) == shown


def test_a_password_of_an_address_in_the_environment_goes_wherever_it_stands() -> None:
    environment = {
        "MLFLOW_TRACKING_URI": "postgresql://me:s3cret%40-word@db/x",
        "DATABASE_URL": "mysql://you:other-w0rd@db,mysql://us:third/w0rd@db",
        "HTTP_PROXY": "http://postgres:postgres@proxy:3128",
    }
    redact_it = Redaction.of(None, environment)
    for word in ("s3cret%40-word", "s3cret@-word", "other-w0rd", "third/w0rd"):
        assert redact_it(f"refused {word} of postgresql") == f"refused {REDACTED} of postgresql"


def test_short_values_stay_and_those_of_eight_characters_go() -> None:
    redact_it = Redaction.of("7-chars", {"A_KEY": "8-chars-"})
    assert redact_it("x 7-chars 8-chars- y") == f"x 7-chars {REDACTED} y"
    assert Redaction.of("a b c d e f", {})("abcdef a b c d e f") == "abcdef a b c d e f"
    assert Redaction.of("12345678", {})("12345678") == REDACTED


def test_a_text_made_to_take_long_does_not() -> None:
    """Quadratic time would be minutes; candidates and endpoints write what they like."""
    redact_it = Redaction.of('tn-r\\tnr%25&#0"-0123456789', {"A_KEY": "a b c d e f g h"})
    for part in (
        "t",
        "tn",
        "t ",
        "\\t",
        "\\",
        "t\\\\",
        "%25",
        "a ",
        "a%20",
        "&#0",
        "://a:b",
        "?a",
        "dG4t",
        "t\x1b[31m",
        "t\x1b",
        "\x1b[",
        "|'t",
        "t\u2502n",
    ):
        text = part * (50_000 // len(part))
        assert redact_it(text) == text
    framed = Redaction.of("tn" + "|" * 12 + "0123456789", {})
    text = "tn" + "|" * 5_000
    assert framed(text) == text


def test_secrets_are_not_in_the_representation() -> None:
    assert VALUE not in repr(Redaction.of(VALUE, {}))


def test_what_is_found_is_told_apart() -> None:
    redact_it = Redaction.of(VALUE, {"A_KEY": "another-value"})
    assert redact_it.found_in(f"x = {base64.b64encode(VALUE.encode()).decode()!r}") == {VALUE}
    assert redact_it.found_in("x = 1") == frozenset()


@pytest.mark.parametrize("forget", [json.dumps, str, html.escape, urllib.parse.quote])
def test_what_was_learned_goes_from_all_that_this_process_writes(
    forget: Callable[[str], str],
) -> None:
    key = "learned-once-4711"
    learn(key)
    assert key not in redact(f"x {forget(key)}")
    plain = redacted({"a": [key, 1, None, 2.5], "b": {"c": (f"x{key}",)}})
    assert plain == {"a": [REDACTED, 1, None, 2.5], "b": {"c": [f"x{REDACTED}"]}}
    assert str(EvaluationError(f"x {key}")) == f"x {REDACTED}"
    assert str(SandboxUnavailable(f"x {key}", "try")) == f"x {REDACTED}: try"


def test_the_environment_of_the_process_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", VALUE)
    assert redact(f"x {VALUE}") == f"x {REDACTED}"
    assert redacted(f"x {VALUE}") == f"x {REDACTED}"
    monkeypatch.delenv("SOME_API_KEY")
    assert redact(f"x {VALUE}") == f"x {VALUE}"
