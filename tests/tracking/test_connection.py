from pathlib import Path

import pytest

from nightlab.errors import TrackingError
from nightlab.tracking.connection import cause, connect, shown_address


def test_an_address_is_shown_without_its_password() -> None:
    assert shown_address("https://me:secret@host:5000/x") == "https://host:5000/x"
    assert shown_address("postgresql://me:secret@db/mlflow") == "postgresql://db/mlflow"
    assert shown_address("postgresql://me:s/cr@et@db/x?password=secret").startswith(
        "postgresql://db/x?password=["
    )
    assert shown_address("sqlite:////tmp/mlruns/mlflow.db") == "sqlite:////tmp/mlruns/mlflow.db"


def test_a_cause_is_one_short_line_and_our_own_sentence_stays_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert cause(ValueError("a\nb")) == "ValueError: a"
    assert cause(OSError()) == "OSError"
    assert len(cause(ValueError("x" * 1000))) < 250
    monkeypatch.setenv("SOME_API_KEY", "canary-0123456789")
    for before in range(180, 201):  # A cut leaves no half of a key.
        assert "canary" not in cause(ValueError(f"{'x' * before} canary-0123456789 y"))
    sentence = "MLflow's experiment was deleted: " + "restore it. " * 30
    assert cause(TrackingError(sentence)) == sentence


def test_the_folder_of_a_local_store_is_made_on_demand(tmp_path: Path) -> None:
    mlruns = tmp_path / "new" / "mlruns"
    connect(f"sqlite:///{mlruns / 'mlflow.db'}", mlruns)
    assert (mlruns / "mlflow.db").is_file()
