import getpass
import json
from pathlib import Path

import pytest

from nightlab.ledger import Ledger
from nightlab.tracking.origin import LONGEST_DIGEST, Origin
from tests.conftest import git
from tests.tracking.samples import record


def test_a_repository_is_named_without_its_password(tmp_path: Path) -> None:
    repository = tmp_path
    git(repository, "init", "-q")
    plumbing = Ledger(repository, "s").plumbing
    assert Origin.of(plumbing, tmp_path).repository == ""
    git(repository, "remote", "add", "origin", "https://me:secret@host/x/nightlab.git")
    tags = Origin.of(plumbing, tmp_path).tags("night")
    assert tags == {
        "mlflow.source.name": "https://host/x/nightlab.git",
        "mlflow.source.type": "PROJECT",
        "mlflow.source.git.branch": "nightlab/night",
        "mlflow.source.git.repoURL": "https://host/x/nightlab.git",
        "mlflow.user": getpass.getuser(),
    }


def test_without_a_repository_the_source_is_the_file() -> None:
    tags = Origin().tags("night")
    assert (tags["mlflow.source.name"], tags["mlflow.source.type"]) == ("trainer/train.py", "LOCAL")


def test_a_user_without_a_name_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("no such user")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert "mlflow.user" not in Origin().tags("night")


def test_a_text_is_named_by_its_fingerprint_with_sizes_where_it_lies_here(tmp_path: Path) -> None:
    absent = Origin(cache=tmp_path).dataset(record("s"))
    assert absent is not None
    dataset = absent.as_input().dataset
    assert (dataset.name, dataset.digest) == ("embedded", "f" * LONGEST_DIGEST)
    assert json.loads(dataset.source)["fingerprint"] == "f" * 64
    assert dataset.profile is None
    assert Origin().dataset(record("s").model_copy(update={"corpus_fingerprint": ""})) is None
