"""Fetching one file of a data set from the Hugging Face hub, or from a mirror of it.

``huggingface_hub`` does the work (docs/decisions/0016). Added here: it writes into one folder
only, sends no key, tells its progress, is asked again where it gives up at once, and what it
brought is hashed and checked.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

from nightlab.corpus.documents import Progress
from nightlab.errors import CorpusError

_ATTEMPTS = 3
_ASK_SECONDS = 20


def fetch(
    repository: str,
    name: str,
    folder: Path,
    *,
    endpoint: str | None,
    check: Callable[[Path], object],
    setting: str,
    progress: Progress,
) -> str:
    """Have a data set's file in ``folder``, complete and checked, and return its SHA-256.

    A file that came before is not asked for again while it has the hash that was noted then.
    The caller holds a lock on the folder: the library would fetch twice, and parts are swept.

    Args:
        repository: The data set, ``owner/name``.
        name: The file's name in it.
        folder: Where it shall lie. It exists.
        endpoint: The hub's address; None for the one in ``HF_ENDPOINT``, or huggingface.co.
        check: Raises CorpusError for a file that is complete but not what it should be.
        setting: What a person can change, for the error's sentence.
        progress: Told every ten megabytes.

    Raises:
        CorpusError: the server refuses, or all attempts failed.
        OSError: the folder cannot be written to, or the disk is full.
    """
    import httpx
    from huggingface_hub import constants, hf_hub_download, hf_hub_url
    from huggingface_hub._local_folder import read_download_metadata

    constants.HF_HUB_DISABLE_XET = True  # a second protocol, with a cache in the home folder
    constants.HF_HUB_DISABLE_TELEMETRY = True
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # or it writes into the live view
    for left_by_a_kill in folder.rglob("*.incomplete"):
        left_by_a_kill.unlink()
    address = hf_hub_url(repository, name, repo_type="dataset", endpoint=endpoint)
    attempt = 0
    while True:
        attempt += 1
        is_here = read_download_metadata(folder, name) is not None
        if not is_here:
            progress(f"fetching {name}", None)
        try:
            hf_hub_download(
                repository,
                name,
                repo_type="dataset",
                local_dir=folder,
                endpoint=endpoint,
                token=False,
                local_files_only=is_here,
                tqdm_class=cast(Any, partial(_Bar, name, progress)),
            )
            noted = read_download_metadata(folder, name)
            return _checked(folder / name, noted.etag if noted else "", check)
        except (CorpusError, OSError, httpx.HTTPError, httpx.InvalidURL) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the disk: what the library raises itself carries no number
            reason, may_mend = _judged(error)
            if attempt == _ATTEMPTS or not may_mend:
                raise CorpusError(
                    f"the corpus needs {address}, and it did not come ({reason}): run the same "
                    f"command again later, or set {setting}."
                ) from error
        progress(f"fetching {name} failed ({reason}); again", None)
        time.sleep(attempt)


def ask(repository: str, name: str, *, endpoint: str | None, setting: str) -> None:
    """Ask once whether the hub has a data set's file.

    Args:
        repository: as for ``fetch``.
        name: the file's.
        endpoint: the hub's address.
        setting: what a person can change.

    Raises:
        CorpusError: it does not answer, or has none.
    """
    import httpx
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    address = hf_hub_url(repository, name, repo_type="dataset", endpoint=endpoint)
    try:
        get_hf_file_metadata(address, token=False, timeout=_ASK_SECONDS)
    except (OSError, httpx.HTTPError, httpx.InvalidURL) as error:
        reason, _ = _judged(error)
        raise CorpusError(
            f"the corpus needs {address}, and it cannot be had ({reason}): set {setting}."
        ) from error


class _Bar:
    """What the library takes for a bar of tqdm."""

    def __init__(
        self, name: str, tell: Progress, *, total: int | None, initial: int, **_: object
    ) -> None:
        self._name, self._tell, self._total, self._bytes = name, tell, total, initial

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, more_bytes: int) -> None:
        """Take in that so many more bytes came, or fewer than none where it starts over."""
        self._bytes += more_bytes
        share = self._bytes / self._total if self._total else None
        self._tell(f"fetching {self._name}: {self._bytes / 1e6:.0f} MB", share)


def _checked(path: Path, tag: str, check: Callable[[Path], object]) -> str:
    """Return the file's SHA-256; a file that is not what the tag says, or fails, is removed."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if len(tag) == len(digest) and tag != digest:  # shorter tags are no SHA-256
            raise CorpusError(f"its SHA-256 is {digest[:12]}…, the hub's {tag[:12]}…: remove it.")
        check(path)
    except CorpusError:
        path.unlink()
        raise
    return digest


def _judged(error: Exception) -> tuple[str, bool]:
    """Say what happened, and whether another attempt may mend it.

    Advice is left out, and the address that the library was led to, which is signed.
    """
    import httpx
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    may_mend = not isinstance(error, LocalEntryNotFoundError | httpx.InvalidURL)
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # refused, or asked six times by the library itself
    if isinstance(error, HfHubHTTPError):
        status, phrase = error.response.status_code, error.response.reason_phrase
        return f"the server answered {status} {phrase}".strip(), may_mend and status >= 500
    if isinstance(error, CorpusError):
        fact, _, remedy = str(error).rpartition(": ")  # the remedy was taken: it is removed
        return fact or remedy, may_mend
    said = str(error).partition("\n")[0].rstrip(". ")
    return f"{type(error).__name__}: {said}".rstrip(": "), may_mend
