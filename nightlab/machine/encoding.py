"""Names in bytes that are not UTF-8, which no record, address or database could hold."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from nightlab.errors import UsageError

SETTINGS = ("NIGHTLAB_", "PREFECT_", "MLFLOW_", "HOME", "TMPDIR", "XDG_CACHE_HOME")


def require_utf8(arguments: Iterable[str], environment: Mapping[str, str], folder: Path) -> None:
    """Refuse what a person gave in other bytes.

    Args:
        arguments: of the command line.
        environment: whose settings are looked at; other variables are nobody's here.
        folder: the working directory.

    Raises:
        UsageError: something is not UTF-8; the sentence names it.
    """
    given = [(f"the argument {argument!r}", argument) for argument in arguments]
    given.append((f"the folder {str(folder)!r}", str(folder)))
    given += [
        (f"{name}={value!r} in the environment", value)
        for name, value in environment.items()
        if name.startswith(SETTINGS)
    ]
    for what, text in given:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"Names and settings have to be UTF-8, and {what} holds other bytes (written as "
                "\\udc80 to \\udcff): rename it, or give it in UTF-8."
            ) from None
