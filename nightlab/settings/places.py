"""Where this machine keeps things: the only reader of Nightlab's own environment variables."""

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs

from nightlab.errors import UsageError
from nightlab.machine.folders import at_home, require_writable
from nightlab.records import Frozen

TRAINER_FILE = "trainer/train.py"


class Places(Frozen):
    """Where this machine keeps things. Nothing is written outside of these and git."""

    root: Path
    """The clone: its git, its trainer/, its program.md."""
    cache: Path
    """Corpora, compile caches, locks, Prefect's own files."""
    tracking_uri: str
    """MLflow's store; a file in mlruns/ unless an address is set."""
    mlruns: Path
    """Reports, and MLflow's store where it is local."""
    locks: Path | None = None
    """Locks of devices, where a folder for them is named: see nightlab/sandbox/lane_lock.py."""

    @classmethod
    def find(cls, root: Path | None = None, env: Mapping[str, str] | None = None) -> "Places":
        """Find the clone from ``root`` (default: the working directory) upwards.

        Raises:
            UsageError: there is no Nightlab clone there.
        """
        environment = os.environ if env is None else env
        start = (root or Path.cwd()).resolve()
        for folder in (start, *start.parents):
            if (folder / TRAINER_FILE).is_file() and (folder / ".git").exists():
                break
        else:
            raise UsageError(
                "Nightlab runs inside a git clone of itself (a folder with .git and "
                f"{TRAINER_FILE}), and found none at {start} or above: cd into your clone."
            )
        named = environment.get("NIGHTLAB_CACHE")
        cache = at_home(named) if named else platformdirs.user_cache_path("nightlab")
        if cache is None:
            raise UsageError(
                f"NIGHTLAB_CACHE is {named!r}, and there is no such user: name the folder in full."
            )
        locks = environment.get("NIGHTLAB_LOCKS")
        mlruns = folder / "mlruns"
        local = f"sqlite:///{mlruns / 'mlflow.db'}"
        tracking = environment.get("NIGHTLAB_TRACKING_URI") or environment.get(
            "MLFLOW_TRACKING_URI"
        )
        return cls(
            root=folder,
            cache=cache.absolute(),
            tracking_uri=tracking or local,
            mlruns=mlruns,
            locks=Path(locks).expanduser() if locks else None,
        )

    def require_cache(self) -> None:
        """Make the cache where it is missing, and write in it.

        Raises:
            UsageError: the system refuses.
        """
        remedy = "give access or make room there, or set NIGHTLAB_CACHE to another folder"
        require_writable(self.cache, "Nightlab keeps corpora and locks in", remedy)

    @property
    def tracking_is_local(self) -> bool:
        """Whether MLflow's store is the file in ``mlruns/``."""
        return self.tracking_uri == f"sqlite:///{self.mlruns / 'mlflow.db'}"

    @property
    def has_store(self) -> bool:
        """Whether MLflow's store is there already: a local one is made by the first session."""
        path = self.tracking_uri.removeprefix("sqlite:///")
        return path == self.tracking_uri or Path(path).exists()
