"""ClimbMix: web text in Parquet shards, from Hugging Face or a mirror.

The default address is the data set that the original autoresearch trains on; shards are
taken from number 0 on until there is enough text. They stay in the cache, so that another
vocabulary or evaluation size fetches nothing again.
"""

import hashlib
from collections.abc import Generator
from pathlib import Path

from filelock import FileLock

from nightlab.corpus.documents import Progress
from nightlab.corpus.download import DEFAULT_RETRIES, Retries, Sidecar, default_client, fetch
from nightlab.corpus.files import open_parquet, parquet_texts
from nightlab.errors import CorpusError

ADDRESS = "https://huggingface.co/datasets/karpathy/climbmix-400b-shuffle/resolve/main"
SETTING = "--corpus climbmix:URL to a base address that has the shards"


class ClimbmixSource:
    """The shards ``shard_00000.parquet`` and on under a base address.

    Args:
        address: The base address, http or https.
        shards: Where shards are kept: the cache's folder for all base addresses.
        retries: How a broken fetch is taken up again.
    """

    def __init__(self, address: str, shards: Path, retries: Retries = DEFAULT_RETRIES) -> None:
        if not address.startswith(("http://", "https://")):
            raise CorpusError(
                "the corpus 'climbmix:URL' needs an http:// or https:// address, found "
                f"{address!r}: set {SETTING}."
            )
        self._address = address.rstrip("/")
        self._shards = shards
        self._retries = retries
        self._taken: list[Sidecar] = []

    def identity(self) -> str:
        """Return the base address: a prepared corpus asks no server again."""
        return self._address

    def origins(self) -> tuple[str, ...]:
        """Return one line for each shard that ``texts`` has read from, with its hash."""
        return tuple(f"{shard.address} sha256 {shard.sha256}" for shard in self._taken)

    def texts(self, progress: Progress) -> Generator[str, None, None]:
        """Fetch shard after shard and yield its texts, for as long as more are asked for."""
        folder = self._shards / hashlib.sha256(self._address.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        number = 0
        with default_client() as client:
            while True:
                name = f"shard_{number:05d}.parquet"
                with FileLock(folder / f"{name}.lock"):
                    sidecar = fetch(
                        client,
                        f"{self._address}/{name}",
                        folder / name,
                        check=lambda path: open_parquet(path).close(),
                        setting=SETTING,
                        retries=self._retries,
                        progress=progress,
                    )
                self._taken.append(sidecar)
                yield from parquet_texts(folder / name)
                number += 1
