"""The evaluator against models whose score is known, and against models that misbehave."""

import math
import textwrap
from dataclasses import dataclass, field

import numpy as np
import pytest

from nightlab.device import Device
from nightlab.errors import EvaluationError
from nightlab.evaluation import bits_per_byte, evaluate, select_rows
from nightlab.records import Reason
from nightlab.sandbox import choose_sandbox
from nightlab.training import TrainingOrder

torch = pytest.importorskip("torch")

VOCABULARY = 64
LENGTH = 16
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

# Logits are a table's rows: with a table of zeros, every token costs ln(64) nats.
MODEL = """
import os
import torch

class Model(torch.nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.table = torch.nn.Parameter(torch.zeros(spec.vocab_size, spec.vocab_size))

    def forward(self, tokens):
        assert tokens.dtype == torch.int64 and not self.training
        assert not torch.is_grad_enabled()
        return self.table[tokens]

def build_model(spec):
    return Model(spec)
"""


@dataclass
class Text:
    ids: np.ndarray
    lengths: np.ndarray = field(
        default_factory=lambda: np.array([1 + n % 5 for n in range(BOS)] + [0], dtype=np.uint16)
    )

    def token_bytes(self) -> np.ndarray:
        return self.lengths

    def tokens(self, split: str) -> np.ndarray:
        assert split == "val"
        return self.ids


@pytest.fixture(scope="module")
def sandbox():
    return choose_sandbox(trust_candidate=False)


@pytest.fixture(scope="module")
def text():
    ids = np.random.default_rng(0).integers(0, VOCABULARY, 5000).astype(np.uint16)
    return Text(ids=ids)


@pytest.fixture
def score(sandbox, text, tmp_path):
    def run(source=MODEL, *, table=None, state=None, text=text, box=sandbox, **options):
        path = tmp_path / "checkpoint.pt"
        if table is None:
            table = torch.zeros(VOCABULARY, VOCABULARY)
        torch.save({"table": table} if state is None else state, path)
        return evaluate(textwrap.dedent(source), path, text, "val", ORDER, 1600, box, **options)

    return run


@pytest.mark.parametrize("trust", [False, True])
def test_a_uniform_model_scores_what_it_must(score, text, trust):
    result = score(box=choose_sandbox(trust))
    rows = select_rows(text.ids, LENGTH, 1600)
    counted = rows[:, 1:] != BOS
    sizes = text.lengths[rows[:, 1:]].sum()
    assert result.failure is None, result
    assert result.num_tokens == counted.sum() < 1600
    assert result.num_bytes == sizes
    assert result.val_bpb == pytest.approx(6 * counted.sum() / sizes)
    assert result.standard_error > 0
    assert result.seconds > 0


def test_the_weights_decide(score, text):
    table = torch.randn(VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(1))
    result = score(table=table)
    rows = torch.from_numpy(select_rows(text.ids, LENGTH, 1600).astype(np.int64))
    logs = torch.log_softmax(table, dim=-1)[rows[:, :-1]]
    nats = -logs.gather(-1, rows[:, 1:, None]).squeeze(-1).numpy()
    sizes = text.lengths[rows[:, 1:].numpy()]
    expected = nats[sizes > 0].sum() / math.log(2) / sizes.sum()
    assert result.val_bpb == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "reason", "message"),
    [
        (("self.table[tokens]", "self.table[tokens] / 0"), Reason.NONFINITE, "not finite"),
        (("self.table[tokens]", "self.table[tokens][:, :-1]"), Reason.CONTRACT, "must give logits"),
        (("self.table[tokens]", "[1]"), Reason.CONTRACT, "must give logits"),
        (("def build_model", "def build"), Reason.CONTRACT, "no function build_model"),
        (("return Model(spec)", "return 3"), Reason.CONTRACT, "returned a int"),
        (("self.table =", "self.other ="), Reason.CONTRACT, "do not fit"),
        (("return Model(spec)", "raise KeyError('x')"), Reason.EXCEPTION, "KeyError"),
        (("return Model(spec)", "return bytearray(10**11)"), Reason.OOM, "MemoryError"),
        (("return self.table", "os._exit(0); return self.table"), Reason.CONTRACT, "middle"),
        (("return self.table", "os._exit(5); return self.table"), Reason.EXCEPTION, "no output"),
    ],
)
def test_a_model_that_breaks_is_a_result(score, change, reason, message):
    result = score(MODEL.replace(*change))
    assert result.failure is reason, result
    assert message in result.message
    assert result.val_bpb is None
    assert result.standard_error is None


