"""What is a key, whose it is, and that it goes nowhere else."""

from collections.abc import Mapping

import pytest
from pydantic import SecretStr, ValidationError

from nightlab.errors import ModelRefused, UsageError
from nightlab.models.endpoint import PLACEHOLDER_KEY
from nightlab.models.keys import (
    addresses_in_force,
    key_variables,
    keys_of_models,
    place_of,
    read_key,
)
from nightlab.proposers import choose_proposer
from nightlab.redaction import redact
from nightlab.settings import SessionSettings, named_keys
from tests.proposers.asking import GOOD
from tests.proposers.trainer_sample import sample_brief
from tests.scripted_endpoint import Failure, ScriptedEndpoint

pytestmark = pytest.mark.usefixtures("no_keys")

ONE, TWO = SecretStr("sk-one-0123456789"), SecretStr("sk-two-0123456789")
OURS, THEIRS = "http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"
MODELS = (("openai/a", None), ("anthropic/b", None), ("openai/c", OURS), ("openai/d", THEIRS))


def keys_for(setting: str | Mapping[str, str], *models: tuple[str, str | None]) -> dict[str, str]:
    """The keys of some models, by their place."""
    found = keys_of_models(
        models, setting, {"one": ONE, "two": TWO}, {"A_VARIABLE": " sk-three\r\n"}
    )
    return {place: key.get_secret_value() for place, key in found.items()}


@pytest.mark.parametrize(
    ("setting", "places"),
    [
        ("one=openai", ["openai"]),
        ({"openai": "one"}, ["openai"]),
        (" one = openai , two=anthropic", ["openai", "anthropic"]),
        (f"one={OURS}/", [OURS]),
        (f"one={OURS.replace('http', 'HTTP')}", [OURS]),
        ({OURS: "one", THEIRS: "two"}, [OURS, THEIRS]),
        ("", []),
        ({}, []),
    ],
)
def test_a_key_is_for_the_place_that_it_names(
    setting: str | Mapping[str, str], places: list[str]
) -> None:
    keys = [ONE.get_secret_value(), TWO.get_secret_value()]
    assert keys_for(setting, *MODELS) == dict(zip(places, keys, strict=False))


@pytest.mark.parametrize(
    ("models", "place"),
    [
        ([("openai/a", None)], "openai"),
        ([("openai/a", None), ("openai/b", None)], "openai"),
        ([("openai/a", OURS), ("anthropic/b", f"{OURS}/")], OURS),
        ([("gpt-5", None)], "gpt-5"),
    ],
)
def test_a_key_that_names_nobody_is_for_the_only_place(
    models: list[tuple[str, str | None]], place: str
) -> None:
    assert keys_for("one", *models) == {place: ONE.get_secret_value()}
    assert keys_for("env:A_VARIABLE", *models) == {place: "sk-three"}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("one", "must say whom it is for"),
        ("one=groq", "is named for groq, and the models are at openai, anthropic, http://127"),
        (f"one={OURS}/other", "is named for http://127.0.0.1:1/v1/other"),
        ("env:NOT_THERE=openai", "NOT_THERE was named for a key and holds none"),
    ],
)
def test_a_key_for_nobody_is_refused_in_one_sentence(setting: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        keys_for(setting, *MODELS)
    assert "--api-key-secret" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_places_are_several() -> None:
    with pytest.raises(UsageError, match=r"the models are at 2 places \(openai, anthropic\)"):
        keys_for("one", *MODELS[:2])


@pytest.mark.parametrize(
    "setting",
    [
        "sk-Proj_0123456789",
        "sk-0123456789abcdef0123456789abcdef",  # as some providers make them
        "one=openai,two=openai",
        "one,two",
        "one,two=openai",
        "one=openai,",
        "=openai",
        "env:=openai",
        "env:A-B=openai",
        "one=open ai",
        {"openai": ""},
        {"openai": "One"},
        {OURS: "one", f"{OURS}/": "two"},
        {"": "one", "openai": "two"},
    ],
)
def test_what_names_no_key_is_refused_and_not_shown(setting: str | dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="NAME=PROVIDER") as caught:
        SessionSettings(api_key_secret=setting)
    assert "sk-" not in str(caught.value)
    # The command line shows what was found, but for texts that speak of a variable.
    assert "environment variable" in str(caught.value)


def test_a_block_may_have_a_long_name() -> None:
    name = "key-of-the-gateway-for-nights-2026-11"
    assert named_keys(name) == {"": name}


def test_an_address_with_a_password_is_no_place_for_a_key() -> None:
    with pytest.raises(ValidationError, match="may hold no user") as caught:
        SessionSettings(api_key_secret="one=http://me:secret@host/v1")
    assert "secret@" not in str(caught.value)


def test_settings_in_either_form_say_the_same() -> None:
    as_map = {"openai": "one", "HTTP://Host:80/v1/": "env:TWO"}
    as_text = "one=openai,env:TWO=http://host:80/v1"
    assert (
        named_keys(as_map)
        == named_keys(as_text)
        == {"openai": "one", "http://host:80/v1": "env:TWO"}
    )
    settings = SessionSettings(api_key_secret=as_map)
    assert SessionSettings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize("around", ["{}", " {}", "{}\r", "{}\r\n", "\t{}\n", "\u00a0{}\u2003"])
def test_white_space_around_a_key_goes(around: str) -> None:
    key = read_key(around.format("sk-0123456789"), "the block 'x'")
    assert key is not None
    assert key.get_secret_value() == "sk-0123456789"
    assert "0123456789" not in repr(key) + str(key)


def test_a_key_may_begin_and_end_with_any_printed_character() -> None:
    for key in ("!sk-0123456789~", "~sk-0123456789!"):
        assert read_key(key, "the block 'x'") == SecretStr(key)


@pytest.mark.parametrize("empty", ["", " ", "\r\n", "\t\u00a0"])
def test_an_empty_key_is_none(empty: str) -> None:
    assert read_key(empty, "the block 'x'") is None


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ('"sk-0123456789"', "quotation mark"),
        ("'sk-0123456789'", "apostrophe"),
        ("`sk-0123456789`", "grave accent"),
        ("\u201csk-0123456789\u201d", "left double quotation mark, right double quotation mark"),
        ("\u2018sk-0123456789\u2019", "left single quotation mark, right single quotation mark"),
        ("\u00absk-0123456789\u00bb", "left-pointing double angle quotation mark"),
        ("sk-0123\u201d456789", "right double quotation mark"),
        ("sk-0123'456789", "apostrophe"),
        ("sk-0123\n456789", "control character 0a"),
        ("sk-0123\x00456789", "control character 00"),
        ("sk-0123\x7f456789", "control character 7f"),
        ("\x1b[0msk-0123456789", "control character 1b"),
        ("Bearer sk-0123456789", "space"),
        ("sk-0123456789\u200b", "zero width space"),
        ("\ufeffsk-0123456789", "zero width no-break space"),
        ("sk-0123\u00e9456789", "latin small letter e with acute"),
    ],
)
def test_what_cannot_be_a_key_is_refused_without_showing_it(value: str, name: str) -> None:
    with pytest.raises(UsageError, match=name) as caught:
        read_key(value, "the variable OPENAI_API_KEY")
    assert "the variable OPENAI_API_KEY" in str(caught.value)
    assert "0123" not in str(caught.value)
    assert "0123" not in redact(f"refused: {value}")


