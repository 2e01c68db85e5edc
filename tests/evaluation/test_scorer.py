"""When scorers start, with a stand-in for the sandbox. What they answer: test_evaluation.py."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from nightlab.evaluation.answers import AnswerPositions
from nightlab.evaluation.evaluation import evaluate
from nightlab.evaluation.scorer import Scorer
from nightlab.sandbox.device import Device
from nightlab.training.training import TrainingOrder

VOCABULARY, LENGTH, ROWS = 16, 8, 40


class Process:
    log = ""

    def __exit__(self, *error: object) -> None:
        pass


class Box:
    """A sandbox that notes its starts."""

    def __init__(self, happened: list[str]) -> None:
        self._happened = happened

    def start(self, job: object) -> Process:
        self._happened.append("start")
        return Process()


@pytest.fixture
def happened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens in an evaluation of a candidate that makes every token equally likely."""
    events: list[str] = []

    def answer(scorer, question, deadline, on_loaded=lambda: None):
        events.append("load")
        on_loaded()
        events.append("end")
        is_audit = isinstance(question, AnswerPositions)
        shape = len(question._positions) if is_audit else (ROWS, LENGTH)
        return np.full(shape, math.log(VOCABULARY), dtype=np.float32)

    monkeypatch.setattr(Scorer, "answer", answer)
    return events


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("cpu", "start load start start end load end load end start start load end load end"),
        # Where a job computes none may start: all are there before the first one loads.
        ("cuda:0", "start start start load end load end load end start start load end load end"),
    ],
)
def test_those_that_audit_start_ahead(happened, tmp_path, device, expected):
    ids = np.random.default_rng(0).integers(0, VOCABULARY, 1000).astype(np.uint16)
    corpus = SimpleNamespace(
        token_bytes=lambda: np.ones(VOCABULARY, dtype=np.uint16), tokens=lambda split: ids
    )
    order = TrainingOrder(
        vocab_size=VOCABULARY,
        sequence_length=LENGTH,
        device=Device(name=device, description="test", threads=1),
        seed=0,
        budget_seconds=1,
        startup_seconds=1,
    )
    checkpoint = tmp_path / "checkpoint.pt"
    checkpoint.touch()
    # A screen, and then a thorough audit of a score that could be kept: five scorers.
    result = evaluate(
        "", checkpoint, corpus, "val", order, ROWS * LENGTH, Box(happened),
        screen_positions=20, keep_below_bpb=9.0,
    )  # fmt: skip
    assert result.failure is None
    assert " ".join(happened) == expected
