"""ClimbMix: web text in Parquet shards, from Hugging Face or a mirror of it.

The data set is the one that the original autoresearch trains on; shards are taken from
number 0 on until there is enough text. They stay in the cache, so that another vocabulary
or evaluation size fetches nothing again.
"""

import hashlib
from collections.abc import Generator
from pathlib import Path

from filelock import FileLock

from nightlab.corpus.documents import Progress
from nightlab.corpus.download import ask, fetch
from nightlab.corpus.formats import check_parquet, parquet_texts
from nightlab.errors import CorpusError

REPOSITORY = "karpathy/climbmix-400b-shuffle"
_PLACE = f"datasets/{REPOSITORY}/resolve/main"
_ADDRESS = f"https://huggingface.co/{_PLACE}"
SETTING = "--corpus climbmix:URL (or HF_ENDPOINT) to a mirror of huggingface.co"


class ClimbmixSource:
    """The shards ``shard_00000.parquet`` and on of the data set.

    Args:
        mirror: The address of a hub, http or https; None for ``HF_ENDPOINT``, which is taken
            for the hub itself, or else huggingface.co.
        shards: Where shards are kept: the cache's folder for all hubs.
    """

    def __init__(self, mirror: str | None, shards: Path) -> None:
        if mirror is not None and not mirror.startswith(("http://", "https://")):
            raise CorpusError(
                "the corpus 'climbmix:URL' needs an http:// or https:// address, found "
                f"{mirror!r}: set {SETTING}."
            )
        self._mirror = mirror.rstrip("/") if mirror else None
        # Studies of before name a mirror's whole address of the data set.
        self._hub = self._mirror.removesuffix(f"/{_PLACE}") if self._mirror else None
        self._shards = shards
        self._taken: list[str] = []

    def identity(self) -> str:
        """Return the hub's address: a prepared corpus asks no server again."""
        return self._mirror or _ADDRESS

    def origins(self) -> tuple[str, ...]:
        """Return one line for each shard that ``texts`` has read from, with its hash."""
        return tuple(self._taken)

    def sizes(self) -> None:
        """Nobody knows before the shards are there; there are more than any cap takes in."""

    def try_hub(self) -> None:
        """Ask the hub whether it has the first shard, and fetch nothing.

        Raises:
            CorpusError: it does not answer, or has none.
        """
        ask(REPOSITORY, _name(0), endpoint=self._hub, setting=SETTING)

    def texts(self, progress: Progress) -> Generator[str, None, None]:
        """Fetch shard after shard and yield its texts, for as long as more are asked for."""
        folder = self._shards / hashlib.sha256(self.identity().encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        base = f"{self._hub}/{_PLACE}" if self._hub else _ADDRESS
        number = 0
        while True:
            name = _name(number)
            with FileLock(folder / "shards.lock"):
                digest = fetch(
                    REPOSITORY,
                    name,
                    folder,
                    endpoint=self._hub,
                    check=check_parquet,
                    setting=SETTING,
                    progress=progress,
                )
            self._taken.append(f"{base}/{name} sha256 {digest}")
            yield from filter(None, parquet_texts(folder / name))
            number += 1


def _name(number: int) -> str:
    return f"shard_{number:05d}.parquet"
