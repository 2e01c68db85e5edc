"""A throw-away folder in which a program edits ``train.py``.

It is a git repository of its own, with one commit: a worktree of the study's repository would
share its refs, and an agent that commits, resets or pushes would do so to the study. What the
program leaves is data: nothing there is run, git is not asked again (a repository's own
settings can name programs), and no link is followed.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from nightlab.models.texts import one_line
from nightlab.sandbox.owned_folder import temporary_folder
from nightlab.settings import TRAINER_FILE
from nightlab.source.candidate import MAX_SOURCE_BYTES

BRIEF_FILE = "BRIEF.md"
IDEA_FILE = "IDEA.md"
MAX_IDEA_BYTES = 16 * 1024
MOST_NAMES = 10
"""So many of the files that it touched are named."""
NAME_CHARACTERS = 120
_MOST_WALKED = 10_000
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class NoFile(ValueError):  # noqa: N818
    """There is no plain file of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """The folder, and what was put into it."""

    folder: Path
    files: Mapping[str, bytes]
    """By path in the folder."""

    def edited_source(self) -> str:
        """The text of ``train.py`` as it stands now.

        Raises:
            NoFile: there is none.
            ValueError: it cannot be taken. The messages are sentences on why.
        """
        data = self._read(TRAINER_FILE, MAX_SOURCE_BYTES)
        try:
            return data.decode("utf-8").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{TRAINER_FILE} is not UTF-8 any more, from byte {error.start} on."
            ) from error

    def idea(self) -> str:
        """What the program wrote of its idea; nothing where it wrote none."""
        try:
            return self._read(IDEA_FILE, MAX_IDEA_BYTES).decode("utf-8", errors="replace")
        except ValueError:
            return ""

    def touched(self) -> str:
        """What else was added, changed or removed, as a clause; nothing where nothing was."""
        found, complete = self._other_files()
        changes = [f"{name} (changed)" for name in found if self._changed(name)]
        changes += [f"{name} (new)" for name in found if name not in self.files]
        changes += [
            f"{name} (removed)"
            for name in self.files
            if name != TRAINER_FILE and complete and name not in found
        ]
        shown = [one_line(change, NAME_CHARACTERS) for change in changes[:MOST_NAMES]]
        more = len(changes) - len(shown)
        if more or not complete:
            shown.append(f"and {more} more" if complete else "and many more")
        return ", ".join(shown)

    def _other_files(self) -> tuple[list[str], bool]:
        """Paths of all but the edited file, the idea and git's own; whether that is all."""
        names: list[str] = []
        walked = 0
        for folder, folders, files in os.walk(self.folder):
            within = Path(folder).relative_to(self.folder)
            folders[:] = sorted(name for name in folders if (within / name) != Path(".git"))
            # A folder that is a link is listed, and not walked into.
            links = [name for name in folders if Path(folder, name).is_symlink()]
            for name in sorted([*files, *links]):
                path = (within / name).as_posix()
                if path not in (TRAINER_FILE, IDEA_FILE, ".git"):
                    names.append(path)
            walked += len(files) + len(folders)
            if walked > _MOST_WALKED:
                return names, False
        return names, True

    def _changed(self, name: str) -> bool:
        if name not in self.files:
            return False
        before = self.files[name]
        try:
            return self._read(name, len(before)) != before
        except ValueError:
            return True

    def _read(self, name: str, most_bytes: int) -> bytes:
        """Read a file of the folder, no link on the way, no more than is allowed."""
        *above, last = Path(name).parts
        with ExitStack() as opened:
            try:
                here: int | None = None
                for part in (str(self.folder), *above):
                    here = os.open(part, _FOLDER, dir_fd=here)
                    opened.callback(os.close, here)
                descriptor = os.open(last, _FILE, dir_fd=here)
            except OSError as error:
                why = error.strerror
                raise NoFile(f"{name} is not there as a file any more ({why}).") from error
            opened.callback(os.close, descriptor)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise NoFile(f"{name} is not a plain file any more.")
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(most_bytes + 1)
        if len(data) > most_bytes:
            raise ValueError(f"{name} has more than the {most_bytes} bytes that it may have.")
        return data


@contextmanager
def open_workshop(texts: Mapping[str, str]) -> Iterator[Workshop]:
    """Make a folder with texts by their paths and one commit of them; it is removed at the end."""
    import git

    with temporary_folder("command") as folder:
        files = {name: text.encode("utf-8", "replace") for name, text in texts.items()}
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        author = git.Actor("Nightlab", "nightlab@localhost")
        with git.Repo.init(folder) as repository:
            repository.index.add(list(files))
            repository.index.commit("The incumbent", author=author, committer=author)
        yield Workshop(folder=folder, files=files)