LIAR = (
    MODEL
    + """
import runtime, time
honest = runtime.Frames.send_data
def send_data(self, data):
    %s
runtime.Frames.send_data = send_data
"""
)


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        ("honest(self, bytes(len(data) - 4))", "bytes of data where"),
        ("honest(self, bytes(len(data) + 4))", "bytes of data where"),
        ("self._connection.sendall(b'\\xff' * 100)", "bytes of data where"),
        ("honest(self, b'\\0\\0\\x80\\xbf' * (len(data) // 4))", "below zero"),
        ("self.send({'type': 'verdict', 'val_bpb': 0.0})", "bytes of data where"),
        ("time.sleep(60)", "within 4 seconds"),
    ],
)
def test_an_answer_of_another_shape_is_a_breach(score, lie, message):
    result = score(LIAR % lie, timeout_seconds=4.0 if "sleep" in lie else 60.0)
    assert result.failure is Reason.CONTRACT, result
    assert message in result.message
    assert result.val_bpb is None


def test_weights_that_are_a_program_are_not_run(score, tmp_path):
    class Program:
        def __reduce__(self):
            return (print, ("weights were run",))

    result = score(state={"table": Program()})
    assert result.failure is Reason.EXCEPTION
    assert "weights were run" not in result.log


def test_no_training_data_is_there_and_weights_cannot_be_written(score):
    source = (
        MODEL
        + """
for path in ("/nightlab/weights/checkpoint.pt", "/nightlab/weights/other"):
    try:
        open(path, "ab")
    except OSError:
        continue
    raise SystemExit("written")
assert os.listdir("/nightlab/work") == []
"""
    )
    assert score(source).failure is None


@pytest.mark.parametrize("where", ["vocabulary", "ids", "short", "weights"])
def test_our_own_fault_is_raised(score, sandbox, text, tmp_path, where):
    if where == "weights":
        with pytest.raises(EvaluationError, match="are gone"):
            evaluate(MODEL, tmp_path / "none.pt", text, "val", ORDER, 1600, sandbox)
        return
    changed = {
        "vocabulary": Text(ids=text.ids, lengths=text.lengths[:-1]),
        "ids": Text(ids=text.ids + np.uint16(10)),
        "short": Text(ids=text.ids[:LENGTH]),
    }
    with pytest.raises(EvaluationError, match="corpus"):
        score(text=changed[where])


def test_rows_are_disjoint_even_and_fixed():
    ids = np.arange(10_000, dtype=np.uint16)
    rows = select_rows(ids, 100, 1000)
    assert rows.shape == (10, 101)
    assert (np.diff(rows, axis=1) == 1).all()
    assert set(np.diff(rows[:, 0].astype(int))) <= {900, 1000}
    everything = select_rows(ids, 100, 10**9)
    targets = everything[:, 1:].ravel()
    assert len(np.unique(targets)) == len(targets) == 9900
    assert select_rows(ids, 100, 1).shape == (1, 101)


def test_the_standard_error_is_the_spread_of_repeated_samples():
    random = np.random.default_rng(0)
    scores, errors = [], []
    for _ in range(300):
        sizes = random.integers(0, 9, (60, 20))
        hardness = random.gamma(4.0, 0.5, (60, 1))
        scored = bits_per_byte(random.exponential(1.0, (60, 20)) * hardness, sizes)
        scores.append(scored.bits_per_byte)
        errors.append(scored.standard_error)
    assert np.mean(errors) == pytest.approx(np.std(scores), rel=0.15)


def test_special_targets_count_in_neither_sum():
    losses = np.array([[1.0, 50.0], [3.0, 70.0]])
    scored = bits_per_byte(losses, np.array([[2, 0], [4, 0]]))
    assert scored.bits_per_byte == pytest.approx(4.0 / math.log(2) / 6)
    assert (scored.num_tokens, scored.num_bytes) == (2, 6)
    with pytest.raises(EvaluationError, match="special"):
        bits_per_byte(losses, np.zeros((2, 2), dtype=int))
    assert bits_per_byte(losses[:1], np.array([[2, 0]])).standard_error is None
