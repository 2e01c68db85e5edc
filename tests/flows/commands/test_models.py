"""``nightlab sample`` and ``nightlab export --model``, as a person sees them."""

from pathlib import Path

import pytest

from flows.commands.models import sample
from flows.commands.study import export
from nightlab.errors import UsageError
from nightlab.records import Proposal, Verdict
from nightlab.study.model_cache import ModelCache
from tests.kept_samples import champion, fill_folder, kept_model
from tests.session_samples import finish_trial, sample_session


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCache:
    """The models of a study in the clone that is the working directory: its baseline's alone."""
    session = sample_session(tmp_path / "clone")
    finish_trial(session, Proposal(title="baseline", proposer="baseline"), Verdict.KEEP)
    monkeypatch.chdir(tmp_path / "clone")
    monkeypatch.setenv("NIGHTLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NIGHTLAB_TRACKING_URI", raising=False)
    models = ModelCache(tmp_path / "cache", "night")
    with models.new() as folder:
        models.put(fill_folder(folder, kept_model(commit=session.ledger.incumbent())))
    return models


def test_a_text_and_what_follows_it_are_printed_without_what_steers_a_terminal(
    cache: ModelCache, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    sample("night", "x\x1a", temperature=0, length=7)
    said = capsys.readouterr().out
    assert "baseline: trial 0, baseline, 2.2500 bpb" in said
    assert "the baseline is the champion" in said
    assert "\x1b" not in said
    assert r"\x1b\x1c\x1d\x1e\x1f !" in said, "the bytes 27 to 33"


def test_a_model_is_exported_and_what_else_is_asked_for_is_refused(
    cache: ModelCache, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export("night", model=tmp_path / "out")
    assert f"python {tmp_path / 'out' / 'generate.py'}" in capsys.readouterr().out
    assert (tmp_path / "out" / "model.safetensors").is_file()
    with pytest.raises(UsageError, match="new or empty"):
        export("night", model=tmp_path / "out")
    with pytest.raises(UsageError, match="add it"):
        export("night", trial=0)
    with cache.new() as folder:
        cache.put(fill_folder(folder, champion()))
    with pytest.raises(UsageError, match="and trial 3 was asked for"):
        export("night", model=tmp_path / "other", trial=3)
