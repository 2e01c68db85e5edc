"""Where a study's code and text come from, as far as this clone and this machine know."""

import getpass
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nightlab.corpus import find_corpus
from nightlab.errors import CorpusError
from nightlab.ledger import Plumbing
from nightlab.redaction import redact
from nightlab.settings.places import TRAINER_FILE

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

    from nightlab.records import TrialRecord
    from nightlab.tracking.content import TrialFacts

LONGEST_DIGEST = 36
"""MLflow's own limit; the beginning of a fingerprint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """The text of a study, as MLflow shows a dataset."""

    name: str
    fingerprint: str
    sizes: dict[str, Any]
    """Of the splits; empty where the text is not on this machine."""

    def as_input(self) -> "DatasetInput":
        """What MLflow's client takes."""
        from mlflow import entities

        source = json.dumps({"corpus": self.name, "fingerprint": self.fingerprint})
        dataset = entities.Dataset(
            name=self.name,
            digest=self.fingerprint[:LONGEST_DIGEST],
            source_type="nightlab",
            source=source,
            profile=json.dumps(self.sizes) if self.sizes else None,
        )
        tags = [entities.InputTag("mlflow.data.context", "train, val")]
        return entities.DatasetInput(dataset, tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a study's code and text come from."""

    repository: str = ""
    """Address of the clone's remote ``origin``, without a password; empty where it has none."""
    cache: Path | None = None
    """Where prepared corpora lie."""

    @classmethod
    def of(cls, plumbing: Plumbing, cache: Path) -> "Origin":
        """What a clone and the user's cache say."""
        asked = plumbing.attempt("remote", "get-url", "origin")
        return cls(repository=redact(asked.stdout.decode().strip()), cache=cache)

    def tags(self, study: str) -> dict[str, str]:
        """MLflow's own tags on who made a run, and from what."""
        tags = {
            "mlflow.source.name": self.repository or TRAINER_FILE,
            "mlflow.source.type": "PROJECT" if self.repository else "LOCAL",
            "mlflow.source.git.branch": f"nightlab/{study}",
            "mlflow.source.git.repoURL": self.repository,
            "mlflow.user": _user(),
        }
        return {key: value for key, value in tags.items() if value}

    def dataset(self, trial: "TrialRecord | TrialFacts") -> Dataset | None:
        """The text that a trial is trained on, with its sizes where it lies in the cache."""
        corpus, fingerprint = trial.corpus, trial.corpus_fingerprint
        if not fingerprint:
            return None
        try:
            found = find_corpus(self.cache, fingerprint) if self.cache is not None else None
        except (CorpusError, OSError):
            found = None  # A damaged one is told by the session that needs it.
        sizes = found.manifest.model_dump(include={"splits", "vocab_size"}) if found else {}
        return Dataset(name=redact(corpus), fingerprint=fingerprint, sizes=sizes)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return ""
