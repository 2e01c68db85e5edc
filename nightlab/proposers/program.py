"""The person's research brief, and the versions that a study has seen of it."""

import hashlib

from nightlab.errors import UsageError
from nightlab.settings import Places, SessionSettings

VERSION_CHARACTERS = 10


def read_program(settings: SessionSettings, places: Places) -> str:
    """The research brief, read anew for every trial, so that editing it takes effect.

    Raises:
        UsageError: there is no such file, or it is not text.
    """
    path = places.root / settings.program
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The research brief {settings.program!r} needs to be a readable text file in "
            f"{places.root}, and reading it failed: {error}. `git checkout program.md` brings back "
            "the one that came with Nightlab."
        ) from error


def program_version(text: str) -> str:
    """A name for a text of the brief: the beginning of its hash; empty for no text."""
    if not text:
        return ""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:VERSION_CHARACTERS]
