"""What a study's remote did not take, as git bundles in the cache folder of the machine.

    <cache>/unpushed/<remote>/<study>.<clone>.bundle

A worker's clone is thrown away after the run, so what could not be pushed has to stand elsewhere.
After every push that fails the whole study (branch, records, evidence, marks, what else there is)
is written into one file of the session's clone; a push that succeeds removes it. The next session
of the study on the machine, in whatever clone of the same remote, takes such files in before it
chooses numbers, pushes what they hold and only then removes them; so does ``nightlab recover``.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nightlab.errors import LedgerError, RemoteError
from nightlab.events import Notice, publish
from nightlab.ledger.exchange import Exchange
from nightlab.ledger.names import StudyRefs
from nightlab.ledger.plumbing import Plumbing
from nightlab.ledger.remote import Remote

FOLDER = "unpushed"
_LONGEST_SLUG = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """One file with a study that its remote has not taken."""

    path: Path
    study: str
    remote: str
    """The folder that it stands in, which is named after its remote."""
    written_at: datetime
    trials: int
    """Records in it, of trials that the remote has already among them."""


class Bundles:
    """The bundles of one study and one remote on this machine.

    Args:
        cache: the user's cache folder for Nightlab, which clones share.
        remote: the study's.
        clone: names the clone that writes its own.
    """

    def __init__(self, cache: Path, remote: Remote, clone: str) -> None:
        self.remote = remote
        self.refs = remote.refs
        self.plumbing = remote.plumbing
        self.folder = cache / FOLDER / folder_name(remote.place)
        self.own = self.folder / f"{self.refs.study}.{clone}.bundle"
        self._taken: dict[Path, tuple[int, int]] = {}
        self._written: dict[str, str] = {}

    def write(self) -> Path:
        """Write what stands here of the study into this clone's bundle, and return its path.

        Raises:
            LedgerError: git or the system refused.
        """
        refs = self._refs()
        if refs and not (refs == self._written and self.own.is_file()):
            beside = self.own.with_name(f".{self.own.name}.new")
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                names = "".join(f"{ref}\n" for ref in refs).encode()
                self.plumbing.run(
                    "bundle", "create", "--quiet", str(beside), "--stdin", stdin=names
                )
                _flush(beside)
                os.replace(beside, self.own)
                _flush(self.folder)
            except OSError as error:
                raise LedgerError(
                    f"What is not pushed of study {self.refs.study!r} could not be kept in "
                    f"{self.folder} ({error}): make room there, or set NIGHTLAB_CACHE."
                ) from error
            self._written = refs
        return self.own

    def take_in(self) -> tuple[Path, ...]:
        """Bring in what sessions on this machine left; return those files, which stay for now.

        One that cannot be read, or builds on commits that are nowhere, is said and stays.
        """
        brought = []
        for path in self.standing():
            try:
                stat = path.stat()
                self._fetch(path)
            except (RemoteError, LedgerError, OSError) as error:
                publish(Notice(text=f"The bundle {path} could not be taken in, and stays: {error}"))
                continue
            self._taken[path] = (stat.st_ino, stat.st_mtime_ns)
            brought.append(path)
        return tuple(brought)

    def standing(self) -> tuple[Path, ...]:
        """The study's files, in the order in which they were written."""
        found = self.folder.glob(f"{self.refs.study}.*.bundle")
        return tuple(sorted(found, key=lambda path: path.stat().st_mtime_ns))

    def clear(self) -> None:
        """Remove what is on the remote by now: this clone's file, and those that were taken in."""
        self.own.unlink(missing_ok=True)
        self._written = {}
        for path, (inode, written_ns) in self._taken.items():
            if path.is_file():
                stat = path.stat()
                # One that was written anew belongs to a session that is still at work.
                if (stat.st_ino, stat.st_mtime_ns) == (inode, written_ns):
                    path.unlink()
        self._taken = {}

    def _fetch(self, path: Path) -> None:
        source = Remote(self.plumbing.root, str(path), self.refs.study)
        if not source.study_refs():
            raise RemoteError("nothing of the study is in it.")
        try:
            source.fetch(ours_first=True)
        except RemoteError:
            # A shallow clone lacks the commits that one from another day builds on.
            if not self.remote.deepen():
                raise
            source.fetch(ours_first=True)

    def _refs(self) -> dict[str, str]:
        found = self.plumbing.refs(self.refs.branch, self.refs.consolidated, self.refs.root)
        wanted = (self.refs.branch, self.refs.consolidated)
        return {
            ref: oid
            for ref, oid in found.items()
            if ref in wanted or self.refs.kind(ref) is not None
        }


def bundles_in(cache: Path, plumbing: Plumbing) -> tuple[Bundle, ...]:
    """All bundles on this machine, of any study and remote, in the order of their writing.

    Args:
        cache: the user's cache folder for Nightlab.
        plumbing: any repository; git needs one.
    """
    paths = (cache / FOLDER).glob("*/*.bundle")
    found = [bundle for path in paths for bundle in _read(path, plumbing)]
    return tuple(sorted(found, key=lambda bundle: bundle.written_at))


def bundles_of(cache: Path, plumbing: Plumbing, study: str) -> list[Path]:
    """The bundles of a study, of all remotes that the repository knows."""
    names = plumbing.line("remote").split()
    places = {Exchange(plumbing, name).place for name in names}
    folders = [cache / FOLDER / folder_name(place) for place in sorted(places)]
    return [path for folder in folders for path in sorted(folder.glob(f"{study}.*.bundle"))]


def folder_name(place: str) -> str:
    """A folder's name for where a remote is: readable, and another for every place."""
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", place).strip("-.")[-_LONGEST_SLUG:]
    return f"{slug}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"


def _read(path: Path, plumbing: Plumbing) -> Iterator[Bundle]:
    study = path.name.split(".")[0]
    result = plumbing.attempt("bundle", "list-heads", str(path))
    if result.status != 0:
        return
    refs = [line.split(" ", 1)[1] for line in result.stdout.decode().split("\n") if line]
    yield Bundle(
        path=path,
        study=study,
        remote=path.parent.name,
        written_at=datetime.fromtimestamp(path.stat().st_mtime, UTC),
        trials=len(StudyRefs(study).numbers(refs, "trials")),
    )


def _flush(path: Path) -> None:
    """Have the system write a file or a folder to its disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
