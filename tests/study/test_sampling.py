"""Where a study's models are looked for, and what is said where there is none."""

from pathlib import Path
from typing import Any

import pytest

from nightlab.errors import UsageError
from nightlab.evaluation.sampling import Draw
from nightlab.records import Edit, Proposal, Verdict
from nightlab.sandbox import choose_sandbox
from nightlab.sandbox.probe import CPU
from nightlab.settings import Places
from nightlab.study.model_cache import ModelCache
from nightlab.study.sampling import KeptModels, continue_text
from tests.kept_samples import champion, fill_folder, tokenizer
from tests.session_samples import finish_trial, keep_edit, sample_session


@pytest.fixture
def study(tmp_path: Path) -> Any:
    """A study of a baseline, a discard, and a keep; places without a store of MLflow's."""
    session = sample_session(tmp_path / "clone")
    finish_trial(session, Proposal(title="baseline", proposer="baseline"), Verdict.KEEP)
    finish_trial(session, Proposal(title="no", proposer="llm"), Verdict.FAILED)
    edit = Edit(search="DEPTH = 4", replace="DEPTH = 5")
    session.kept = keep_edit(session, 2, Proposal(title="Deeper", proposer="llm", edits=(edit,)))
    session.places = places_of(tmp_path)
    return session


def places_of(folder: Path) -> Places:
    mlruns = folder / "mlruns"
    return Places(
        root=folder / "clone",
        cache=folder / "cache",
        tracking_uri=f"sqlite:///{mlruns / 'mlflow.db'}",
        mlruns=mlruns,
    )


def put(session: Any, **fields: Any) -> None:
    cache = ModelCache(session.places.cache, "night")
    with cache.new() as folder:
        cache.put(fill_folder(folder, champion(**fields)))


def test_models_are_found_by_the_commits_of_the_study(study: Any) -> None:
    put(study, trial=0, commit=study.ledger.record(0).commit, title="baseline")
    put(study, trial=2, commit=study.kept, title="Deeper")
    put(study, trial=2, commit="e" * 40, title="Of another clone")
    models = KeptModels(study.places, "night")
    baseline = models.baseline()
    assert baseline is not None
    assert baseline.model.title == "baseline"
    assert models.champion().model.title == "Deeper"
    assert models.of_trial(0) == baseline
    assert models.of_trial(2) == models.champion()


def test_what_is_not_there_is_said_with_what_brings_it(study: Any, tmp_path: Path) -> None:
    models = KeptModels(study.places, "night")
    assert models.baseline() is None
    with pytest.raises(UsageError, match=r"trial 2 of study 'night' .*`nightlab sync night`"):
        models.champion()
    with pytest.raises(UsageError, match="of 0, 2, and trial 1 was asked for"):
        models.of_trial(1)
    with pytest.raises(UsageError, match="of 0, 2, and trial 7 was asked for"):
        models.of_trial(7)
    elsewhere = KeptModels(study.places, "unknown")
    assert elsewhere.baseline() is None
    with pytest.raises(UsageError, match=r"no study 'unknown' here.*NIGHTLAB_TRACKING_URI"):
        elsewhere.champion()
    with pytest.raises(UsageError, match="`nightlab fetch unknown --remote origin`"):
        elsewhere.of_trial(0)
    sample_session(tmp_path / "new" / "clone")
    with pytest.raises(UsageError, match="no baseline yet"):
        KeptModels(places_of(tmp_path / "new"), "night").champion()


def test_a_text_is_continued_with_the_studys_tokens(study: Any) -> None:
    pytest.importorskip("torch")
    put(study, trial=2, commit=study.kept)
    kept, encoding = KeptModels(study.places, "night").champion(), tokenizer()
    text = "Où est"
    last = encoding.encode(text)[-1]
    written = continue_text(
        kept,
        text,
        Draw(length=3, temperature=0),
        sandbox=choose_sandbox(),
        device=CPU,
        places=study.places,
    )
    assert written == encoding.decode([last + 1, last + 2, last + 3])
