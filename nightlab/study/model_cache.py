"""The trained models that this machine's cache holds, of all studies of all clones.

    <cache>/models/<study>/<NNNN>-<commit>/      see model_folder.py

Clones share the cache, and studies of one name may differ: a model is found by its code's commit.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import BaseFileLock, FileLock

from nightlab.records import KeptModel
from nightlab.sandbox.owned_folder import owned_folder, sweep
from nightlab.study.model_folder import CONFIG, read_model

_NEW = "new-"
_COMMIT = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A model in the cache."""

    folder: Path
    model: KeptModel


class ModelCache:
    """The models of one study.

    Args:
        cache: the cache's folder.
        study: its name.
    """

    def __init__(self, cache: Path, study: str) -> None:
        self._new = cache / "models-new"
        self.folder = cache / "models" / study

    @contextmanager
    def new(self) -> Iterator[Path]:
        """Give a folder to fill; what is not ``put`` by the end of the block is removed."""
        self._new.mkdir(parents=True, exist_ok=True)
        sweep(self._new)
        with owned_folder(self._new, _NEW) as folder:
            yield folder

    def put(self, filled: Path) -> Kept:
        """Take a folder from ``new`` in, in the place of one with the same model.

        Raises:
            UsageError: it is not whole.
        """
        model = read_model(filled)
        place = self.folder / f"{model.trial:04d}-{model.commit[:_COMMIT]}"
        with self._alone():
            self.folder.mkdir(parents=True, exist_ok=True)
            if place.exists():
                shutil.rmtree(place)
            filled.rename(place)
        return Kept(folder=place, model=model)

    def find(self, commit: str) -> Kept | None:
        """The model of a code, if it stands here.

        Raises:
            UsageError: it is not whole.
        """
        for path in self.folders_of(commit):
            return Kept(folder=path, model=read_model(path))
        return None

    def folders_of(self, commit: str) -> list[Path]:
        """Where the model of a code stands, if it does."""
        return list(self.folder.glob(f"*-{commit[:_COMMIT]}"))

    def retire(self, most_mb: int, *, only_champion: bool = False) -> None:
        """Remove the oldest models until the cache holds no more than it may.

        Args:
            most_mb: the most disk for the models of all studies, in MiB.
            only_champion: remove all of this study but the baseline's and the newest.
        """
        with self._alone():
            if only_champion:
                for path in set(self.folder.iterdir()) - _standing(self.folder):
                    shutil.rmtree(path)
            models = self.folder.parent
            standing = {path for study in models.iterdir() for path in _standing(study)}
            order = sorted(models.glob("*/*"), key=lambda path: (path in standing, _age(path)))
            sizes = [sum(file.stat().st_size for file in path.iterdir()) for path in order]
            excess = sum(sizes) - most_mb * 2**20
            for path, size in zip(order, sizes, strict=True):
                if excess > 0:
                    shutil.rmtree(path)
                    excess -= size

    def _alone(self) -> BaseFileLock:
        """Keep other sessions of the machine out of all models."""
        return FileLock(self._new / ".lock")


def _standing(study: Path) -> set[Path]:
    """The baseline of a study, which is the first trial that is kept, and what was kept last."""
    paths = list(study.iterdir())
    return {min(paths), max(paths, key=_age)} if paths else set()


def _age(path: Path) -> float:
    """When a model was put there: the more, the newer."""
    return (path / CONFIG).stat().st_mtime
