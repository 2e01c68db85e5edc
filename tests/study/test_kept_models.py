"""What a trial leaves of its trainings: the best of a kept one, and of others nothing."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nightlab import events
from nightlab.corpus.tokenizer import save_tokenizer
from nightlab.errors import SandboxError
from nightlab.judging.decision import Subject
from nightlab.records import KeptModel, Reason, TrialRecord
from nightlab.sandbox import Sandbox, choose_sandbox
from nightlab.study.checkpoints import checkpoint_path, drop_checkpoints
from nightlab.study.kept_models import keep_model, show_last_model
from nightlab.study.model_cache import ModelCache
from nightlab.study.model_folder import CARD, SOURCE
from tests.kept_samples import tokenizer
from tests.study import trained as samples
from tests.study.trained import CANDIDATE, SEEDS, begun, finished, trained

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    return choose_sandbox()


@pytest.fixture
def said() -> Any:
    texts: list[str] = []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Notice):
            texts.append(event.text)

    with events.listening(listen):
        yield texts


def kept_trial(*scores: float | None, reason: Reason = Reason.IMPROVED) -> TrialRecord:
    own = [trained(index, score) for index, score in enumerate(scores)]
    return finished(1, CANDIDATE, own=own, reason=reason)


def session_of(tmp_path: Path, record: TrialRecord, sandbox: Any = None, **settings: Any) -> Any:
    """A session with the record, and a checkpoint of each of its trainings that has a score."""
    work, corpus = tmp_path / "work", tmp_path / "corpus"
    work.mkdir(exist_ok=True)
    corpus.mkdir(exist_ok=True)
    save_tokenizer(tokenizer(), corpus / "tokenizer.json")
    session = samples.session(begun(2.25), record, work=work, **settings)
    session.told = []
    session.places = SimpleNamespace(cache=tmp_path / "cache")
    session.ready_corpus = SimpleNamespace(vocab_size=300, folder=corpus)
    session.sandbox = sandbox
    session.hold = SimpleNamespace(killed={"a run"})
    session.tracker = SimpleNamespace(
        model_kept=lambda folder, model, only_champion: session.told.append((folder, model))
    )
    for replicate in record.replicates:
        if replicate.val_bpb is not None:
            path = checkpoint_path(session, record.number, Subject.CANDIDATE, replicate.seed)
            torch.save({"score": torch.tensor([replicate.val_bpb])}, path)
    return session


def kept_model(session: Any) -> KeptModel | None:
    found = ModelCache(session.places.cache, "night").find(CANDIDATE)
    return found.model if found is not None else None


def test_the_best_training_of_a_kept_trial_is_its_model(tmp_path: Path, sandbox: Sandbox) -> None:
    session = session_of(tmp_path, kept_trial(2.1, 2.0, None, 2.2), sandbox)
    keep_model(session, session.ledger.records()[1])
    model = kept_model(session)
    assert model is not None
    assert (model.trial, model.seed, model.replicate_bpb) == (1, SEEDS[1], 2.0)
    assert (model.reason, model.vocab_size, model.sequence_length) == ("improved", 300, 256)
    ((folder, told),) = session.told
    assert told == model
    assert (folder / SOURCE).read_text() == session.ledger.source(CANDIDATE)
    assert f"| commit | {CANDIDATE} |" in (folder / CARD).read_text()
    weights = (folder / "model.safetensors").read_bytes()
    assert weights.endswith(torch.tensor([2.0]).numpy().tobytes())
    assert list(session.work.iterdir()) == [], "the disk is given back"


@pytest.mark.parametrize(
    ("reason", "settings"),
    [(Reason.WITHIN_NOISE, {}), (Reason.IMPROVED, {"kept_models": "none"})],
)
def test_nothing_stays_of_what_is_not_kept(
    tmp_path: Path, reason: Reason, settings: dict[str, Any], said: list[str]
) -> None:
    session = session_of(tmp_path, kept_trial(2.1, reason=reason), **settings)
    keep_model(session, session.ledger.records()[1])
    assert kept_model(session) is None
    assert list(session.work.iterdir()) == []
    assert said == session.told == []


def test_a_model_that_cannot_be_kept_is_said_and_costs_no_trial(
    tmp_path: Path, sandbox: Sandbox, said: list[str]
) -> None:
    session = session_of(tmp_path, kept_trial(2.1), sandbox, kept_models_mb=0)
    (checkpoint,) = session.work.iterdir()
    record = session.ledger.records()[1]
    whole = checkpoint.read_bytes()
    keep_model(session, record)
    checkpoint.write_bytes(b"no pickle")
    keep_model(session, record)
    keep_model(session, record)  # as when another session trained it

    def break_down(job: object) -> None:
        raise SandboxError("The sandbox broke.")

    checkpoint.write_bytes(whole)
    session.sandbox = SimpleNamespace(start=break_down)
    keep_model(session, record)
    assert [text.removeprefix("The model of trial 1 is not kept: ")[:20] for text in said] == [
        "it alone is larger than kept_models_mb allows."[:20],
        "_pickle.UnpicklingError: Weights only load failed"[:20],
        "its trainings were made by a session that was cut off."[:20],
        "The sandbox broke.",
    ]
    assert kept_model(session) is None
    assert session.told == []


def test_what_a_killed_session_kept_is_shown_and_what_it_lost_is_said(
    tmp_path: Path, sandbox: Sandbox, said: list[str]
) -> None:
    session = session_of(tmp_path, kept_trial(2.1), sandbox)
    show_last_model(session)
    assert "trial 1 is not kept: the session that trained it was cut off" in said[0]
    keep_model(session, session.ledger.records()[1])
    session.told.clear()
    show_last_model(session)
    assert [model.trial for _, model in session.told] == [1]
    session.told.clear()
    session.hold.killed = set()
    show_last_model(session)
    assert session.told == []
    assert len(said) == 1


def test_the_best_checkpoint_so_far_stays_and_no_other(tmp_path: Path) -> None:
    record = kept_trial(2.1, 2.0, 2.2)
    session = session_of(tmp_path, record)
    for subject, number in ((Subject.INCUMBENT, 1), (Subject.CANDIDATE, 2)):
        checkpoint_path(session, number, subject, 5).touch()
    drop_checkpoints(session, 1, but_best_of=record.replicates)
    best = checkpoint_path(session, 1, Subject.CANDIDATE, SEEDS[1])
    other = checkpoint_path(session, 2, Subject.CANDIDATE, 5)
    assert set(session.work.iterdir()) == {best, other}
    # Of trainings of which one has a better score and no checkpoint any more, the best there is.
    best.unlink()
    kept = checkpoint_path(session, 1, Subject.CANDIDATE, SEEDS[0])
    kept.touch()
    drop_checkpoints(session, 1, but_best_of=record.replicates)
    assert set(session.work.iterdir()) == {kept, other}
