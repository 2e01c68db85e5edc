"""Keys: from the environment, or from a Prefect Secret block, and never from a parameter."""

from typing import cast

from prefect.blocks.system import Secret
from prefect.exceptions import PrefectException

from nightlab.errors import UsageError


def read_api_key(block: str | None) -> str | None:
    """The key in a Prefect Secret block; None leaves the key to litellm's environment variables.

    Raises:
        UsageError: there is no such block.
    """
    if block is None:
        return None
    try:
        secret = cast("Secret[str]", Secret.load(block))
    except (ValueError, PrefectException) as error:
        raise UsageError(
            f"A Prefect Secret block named {block!r} was asked for and could not be read "
            f"({error}): make it on Prefect's Blocks page, or leave api_key_secret empty and "
            "set the provider's environment variable."
        ) from error
    return str(secret.get())
