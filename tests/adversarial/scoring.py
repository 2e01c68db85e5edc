"""Scores models that attack the score, on text of which the best honest score is known.

The text is a Markov chain, and the weights are its true table: no causal model can do
better, so an attack gains if and only if its score lies below that of the table.
"""

import math
import uuid
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nightlab.evaluation.allowance import allowance
from nightlab.evaluation.evaluation import evaluate, select_rows
from nightlab.records import Evaluation
from nightlab.sandbox import Sandbox
from nightlab.sandbox.device import Device
from nightlab.training.training import TrainingOrder
from tests.adversarial.harness import Attack

VOCABULARY, LENGTH, ROWS = 64, 32, 1000
TRAINING_TOKENS = 20_000
BOS = VOCABULARY - 1
ORDER = TrainingOrder(
    vocab_size=VOCABULARY,
    sequence_length=LENGTH,
    device=Device(name="cpu", description="test", threads=1),
    seed=0,
    budget_seconds=1,
    startup_seconds=1,
    memory_mb=4000,
)


def _true_table() -> npt.NDArray[np.float64]:
    logits = np.random.default_rng(7).normal(0.0, 2.0, (VOCABULARY, VOCABULARY))
    logits[:, BOS] = -30.0  # never drawn: it stands for no text
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


TRUE_TABLE = _true_table()


def _markov_chain(count: int, seed: int = 8) -> npt.NDArray[np.uint16]:
    random = np.random.default_rng(seed)
    steps = np.exp(TRUE_TABLE).cumsum(axis=1)
    tokens = np.zeros(count, dtype=np.uint16)
    for place, draw in enumerate(random.random(count - 1)):
        tokens[place + 1] = min(np.searchsorted(steps[tokens[place]], draw), BOS - 1)
    return tokens


@dataclass(frozen=True)
class Chain:
    """A corpus whose every split is the chain, two bytes a token."""

    ids: npt.NDArray[np.uint16] = field(default_factory=lambda: _markov_chain(ROWS * (LENGTH + 1)))

    def token_bytes(self) -> npt.NDArray[np.uint16]:
        """Byte length of every token."""
        return np.array([2] * BOS + [0], dtype=np.uint16)

    def tokens(self, split: str) -> npt.NDArray[np.uint16]:
        """The ids of a split."""
        return self.ids

    def honest_bpb(self, weights: str) -> float:
        """What the best causal use of the weights scores on exactly the scored tokens."""
        if weights != "trained":
            return math.log2(VOCABULARY) / 2
        rows = select_rows(self.ids, LENGTH, ROWS * LENGTH)
        nats = -TRUE_TABLE[rows[:, :-1], rows[:, 1:]]
        return float(nats.mean()) / math.log(2) / 2


class _Program:
    """Weights that run a program when they are unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("GOT THROUGH: weights were run",))


def save_weights(kind: str, path: Path) -> None:
    """Save what a training is supposed to have left.

    ``trained``, ``untrained``, ``program`` (which runs when it is read), or, untrained, with
    ``text``: as a buffer, ``in it`` as another object, ``beside`` in the file only.
    """
    import torch

    table = torch.zeros(VOCABULARY, VOCABULARY)
    if kind == "trained":
        table = torch.tensor(TRUE_TABLE, dtype=torch.float32)
    state: dict[str, Any] = {"table": _Program() if kind == "program" else table}
    text = _markov_chain(TRAINING_TOKENS, seed=9)
    if kind == "text":
        state["text"] = torch.from_numpy(text.view(np.int16))
    if kind == "text in it":
        state["text"] = text.astype(np.uint8).tobytes().decode("ascii")
    torch.save(state, path)
    if kind == "text beside":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("checkpoint/text", text.tobytes())


def twin_weights(attack: Attack) -> str:
    """The weights of an attack's honest twin, and of what an attack must not score better than."""
    return "trained" if attack.weights in ("trained", "program") else "untrained"


def run_evaluation(
    attack: Attack,
    function: str,
    variant: str,
    sandbox: Sandbox,
    chain: Chain,
    folder: Path,
    baseline: Evaluation | None = None,
) -> Evaluation:
    """Score an attack, or its twin, as the engine scores any candidate beside a baseline."""
    checkpoint = folder / "checkpoint.pt"
    save_weights(attack.weights if function == "attack" else twin_weights(attack), checkpoint)
    return evaluate(
        attack.candidate(function, {"variant": variant, "run": uuid.uuid4().hex}),
        checkpoint,
        chain,
        "val",
        ORDER,
        ROWS * LENGTH,
        sandbox,
        timeout_seconds=attack.evaluation_seconds if function == "attack" else 120.0,
        allowed=None if baseline is None else allowance([baseline], "processor"),
    )