def test_the_environments_keys_are_brought_to_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedEndpoint([GOOD]) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.api_base)
        monkeypatch.setenv("OPENAI_API_KEY", " sk-of-the-environment\r\n")
        chosen = choose_proposer(SessionSettings(model="openai/scripted"))
        chosen.proposer.propose(sample_brief())
        assert endpoint.requests[0].headers["authorization"] == "Bearer sk-of-the-environment"
    assert "sk-of-the" not in repr(chosen) + repr(vars(chosen.proposer))


@pytest.mark.parametrize("model", ["openai/x", "gpt-5", "anthropic/y,openai/x", "openai_like/x"])
def test_a_variable_that_holds_no_key_is_refused_at_the_start(model: str) -> None:
    environment = {"OPENAI_API_KEY": '"sk-0123456789"', "OTHER_TOKEN": "'x'"}
    with pytest.raises(UsageError, match="the variable OPENAI_API_KEY") as caught:
        choose_proposer(SessionSettings(model=model), environment=environment)
    assert "0123456789" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        SessionSettings(proposer="knobs"),
        SessionSettings(model=f"openai/x@{OURS}"),
        SessionSettings(model="openai/x", api_base=OURS),
        SessionSettings(model="anthropic/x"),
    ],
)
def test_a_variable_that_nobody_reads_stops_nothing(settings: SessionSettings) -> None:
    environment = {"OPENAI_API_KEY": '"x"', "ANTHROPIC_API_KEY": "sk-0123456789"}
    choose_proposer(settings, environment=environment)


def test_an_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " \r\n")
    proposer = choose_proposer(SessionSettings(model="openai/x")).proposer
    with pytest.raises(ModelRefused, match="export OPENAI_API_KEY"):
        proposer.propose(sample_brief())


def test_whose_variables_are_looked_at() -> None:
    environment = dict.fromkeys(
        ("OPENAI_API_KEY", "OPENAI_BASE_URL", "TOGETHERAI_API_KEY", "GOOGLE_API_KEY", "A_TOKEN"),
        "x",
    )
    assert key_variables("openai/x", environment) == ["OPENAI_API_KEY"]
    assert key_variables("together_ai/x", environment) == ["TOGETHERAI_API_KEY"]
    keys = ["OPENAI_API_KEY", "TOGETHERAI_API_KEY", "GOOGLE_API_KEY"]
    assert key_variables("gemini/x", environment) == keys
    assert key_variables("gpt-5", environment) == keys


