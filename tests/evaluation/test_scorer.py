"""When scorers start, with a stand-in for the sandbox. What they answer: test_evaluation.py."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from nightlab.evaluation.answers import AnswerPositions
from nightlab.evaluation.evaluation import REPEATED_POSITIONS, evaluate
from nightlab.evaluation.scorer import Scorer
from nightlab.sandbox.device import Device
from nightlab.training.training import TrainingOrder

VOCABULARY, LENGTH, ROWS = 16, 8, 40
CLAIMED_ABOVE = 0.004


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
    """What happens in an evaluation of a candidate that makes every token equally likely.

    It claims to lose ``CLAIMED_ABOVE`` nats more than it does.
    """
    events: list[str] = []

    def answer(scorer, question, deadline, on_loaded=lambda: None, allowed_seconds=None):
        events.append("load")
        on_loaded()
        events.append("end")
        is_audit = isinstance(question, AnswerPositions)
        shape = len(question._positions) if is_audit else (ROWS, LENGTH)
        loss = math.log(VOCABULARY) + (0 if is_audit else CLAIMED_ABOVE)
        return np.full(shape, loss, dtype=np.float32)

    monkeypatch.setattr(Scorer, "answer", answer)
    return events


@pytest.mark.parametrize(
    ("device", "keep_below_bpb", "positions", "expected"),
    [
        # What it claims is no use: a screen.
        ("cpu", 3.9, 20, "start load start start end load end load end"),
        # Where a job computes none may start: all are there before the first one loads.
        ("cuda:0", 3.9, 20, "start start start load end load end load end"),
        # What it claims could be kept: a thorough audit at once.
        ("cpu", 9.0, ROWS, "start load start start end load end load end"),
        # Only the screen shows that it could be kept: a thorough audit besides.
        (
            "cpu",
            4.003,
            ROWS,
            "start load start start end load end load end start start load end load end",
        ),
        (
            "cuda:0",
            4.003,
            ROWS,
            "start start start load end load end load end start start load end load end",
        ),
    ],
)
def test_those_that_audit_start_ahead(
    happened, tmp_path, device, keep_below_bpb, positions, expected
):
    result = evaluated(tmp_path, device, Box(happened), keep_below_bpb)
    assert result.failure is None, result
    assert result.audited_positions == positions
    assert " ".join(happened) == expected


def evaluated(folder, device, box, keep_below_bpb):
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
    checkpoint = folder / "checkpoint.pt"
    checkpoint.touch()
    return evaluate(
        "", checkpoint, corpus, "val", order, ROWS * LENGTH, box,
        screen_positions=20, keep_below_bpb=keep_below_bpb,
    )  # fmt: skip


def test_the_third_is_asked_some_of_the_same_in_another_order(happened, monkeypatch, tmp_path):
    asked = []

    class Noted(AnswerPositions):
        def __init__(self, rows, draw, *sizes):
            super().__init__(rows, draw, *sizes)
            asked.append(list(zip(draw.rows, draw.positions, strict=True)))

    monkeypatch.setattr("nightlab.evaluation.evaluation.AnswerPositions", Noted)
    assert evaluated(tmp_path, "cpu", Box(happened), 9.0).failure is None
    second, third = asked
    assert len(second) == ROWS
    assert len(set(third)) == REPEATED_POSITIONS
    places = [second.index(position) for position in third]
    assert places != sorted(places)
    # Nor only those that came first, when a model that learns had seen nothing yet.
    assert max(places) >= REPEATED_POSITIONS
