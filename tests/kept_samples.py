"""Kept models small enough to look through: after each token comes the next one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import tiktoken

from nightlab.corpus.tokenizer import save_tokenizer, train_tokenizer
from nightlab.records import KeptModel, Reason
from nightlab.study.model_folder import WEIGHTS, fill

SOURCE = '''\
import torch

import runtime


class Model(torch.nn.Module):
    def __init__(self, spec: runtime.Spec) -> None:
        super().__init__()
        self.length = spec.sequence_length
        self.table = torch.nn.Parameter(torch.zeros(spec.vocab_size, spec.vocab_size))

    @torch.compile
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        assert tokens.shape == (1, self.length), "as it was trained"
        return self.table[tokens]


def build_model(spec: runtime.Spec) -> Model:
    return Model(spec)


def train(run: runtime.Run) -> None:
    """Names more of the runtime than building a model needs."""
'''
BASELINE, CHAMPION = "b" * 40, "c" * 40
TEXTS = ("def f(x):\n    return x + 1\n", "Où est passé le garçon ? Là-bas.\n", "1234 x² naïve\n")


def tokenizer() -> tiktoken.Encoding:
    """One of 300 tokens."""
    return train_tokenizer(iter(text * 9 for text in TEXTS), 300)


def kept_model(**fields: Any) -> KeptModel:
    """What is known of the baseline's model, or with other fields of another one."""
    given: dict[str, Any] = {
        **{"study": "night", "trial": 0, "title": "baseline", "reason": Reason.BASELINE},
        **{"commit": BASELINE, "seed": 7, "replicate_bpb": 2.2, "study_bpb": 2.25},
        **{"baseline_bpb": 2.25, "vocab_size": 300, "sequence_length": 8, "num_params": 90_000},
        **{"corpus": "embedded", "corpus_fingerprint": "f" * 64, "engine_version": "1"},
    }
    return KeptModel(**{**given, **fields})


def champion(**fields: Any) -> KeptModel:
    """What is known of the incumbent's."""
    given = {"trial": 3, "title": "Wider", "commit": CHAMPION, "reason": Reason.IMPROVED}
    return kept_model(**{**given, "study_bpb": 2.1, **fields})


def fill_folder(folder: Path, model: KeptModel, source: str = SOURCE) -> Path:
    """Write a whole folder of a model, in which every token is followed by the next."""
    folder.mkdir(parents=True, exist_ok=True)
    table = 50 * np.eye(model.vocab_size, k=1, dtype="<f4")
    shape, offsets = list(table.shape), [0, table.nbytes]
    header = {"table": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}
    text = json.dumps(header).encode()
    weights = len(text).to_bytes(8, "little") + text + table.tobytes()
    (folder / WEIGHTS).write_bytes(weights)
    saved = folder / "tokenizer.json"
    save_tokenizer(tokenizer(), saved)
    fill(folder, model, source, saved, f"# The card of trial {model.trial}\n")
    return folder
