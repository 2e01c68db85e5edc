"""Keys in Secret blocks of a real Prefect server."""

import json
from collections.abc import Iterator

import pytest
from prefect.blocks.system import Secret
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.keys import read_api_keys
from nightlab.errors import UsageError
from nightlab.redaction import redact

pytestmark = pytest.mark.slow

KEY = "sk-block-0123456789"


@pytest.fixture
def blocks(prefect_api: dict[str, str]) -> Iterator[None]:
    with temporary_settings({PREFECT_API_URL: prefect_api["PREFECT_API_URL"]}):
        yield


@pytest.mark.usefixtures("blocks")
def test_keys_are_read_by_their_names_and_stripped() -> None:
    Secret(value=f" {KEY}\r\n").save("one", overwrite=True)
    Secret(value=f"{KEY}-2").save("two", overwrite=True)
    Secret(value="0123456789" * 2).save("three", overwrite=True)
    keys = read_api_keys("one=openai,two=anthropic,env:THREE=groq")
    assert {name: key.get_secret_value() for name, key in keys.items()} == {
        "one": KEY,
        "two": f"{KEY}-2",
    }
    assert KEY not in repr(keys)
    assert read_api_keys("three")["three"].get_secret_value().endswith("123456789")
    assert KEY not in redact(json.dumps({"said": KEY}))
    assert read_api_keys({"openai": "two"}).keys() == {"two"}
    assert read_api_keys(None) == read_api_keys("env:THREE") == {}


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (f"'{KEY}'", "the Prefect Secret block 'odd' must be the key alone"),
        (f"{KEY}\n{KEY}", "control character 0a"),
        (" \r\n", "block 'odd' must hold a key as text and holds none"),
        ({"key": KEY}, "block 'odd' must hold a key as text and holds none"),
    ],
)
def test_what_is_no_key_is_refused_by_the_blocks_name(value: object, words: str) -> None:
    Secret(value=value).save("odd", overwrite=True)
    with pytest.raises(UsageError, match=words) as caught:
        read_api_keys("odd")
    assert "0123456789" not in str(caught.value)


@pytest.mark.usefixtures("blocks")
def test_a_block_that_is_not_there_is_refused_by_its_name() -> None:
    with pytest.raises(UsageError, match="block named 'nobody' was asked for") as caught:
        read_api_keys("nobody=openai")
    assert "Blocks page" in str(caught.value)
    assert caught.value.__cause__ is None
