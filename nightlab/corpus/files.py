"""Text from the files under a folder."""

import hashlib
import os
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from nightlab import events
from nightlab.corpus.documents import Progress
from nightlab.corpus.formats import (
    READABLE,
    Format,
    ending_of,
    format_of,
    is_compressed,
    texts_of,
    unreadable,
)
from nightlab.errors import CorpusError
from nightlab.records.counting import counted
from nightlab.shown import for_terminal

_LONGEST_LIST = 8


@dataclass(frozen=True)  # no slots: a cached property needs a __dict__
class FolderSource:
    """The files under a folder, read by their ending.

    ``.jsonl``, ``.ndjson``: one JSON object a line, its field ``text``. ``.parquet``: the column
    ``text``. Other data is refused by name; all else is plain text in UTF-8. Links are followed.
    Files and folders whose names begin with a dot are passed over.
    """

    folder: Path
    passed_over: Counter[str] = field(default_factory=Counter, compare=False, repr=False)
    """What was left out of the text, by its kind."""

    def identity(self) -> str:
        """Return a hash over the names and contents of all files; reads them once, whole."""
        return self._summary

    def origins(self) -> tuple[str, ...]:
        """Return a line for the whole folder, which may hold very many files, and what it lacks."""
        return (self._summary, *(f"{what}: {n}" for what, n in self.passed_over.items()))

    @cached_property
    def _summary(self) -> str:
        files = self._files
        summary = hashlib.sha256()
        for path in files:
            try:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise unreadable(path, error) from error
            summary.update(self._name(path) + f" {digest}\n".encode())
        return f"{len(files)} files, names and contents sha256 {summary.hexdigest()}"

    def sizes(self) -> Iterator[int] | None:
        """Give the size of every file; of what is compressed, as Parquet is, only reading tells."""
        if any(format_of(path) is Format.PARQUET or is_compressed(path) for path in self._files):
            return None
        return (path.stat().st_size for path in self._files)

    def texts(self, progress: Progress) -> Generator[str, None, None]:
        """Yield the files' texts, in an order that mixes the sub-folders (hash of the name)."""

        def place(path: Path) -> bytes:
            return hashlib.blake2b(self._name(path), digest_size=16).digest()

        formats = {path: format_of(path) for path in self._files}  # refused before any is read
        events.publish(events.Notice(text=_said_of(self.folder, formats)))
        for path in sorted(self._files, key=place):
            for text in texts_of(path):
                if text is None:
                    self.passed_over["rows without text"] += 1
                else:
                    yield text
        for what, count in self.passed_over.items():
            text = f"The corpus passes over {count:,} {what} in {self.folder}."
            events.publish(events.Notice(text=for_terminal(text)))

    def _name(self, path: Path) -> bytes:
        return os.fsencode(path.relative_to(self.folder).as_posix())

    @cached_property
    def _files(self) -> list[Path]:
        if not self.folder.is_dir():
            raise CorpusError(
                f"the corpus 'path:{self.folder}' needs a folder with text files, and there is "
                "no such folder: correct --corpus (a relative one begins at the clone's root)."
            )
        try:
            files, broken = _walked(self.folder)
        except OSError as error:
            raise unreadable(Path(error.filename or self.folder), error) from error
        self.passed_over.clear()
        if broken:
            self.passed_over["links that lead nowhere"] = broken
        if not files:
            raise CorpusError(
                f"the corpus 'path:{self.folder}' needs text files ({READABLE}), found none: put "
                "some there, or correct --corpus."
            )
        return sorted(files)


def _walked(folder: Path) -> tuple[list[Path], int]:
    """List a folder's files, and count the links that lead nowhere.

    What is really there comes first and links after it, each folder once: so a loop ends, and a
    link to what the folder holds already adds nothing.
    """
    files: list[Path] = []
    seen: set[tuple[int, int]] = set()
    broken = 0
    waiting = [folder]
    while waiting:
        linked: list[Path] = []
        for path in _entries(waiting.pop(0), seen):
            if path.is_file():
                files.append(path)
            elif path.is_symlink():
                linked.append(path)
        for path in sorted(linked):
            if path.is_dir():
                waiting.append(path)
            else:
                broken += not path.exists()
    return files, broken


def _entries(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Yield files and links under a folder, and remember the folders in ``seen``."""
    status = folder.stat()
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _entries(path, seen)
        else:
            yield path


def _said_of(folder: Path, formats: dict[Path, Format]) -> str:
    """Say what is read how: a file that is no text for people is then seen."""
    endings = Counter(
        (form, ending_of(path) if form is Format.PLAIN else "") for path, form in formats.items()
    )
    kinds = [
        f"{count:,} {ending or 'without an ending' if form is Format.PLAIN else ''} as {form}"
        for (form, ending), count in endings.most_common(_LONGEST_LIST)
    ]
    more = "" if len(endings) <= _LONGEST_LIST else ", and others"
    listed = ", ".join(" ".join(kind.split()) for kind in kinds)
    return for_terminal(f"Reading {counted(len(formats), 'file')} of {folder}: {listed}{more}.")