def test_no_key_goes_to_an_address_that_it_was_not_named_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every endpoint fails, so that each trial asks all of them."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    down = [Failure(503)] * 9
    with (
        ScriptedEndpoint(down) as ours,
        ScriptedEndpoint(down) as theirs,
        ScriptedEndpoint(down) as provider,
    ):
        monkeypatch.setenv("OPENAI_BASE_URL", provider.api_base)
        models = f"openai/a@{ours.api_base},openai/b@{theirs.api_base},openai/c"

        def sent(setting: str | None) -> list[str]:
            """What each endpoint was sent as a key."""
            settings = SessionSettings(model=models, api_key_secret=setting)
            blocks = {"one": ONE, "two": TWO}
            proposer = choose_proposer(settings, api_keys=blocks).proposer
            with pytest.raises(Exception, match="503"):
                proposer.propose(sample_brief())
            said = [each.requests[-1].headers["authorization"] for each in (ours, theirs, provider)]
            return [each.removeprefix("Bearer ") for each in said]

        one, environment, none = ONE.get_secret_value(), "sk-of-the-environment", PLACEHOLDER_KEY
        two = TWO.get_secret_value()
        assert sent(None) == [none, none, environment]
        assert sent(f"one={ours.api_base}") == [one, none, environment]
        assert sent("one=openai") == [none, none, one]
        assert sent(f"one={theirs.api_base},two=openai") == [none, one, two]
        assert sent(f"env:OPENAI_API_KEY={ours.api_base}") == [environment, none, environment]


@pytest.mark.parametrize("status", [401, 403])
def test_an_address_that_wants_a_key_is_told_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    with ScriptedEndpoint([Failure(status, "who are you")]) as endpoint:
        settings = SessionSettings(model="openai/scripted", api_base=endpoint.api_base)
        with pytest.raises(ModelRefused) as caught:
            choose_proposer(settings).proposer.propose(sample_brief())
        said = str(caught.value)
        assert "no key was sent" in said
        assert f"--api-key-secret env:OPENAI_API_KEY={endpoint.api_base}" in said


def test_places_are_providers_or_addresses() -> None:
    assert place_of(("openai/gpt-5", None)) == "openai"
    assert place_of(("openrouter/meta/llama", None)) == "openrouter"
    assert place_of(("gpt-5", None)) == "gpt-5"
    assert place_of(("openai/x", "HTTP://Host:80/V1/")) == "http://host:80/V1"


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("openai/a", ["OPENAI_API_BASE", "OPENAI_BASE_URL"]),
        ("anthropic/b", ["ANTHROPIC_BASE_URL"]),
        ("azure_ai/c", ["AZURE_API_BASE"]),
        ("bedrock/d", ["AWS_BEDROCK_RUNTIME_ENDPOINT"]),
        ("gemini/e", []),
        ("f", ["AWS_BEDROCK_RUNTIME_ENDPOINT", "AZURE_API_BASE", "OPENAI_API_BASE"]),
    ],
)
def test_an_address_that_a_variable_puts_in_force_is_known(model: str, names: list[str]) -> None:
    environment = dict.fromkeys(names, " http://127.0.0.1:1/v1 ") | {
        "NIGHTLAB_API_BASE": "http://127.0.0.1:2",
        "GEMINI_API_BASE": " ",
        "OPENAI_API_KEY": "sk-0123456789",
        "MY_OPENAI_BASE_URL": "http://127.0.0.1:3",
        "MISTRAL_API_BASE": "",
    }
    if model != "f":
        environment["COHERE_API_BASE"] = "http://127.0.0.1:4"
    else:
        environment.pop("MY_OPENAI_BASE_URL")
    assert addresses_in_force(model, environment) == dict.fromkeys(names, "http://127.0.0.1:1/v1")


@pytest.mark.parametrize("variable", ["OPENAI_BASE_URL", "OPENAI_API_BASE"])
def test_where_such_a_variable_sends_a_model_is_said_without_a_password(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the session's first line, and wherever a model does not answer."""
    with ScriptedEndpoint([GOOD]) as endpoint:
        there = endpoint.api_base.replace("://", "://me:canary-word@")
        monkeypatch.setenv(variable, there)
        chosen = choose_proposer(SessionSettings(study="x", model="openai/one"))
        assert f"openai/one at {endpoint.api_base} ({variable})" in chosen.why
        assert "canary" not in chosen.why
        monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
        assert chosen.proposer.propose(sample_brief()).error is None
        assert len(endpoint.requests) == 1, "litellm sends it there"
    named = choose_proposer(SessionSettings(study="x", model="openai/one", api_base=OURS))
    assert variable not in named.why
