"""Folders that must be there and take files; a user may have no home."""

import os
import tempfile
from pathlib import Path

from nightlab.errors import UsageError

PROBE_BYTES = 65_536
"""More than the system sets aside for a file's name alone: a full disk shows."""


def require_writable(folder: Path, purpose: str, remedy: str) -> None:
    """Make a folder where it is missing, and write in it.

    Args:
        folder: which one.
        purpose: who needs it, as the beginning of a sentence: "Nightlab keeps corpora in".
        remedy: what mends it, as a clause.

    Raises:
        UsageError: the system refuses; the sentence says why.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".writable-") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
    except OSError as error:
        raise UsageError(
            f"{purpose} {folder}, and writing there failed ({error.strerror}): {remedy}."
        ) from error


def require_home() -> None:
    """Refuse a user without a home, as in a container under a number of one's own.

    Raises:
        UsageError: neither HOME nor the system's list of users names one.
    """
    if at_home("~") is None:
        raise UsageError(
            f"MLflow and Prefect need a home folder, and this system knows none for user "
            f"{os.getuid()}: set HOME to a folder that you can write to."
        )


def at_home(path: str) -> Path | None:
    """The path with ``~`` resolved; None where that is the home of nobody."""
    found = os.path.expanduser(path)
    return None if found.startswith("~") else Path(found)
