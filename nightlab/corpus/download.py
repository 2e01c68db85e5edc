"""Fetching one large file over HTTP so that a break costs only what was in flight.

The bytes go to ``NAME.part``; beside it ``NAME.part.json`` remembers which version of the
file they belong to (ETag or Last-Modified). A later attempt asks for the rest with
``Range`` and ``If-Range``: a server whose file changed meanwhile sends the new one whole,
and the fetch starts over. A file that is complete is hashed, checked by the caller, given
its name, and its SHA-256 is kept in ``NAME.json``, against which every reuse is checked.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from nightlab.corpus.documents import Progress
from nightlab.errors import CorpusError
from nightlab.records import Frozen

_CHUNK_BYTES = 1 << 20
_TIMEOUT = httpx.Timeout(30.0)
_PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often and how patiently a broken fetch is taken up again."""

    attempts: int = 6
    first_delay_seconds: float = 1.0
    """Doubled after every attempt."""
    longest_delay_seconds: float = 30.0

    def delays(self) -> Iterator[float]:
        """Yield the pause after each attempt but the last."""
        for attempt in range(self.attempts - 1):
            yield min(self.longest_delay_seconds, self.first_delay_seconds * 2**attempt)


DEFAULT_RETRIES = Retries()


class Sidecar(Frozen):
    """What is known of a complete file."""

    address: str
    bytes: int
    sha256: str


class _PartState(Frozen):
    """Which version of the file a ``.part`` holds the beginning of."""

    address: str
    validator: str


class _Broken(Exception):  # noqa: N818 - a state of one attempt; never leaves this module
    """The attempt failed in a way that another one may mend."""


def fetch(
    client: httpx.Client,
    address: str,
    path: Path,
    *,
    check: Callable[[Path], object],
    setting: str,
    retries: Retries,
    progress: Progress,
) -> Sidecar:
    """Have the file of ``address`` at ``path``: complete, checked, hashed.

    A file that is there already, with the size and hash of its sidecar, is not fetched.

    Args:
        client: Follows redirects; its timeouts hold for each read.
        address: Where the file lies.
        path: Where it shall lie. Its folder exists.
        check: Raises CorpusError for a file that is complete but not what it should be.
        setting: What a person can change, for the error's sentence.
        retries: Bounds of the attempts.
        progress: Told about every megabyte.

    Raises:
        CorpusError: the server refuses, or all attempts broke.
    """
    known = _reusable(path, address)
    if known is not None:
        return known
    part = path.with_name(path.name + ".part")
    broken: _Broken | None = None
    for delay in (0.0, *retries.delays()):
        if broken is not None:
            progress(f"fetching {path.name} broke off ({broken}); again in {delay:.0f} s", None)
            time.sleep(delay)
        try:
            _fetch_rest(client, address, part, setting, progress)
            return _finish(part, path, address, check)
        except _Broken as error:
            broken = error
    raise CorpusError(
        f"the corpus needs {address}, and {retries.attempts} attempts broke off (the last: "
        f"{broken}): run the same command again, which goes on from where it stopped, or set "
        f"{setting}."
    )


def default_client() -> httpx.Client:
    """Return a client that asks for the bytes as they are, so that lengths can be compared."""
    return httpx.Client(
        timeout=_TIMEOUT, follow_redirects=True, headers={"Accept-Encoding": "identity"}
    )


def _reusable(path: Path, address: str) -> Sidecar | None:
    """Return the sidecar of a file that is whole and unchanged, or None."""
    sidecar_path = path.with_name(path.name + ".json")
    if not (path.is_file() and sidecar_path.is_file()):
        return None
    try:
        sidecar = Sidecar.model_validate_json(sidecar_path.read_bytes())
    except ValueError:
        return None
    same = (
        sidecar.address == address
        and path.stat().st_size == sidecar.bytes
        and _sha256(path) == sidecar.sha256
    )
    return sidecar if same else None


def _fetch_rest(
    client: httpx.Client, address: str, part: Path, setting: str, progress: Progress
) -> None:
    """Make one attempt at what is still missing of ``part``."""
    state_path = part.with_name(part.name + ".json")
    state = _part_state(state_path, address)
    have = part.stat().st_size if state is not None and part.is_file() else 0
    headers = {"Range": f"bytes={have}-", "If-Range": state.validator} if have and state else {}
    try:
        with client.stream("GET", address, headers=headers) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                if response.headers.get("Content-Range") == f"bytes */{have}":
                    return  # nothing is missing: an earlier run ended between last byte and check
                state_path.unlink(missing_ok=True)
                raise _Broken("the server's file is shorter than what was fetched of it")
            _require_success(response, address, setting)
            begin, total = _extent(response, have)
            if begin == 0:
                state_path.unlink(missing_ok=True)  # until the part holds bytes of this version
            with part.open("r+b" if begin else "wb") as file:
                file.truncate(begin)
                file.seek(begin)
                validator = _validator(response)
                if begin == 0 and validator:
                    text = _PartState(address=address, validator=validator).model_dump_json()
                    state_path.write_text(text, encoding="utf-8")
                for chunk in response.iter_raw(_CHUNK_BYTES):
                    file.write(chunk)
                    share = file.tell() / total if total else None
                    progress(f"fetching {part.stem}: {file.tell() / 1e6:.0f} MB", share)
                got = file.tell()
    except httpx.HTTPError as error:
        raise _Broken(f"{type(error).__name__}: {error}".rstrip(": ")) from error
    except httpx.InvalidURL as error:
        raise CorpusError(
            f"the corpus needs an address, found {address!r}: set {setting}."
        ) from error
    if total is not None and got != total:
        raise _Broken(f"{got} of {total} bytes came")


def _require_success(response: httpx.Response, address: str, setting: str) -> None:
    status = f"{response.status_code} {response.reason_phrase}".strip()
    if response.status_code in _PASSING_STATUSES:
        raise _Broken(f"the server answered {status}")
    if response.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
        raise CorpusError(
            f"the corpus needs {address}, and the server answered {status}: set {setting}."
        )


def _extent(response: httpx.Response, have: int) -> tuple[int, int | None]:
    """Return where the body begins in the file, and the file's size where it is known."""
    if response.status_code == httpx.codes.OK:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() else None
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != have:
        raise _Broken(f"the server sent another part than the one from byte {have}")
    return have, None if match[2] == "*" else int(match[2])


def _validator(response: httpx.Response) -> str:
    """Return what If-Range may carry: a strong ETag, or else the date; may be empty."""
    tag: str = response.headers.get("ETag", "")
    if tag and not tag.startswith("W/"):
        return tag
    date: str = response.headers.get("Last-Modified", "")
    return date


def _part_state(path: Path, address: str) -> _PartState | None:
    try:
        state = _PartState.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return state if state.address == address else None


def _finish(part: Path, path: Path, address: str, check: Callable[[Path], object]) -> Sidecar:
    """Check the complete part and give it its name; one that fails the check is discarded."""
    state_path = part.with_name(part.name + ".json")
    try:
        check(part)
    except CorpusError as error:
        part.unlink()
        state_path.unlink(missing_ok=True)
        raise _Broken(str(error)) from error
    sidecar = Sidecar(address=address, bytes=part.stat().st_size, sha256=_sha256(part))
    sidecar_path = path.with_name(path.name + ".json")
    sidecar_path.write_text(sidecar.model_dump_json(indent=1) + "\n", encoding="utf-8")
    part.rename(path)
    state_path.unlink(missing_ok=True)
    return sidecar


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
