"""The folder of a kept model: all that ``python generate.py`` in it needs besides torch.

model.safetensors   the weights
config.json         what is known of them: a ``KeptModel``
tokenizer.json      the study's tokenizer, readable without tiktoken
train.py            the code that builds the model: a candidate's
generate.py  weights.py  runtime.py      the engine's, so that it can be used anywhere
README.md           the card
"""

import shutil
from pathlib import Path

from pydantic import ValidationError

from nightlab.corpus.portable import portable_tokenizer
from nightlab.errors import UsageError
from nightlab.judging.score_text import budget_text, format_score
from nightlab.records import KeptModel, TrialRecord
from nightlab.shown import Markdown
from nightlab.training.weights import problem_of

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
SOURCE, CARD = "train.py", "README.md"
ENGINE_FILES = ("generate.py", "weights.py", "runtime.py")
_ENGINE = Path(__file__).resolve().parents[2] / "trainer"


def fill(folder: Path, model: KeptModel, source: str, tokenizer: Path, card: str) -> None:
    """Write all but the weights."""
    (folder / CONFIG).write_text(model.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (folder / TOKENIZER).write_text(portable_tokenizer(tokenizer), encoding="utf-8")
    (folder / SOURCE).write_text(source, encoding="utf-8")
    (folder / CARD).write_text(card, encoding="utf-8")
    _add_programs(folder)


def read_model(folder: Path) -> KeptModel:
    """What a folder says that it holds, once all of it is there and whole.

    Raises:
        UsageError: it is no whole folder of a kept model.
    """
    remedy = "delete it; `nightlab sync` where the model was kept puts it into MLflow again"
    try:
        model = KeptModel.model_validate_json((folder / CONFIG).read_bytes(), extra="allow")
        problem = problem_of(folder / WEIGHTS)
        missing = [name for name in (TOKENIZER, SOURCE) if not (folder / name).is_file()]
    except (OSError, ValidationError) as error:
        said = error.strerror if isinstance(error, OSError) else f"{CONFIG} is not one"
        raise UsageError(f"{folder} is no whole kept model ({said}): {remedy}.") from error
    if problem or missing:
        said = problem or f"{', '.join(missing)} is missing"
        raise UsageError(f"{folder} is no whole kept model ({said.rstrip('.')}): {remedy}.")
    return model


def write_copy(kept: Path, folder: Path) -> None:
    """Copy a kept model to a new folder, with this engine's own programs.

    Raises:
        UsageError: something stands there.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"A model is exported into a folder that is new or empty, and {folder} is neither: "
            "name another one."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in (WEIGHTS, CONFIG, TOKENIZER, SOURCE, CARD):
        shutil.copyfile(kept / name, folder / name)
    _add_programs(folder)


def write_card(model: KeptModel, record: TrialRecord) -> Markdown:
    """The card of a kept model."""
    gain = "none: it is the baseline"
    if model.study_bpb is not None and model.baseline_bpb and not model.is_baseline:
        less = model.baseline_bpb - model.study_bpb
        gain = f"{less:.4f} bpb less than the baseline ({100 * less / model.baseline_bpb:.1f} %)"
    return _CARD.filled(
        trial=model.trial,
        title=model.title,
        score=format_score(model.study_bpb),
        replicate=format_score(model.replicate_bpb),
        seed=model.seed,
        gain=gain,
        sure=record.decision.sentence,
        study=model.study,
        commit=model.commit,
        parameters=f"{model.num_params or 0:,}",
        tokens=f"{model.vocab_size:,}",
        length=model.sequence_length,
        budget=budget_text(f"{record.budget_seconds:g} s", record.budget_tokens),
        device=record.device,
        corpus=record.corpus,
        fingerprint=record.corpus_fingerprint[:12],
        engine=model.engine_version,
    )


def _add_programs(folder: Path) -> None:
    for name in ENGINE_FILES:
        shutil.copyfile(_ENGINE / name, folder / name)


_CARD = Markdown("""\
# Trial {trial}: {title}

| | |
|---|---|
| score | {score} bits per byte on `val`, in the study's pairs |
| this training | {replicate}, seed {seed}: the best of its trial, so there is luck in it |
| gain | {gain} |
| how sure | {sure} |
| study, trial | {study}, {trial} |
| commit | {commit} |
| model | {parameters} parameters, {tokens} tokens, {length} at once |
| trained | {budget} on {device}, corpus {corpus} {fingerprint} |
| engine | Nightlab {engine} |

Torch is all that is needed:

```console
$ python generate.py "Once upon a time" --length 100 --temperature 0.8 --seed 0
```

```python
import json, pathlib, runtime, train, weights
config = json.loads(pathlib.Path("config.json").read_text())
spec = runtime.Spec(config["vocab_size"], config["sequence_length"], "cpu")
model = train.build_model(spec)
model.load_state_dict(weights.read(pathlib.Path("model.safetensors")))
```

`forward(tokens)` takes int64 `[batch, time]` and gives logits `[batch, time, vocabulary]`;
`tokenizer.json` holds the tokens by id, in base64, and the last id is the one before a document.

`train.py` was written by whatever proposed it, a language model perhaps. `nightlab sample` runs it
in a sandbox; here it runs as any program of yours: read it first.
""")
