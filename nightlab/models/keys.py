"""Keys of models: what is one, and whose it is.

A key goes to the provider or to the address that it was named for, and nowhere else. The
variables of a provider (``OPENAI_API_KEY``), which litellm reads by itself, are for the
provider's own address: what stands at another one may be anybody's.
"""

import unicodedata
from collections.abc import Iterable, Mapping, MutableMapping

from pydantic import SecretStr

from nightlab.errors import UsageError
from nightlab.redaction import is_secret_name, learn
from nightlab.settings import VARIABLE_PREFIX, named_keys, normal_address

KEY_VARIABLE_ENDING = "_API_KEY"
ADDRESS_VARIABLE_ENDINGS = ("_API_BASE", "_BASE_URL", "_API_URL", "_ENDPOINT")
QUOTES = frozenset("\"'`")

Model = tuple[str, str | None]
"""A model's name and, where it has one of its own, its address."""


def read_key(value: str, where: str) -> SecretStr | None:
    """A key as it is to be sent, without white space around it; None where nothing is left.

    Whatever became of it, it is kept out of all texts from now on. ``where`` names what holds it.

    Raises:
        UsageError: it has characters that no key has.
    """
    learn(value)
    bare = value.strip()
    odd = [each for each in bare if each in QUOTES or not "!" <= each <= "~"]
    if odd:
        names = {unicodedata.name(each, f"CONTROL CHARACTER {ord(each):02X}") for each in odd}
        raise UsageError(
            f"The key in {where} must be the key alone, in one piece, and there is more in it "
            f"({', '.join(sorted(names)).lower()}): set it again, without quotes and line breaks."
        )
    return SecretStr(bare) if bare else None


def place_of(model: Model) -> str:
    """What a key has to be named for to reach a model: its address, or else its provider."""
    name, address = model
    return normal_address(address) if address else name.partition("/")[0]


def keys_of_models(
    models: Iterable[Model],
    setting: str | Mapping[str, str] | None,
    blocks: Mapping[str, SecretStr],
    environment: Mapping[str, str],
) -> dict[str, SecretStr]:
    """The keys that were named for the models' places, by place.

    Args:
        models: of the session.
        setting: ``api_key_secret``.
        blocks: what Prefect's Secret blocks hold, by name; one that is not there has not been
            read yet, and only whom it is for is checked.
        environment: for keys that are named by their variable.

    Raises:
        UsageError: a key is for a place that no model has, or for none where there are several;
            a variable that was named is not set, or holds what cannot be a key.
    """
    places = list(dict.fromkeys(map(place_of, models)))
    keys: dict[str, SecretStr] = {}
    for named, source in named_keys(setting).items():
        if not named and len(places) > 1:
            raise UsageError(
                f"A key must say whom it is for, and {source!r} does not, while the models are at "
                f"{len(places)} places ({', '.join(places)}): write --api-key-secret "
                f"{source}={places[0]}, with commas between several."
            )
        place = named or places[0]
        if place not in places:
            raise UsageError(
                f"The key {source!r} is named for {place}, and the models are at "
                f"{', '.join(places)}: name it for one of these with --api-key-secret "
                f"{source}={places[0]}."
            )
        key = blocks.get(source)
        if source.startswith(VARIABLE_PREFIX):
            key = _key_of_variable(source.removeprefix(VARIABLE_PREFIX), environment)
        if key is not None:
            keys[place] = key
    return keys


def _key_of_variable(name: str, environment: Mapping[str, str]) -> SecretStr:
    key = read_key(environment.get(name, ""), f"the variable {name}")
    if key is None:
        raise UsageError(
            f"The variable {name} was named for a key and holds none: export {name}, or leave it "
            "out of --api-key-secret."
        )
    return key


def settle_variables(models: Iterable[Model], environment: MutableMapping[str, str]) -> None:
    """Bring the variables that litellm reads for these models to what is to be sent.

    White space goes, and a variable without anything else is unset.

    Raises:
        UsageError: one holds what cannot be a key.
    """
    for model, address in models:
        if address:
            continue  # none of them goes there
        for name in key_variables(model, environment):
            key = read_key(environment[name], f"the variable {name}")
            if key is None:
                del environment[name]
            elif environment[name] != key.get_secret_value():
                environment[name] = key.get_secret_value()


def key_variables(model: str, environment: Mapping[str, str]) -> list[str]:
    """The variables that may hold the key of a model's provider.

    Those that have its name; where there are none, litellm may go by another name, and all that
    are named like a key of an interface are meant.
    """
    word = model.partition("/")[0].partition("_")[0].upper()
    named = [each for each in environment if word in each.upper() and is_secret_name(each)]
    return named or [each for each in environment if each.endswith(KEY_VARIABLE_ENDING)]


def addresses_in_force(model: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Where variables that litellm reads send a model's calls, by the variable; mostly nowhere.

    They are named after the provider; where a model names none, any provider's may be meant.
    """
    provider, slash, _ = model.partition("/")
    word = provider.partition("_")[0].upper() if slash else ""
    return {
        name: value.strip()
        for name, value in sorted(environment.items())
        if name.upper().endswith(ADDRESS_VARIABLE_ENDINGS)
        and name.upper().removeprefix("AWS_").startswith(word)
        and not name.startswith("NIGHTLAB_")
        and value.strip()
    }
