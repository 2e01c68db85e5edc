"""A study's kept models, wherever they are, and what they write."""

from contextlib import nullcontext

from nightlab.corpus.tokenizer import bos_token, load_tokenizer
from nightlab.errors import UsageError
from nightlab.evaluation.sampling import Draw, sample
from nightlab.judging.scores import find_baseline, standing_record
from nightlab.ledger import Ledger
from nightlab.records import TrialRecord, Verdict
from nightlab.sandbox import Sandbox
from nightlab.sandbox.device import Device
from nightlab.sandbox.lane_lock import lane_lock, lock_folder
from nightlab.settings import Places, SessionSettings
from nightlab.study.model_cache import Kept, ModelCache
from nightlab.study.model_folder import SOURCE, TOKENIZER, WEIGHTS
from nightlab.tracking.champion import BASELINE, CHAMPION, commit_of, fetch_model


class KeptModels:
    """The models of one study: in this machine's cache, else in MLflow.

    Args:
        places: of this machine.
        study: its name; MLflow's word is taken where it is not in this clone.
    """

    def __init__(self, places: Places, study: str) -> None:
        self._places = places
        self._study = study
        self._cache = ModelCache(places.cache, study)
        ledger = Ledger(places.root, study)
        self._records = ledger.records() if ledger.exists() else None

    def baseline(self) -> Kept | None:
        """The baseline's, or None where none is kept."""
        if self._records is None:
            return self._named(BASELINE)
        record = find_baseline(self._records)
        return self._of(record.commit) if record is not None else None

    def champion(self) -> Kept:
        """The incumbent's.

        Raises:
            UsageError: it is neither here nor in MLflow.
            TrackingError: it is not here, and MLflow does not answer.
        """
        if self._records is not None:
            record = standing_record(self._records)
            if record is None:
                raise UsageError(
                    f"Study {self._study!r} has no baseline yet, so no model: `nightlab research "
                    f"--study {self._study}` continues it."
                )
            return self._required(record)
        kept = self._named(CHAMPION)
        if kept is None:
            raise UsageError(
                f"There is no study {self._study!r} here, and no model of that name in MLflow: "
                "`nightlab studies` lists the studies here, and NIGHTLAB_TRACKING_URI names the "
                "server that has the model."
            )
        return kept

    def of_trial(self, number: int) -> Kept:
        """That of one kept trial. Raises as ``champion`` does."""
        if self._records is None:
            raise UsageError(
                f"Study {self._study!r} is not in this clone, so its trials are not known: "
                f"`nightlab fetch {self._study} --remote origin` brings it here."
            )
        found = [record for record in self._records if record.number == number]
        if not found or found[0].verdict is not Verdict.KEEP:
            kept = [str(each.number) for each in self._records if each.verdict is Verdict.KEEP]
            raise UsageError(
                f"Models are kept of trials that are kept, in study {self._study!r} of "
                f"{', '.join(kept) or 'none yet'}, and trial {number} was asked for."
            )
        return self._required(found[0])

    def _required(self, record: TrialRecord) -> Kept:
        kept = self._of(record.commit)
        if kept is None:
            study = self._study
            raise UsageError(
                f"The model of trial {record.number} of study {study!r} is neither in this "
                f"machine's cache nor in MLflow: where it was trained ({record.host}), `nightlab "
                f"sync {study}` puts it into MLflow, if it was kept (kept_models, kept_models_mb)."
            )
        return kept

    def _named(self, alias: str) -> Kept | None:
        """The model that MLflow has under an alias."""
        places = self._places
        commit = commit_of(places.tracking_uri, places.mlruns, self._study, alias)
        return self._of(commit) if commit is not None else None

    def _of(self, commit: str) -> Kept | None:
        return self._cache.find(commit) or self._fetched(commit)

    def _fetched(self, commit: str) -> Kept | None:
        places = self._places
        with self._cache.new() as folder:
            uri, mlruns = places.tracking_uri, places.mlruns
            if not fetch_model(uri, mlruns, self._study, commit, folder):
                return None
            kept = self._cache.put(folder)
        self._cache.retire(SessionSettings().kept_models_mb)
        return kept


def continue_text(
    kept: Kept, text: str, draw: Draw, *, sandbox: Sandbox, device: Device, places: Places
) -> str:
    """What a model writes after a text.

    Raises:
        UsageError: it has another number of tokens than its tokenizer.
        EvaluationError: it does not answer.
        SandboxError: the sandbox broke.
    """
    encoding = load_tokenizer(kept.folder / TOKENIZER)
    if encoding.n_vocab != kept.model.vocab_size:
        raise UsageError(
            f"The tokenizer in {kept.folder} has {encoding.n_vocab} tokens and its model "
            f"{kept.model.vocab_size}: delete that folder."
        )
    tokens = [bos_token(encoding), *encoding.encode(text, disallowed_special=())]
    source = (kept.folder / SOURCE).read_text(encoding="utf-8")
    # Who trains on a GPU would be disturbed.
    is_lane = device.kind == "cuda"
    with lane_lock(lock_folder(places), device) if is_lane else nullcontext():
        written = sample(
            source, kept.folder / WEIGHTS, kept.model, tokens, draw, sandbox, device
        )  # fmt: skip
    return encoding.decode(written)
