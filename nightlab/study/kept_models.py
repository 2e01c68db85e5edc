"""A trial that is kept leaves its model: the best of its trainings, in the cache and in MLflow.

What fails here costs no trial: its model is not kept, and that is said.
"""

from nightlab import events
from nightlab.corpus.folder import TOKENIZER_FILE
from nightlab.errors import MachineryError, UsageError
from nightlab.judging.scores import find_baseline, standing_record
from nightlab.ledger import Ledger
from nightlab.records import KeptModel, Replicate, TrialRecord, Verdict
from nightlab.settings import Places
from nightlab.study.checkpoints import best_replicate, drop_checkpoints, own_checkpoint
from nightlab.study.model_cache import ModelCache
from nightlab.study.model_folder import WEIGHTS, fill, write_card
from nightlab.study.session import Session
from nightlab.tracking.champion import register_all
from nightlab.training.weights import to_safetensors


def keep_model(session: Session, record: TrialRecord) -> None:
    """Keep the model of a trial that is kept, and give back the disk of its checkpoints."""
    try:
        if record.verdict is Verdict.KEEP and session.settings.kept_models != "none":
            _keep(session, record)
    except (MachineryError, UsageError, OSError) as error:
        _say(record, str(error))
    finally:
        drop_checkpoints(session, record.number)


def show_last_model(session: Session) -> None:
    """Complete in MLflow the model of the incumbent, where a killed session may not have; or say
    that there is none.
    """
    standing = standing_record(session.ledger.records())
    if not session.hold.killed or standing is None or session.settings.kept_models == "none":
        return
    kept = ModelCache(session.places.cache, standing.study).find(standing.commit)
    if kept is None:
        _say(standing, "the session that trained it was cut off, or ran on another machine")
    else:
        session.tracker.model_kept(kept.folder, kept.model, only_champion=False)


def sync_models(ledger: Ledger, places: Places) -> int:
    """Put the study's models that stand here into MLflow where they are missing; how many were.

    Raises:
        TrackingError: MLflow did not answer, or is too old for it.
    """
    records = ledger.records()
    standing, cache = standing_record(records), ModelCache(places.cache, ledger.study)
    models = []
    for record in records:
        kept = cache.find(record.commit) if record.verdict is Verdict.KEEP else None
        if kept is not None:  # it may have had another number when it was kept
            models.append((kept.folder, kept.model.model_copy(update={"trial": record.number})))
    if standing is None or not models:
        return 0
    uri, mlruns = places.tracking_uri, places.mlruns
    return register_all(uri, mlruns, ledger.study, models, standing.commit)


def _keep(session: Session, record: TrialRecord) -> None:
    best = best_replicate(session, record.number, record.replicates)
    if best is None:
        _say(record, "its trainings were made by a session that was cut off")
        return
    settings, cache = session.settings, ModelCache(session.places.cache, record.study)
    with cache.new() as folder:
        problem = to_safetensors(
            own_checkpoint(session, record.number, best),
            folder / WEIGHTS,
            session.sandbox,
            memory_mb=settings.sizes.memory_mb,
            scratch_mb=settings.sizes.scratch_mb,
        )
        if problem is not None:
            _say(record, problem)
            return
        model, source = _describe(session, record, best), session.ledger.source(record.commit)
        tokenizer = session.ready_corpus.folder / TOKENIZER_FILE
        fill(folder, model, source, tokenizer, write_card(model, record))
        kept = cache.put(folder)
    only_champion = settings.kept_models == "champion"
    cache.retire(settings.kept_models_mb, only_champion=only_champion)
    if kept.folder.exists():
        session.tracker.model_kept(kept.folder, model, only_champion=only_champion)
    else:
        _say(record, "it alone is larger than kept_models_mb allows")


def _describe(session: Session, record: TrialRecord, best: Replicate) -> KeptModel:
    baseline = find_baseline(session.ledger.records())
    return KeptModel(
        study=record.study,
        trial=record.number,
        title=record.title,
        reason=record.reason,
        commit=record.commit,
        seed=best.seed,
        replicate_bpb=best.val_bpb,
        study_bpb=record.val_bpb,
        baseline_bpb=baseline.val_bpb if baseline is not None else None,
        vocab_size=session.ready_corpus.vocab_size,
        sequence_length=session.settings.sizes.sequence_length,
        num_params=best.training.num_params,
        corpus=record.corpus,
        corpus_fingerprint=record.corpus_fingerprint,
        engine_version=record.engine_version,
    )


def _say(record: TrialRecord, why: str) -> None:
    text = f"The model of trial {record.number} is not kept: {why.rstrip('.')}."
    events.publish(events.Notice(text=text))
