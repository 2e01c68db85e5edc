"""The evaluator against models whose score is known, and against models that misbehave."""

import math
import textwrap
from dataclasses import dataclass, field

import numpy as np
import pytest

from nightlab.errors import EvaluationError, LedgerError
from nightlab.evaluation.evaluation import bits_per_byte, evaluate, select_rows
from nightlab.records import Answering, Reason
from nightlab.sandbox import choose_sandbox
from nightlab.sandbox.device import Device
from nightlab.training.training import TrainingOrder

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
        assert split in ("val", "holdout")
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
        split = options.pop("split", "val")
        return evaluate(textwrap.dedent(source), path, text, split, ORDER, 1600, box, **options)

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
    assert result.claimed_bpb == pytest.approx(result.val_bpb)
    assert result.claimed_bpb + result.correction_bpb == result.val_bpb
    assert result.audited_positions == len(rows)
    assert 0 < result.standard_error < 1e-6 < result.row_standard_error
    assert result.largest_deviation_nats < 1e-5
    assert 0 < result.audit_seconds < result.seconds


# Prints what it is shown, and fails with it in the message.
TELLTALE = MODEL.replace(
    "        return self.table[tokens]",
    """
        shown = tokens.unique().numel() > 1
        print(("text" if shown else "filler") + " seen", tokens[0].tolist(), flush=True)
        if shown:
            raise RuntimeError(f"text seen {tokens.tolist()}")
        return self.table[tokens]""",
)


def test_validation_text_does_not_come_out(score):
    result = score(TELLTALE)
    assert result.failure is Reason.EXCEPTION
    assert "RuntimeError" not in result.message, "the kind of an error is the candidate's choice"
    assert "had been shown validation text" in result.message
    assert "filler seen" in result.log
    assert "text seen" not in result.model_dump_json()


def test_what_fails_on_any_text_is_told_whole(score):
    result = score(MODEL.replace("return self.table[tokens]", "return self.tabel[tokens]"))
    assert result.failure is Reason.EXCEPTION
    assert "has no attribute 'tabel'" in result.message
    assert "Traceback" in result.log


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
        ("time.sleep(60)", "did not end within the time"),
    ],
)
def test_an_answer_of_another_shape_is_a_breach(score, lie, message):
    result = score(LIAR % lie, timeout_seconds=6.0 if "sleep" in lie else 60.0)
    assert result.failure is Reason.CONTRACT, result
    assert message in result.message
    assert result.val_bpb is None


def test_how_long_the_candidates_own_code_took_is_told(score):
    result = score(f"import time\n{MODEL}\n{SPIN}".replace("super().__init__()", "spin(super())"))
    assert result.failure is None, result
    answering = result.answering
    assert answering.clock == "processor"
    for seconds in (answering.claims, answering.audit, answering.repeats):
        assert 0.5 <= seconds < 3, "without the import of torch"


SPIN = """
def spin(parent, seconds=0.5):
    parent.__init__()
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
"""


@pytest.mark.parametrize("part", ["claims", "audit"])
def test_whoever_takes_longer_than_is_allowed_is_stopped(score, part):
    source = f"import time\n{MODEL}\n{SPIN}".replace("super().__init__()", "spin(super(), 60)")
    if part != "claims":
        source = source.replace("spin(super(), 60)", "super().__init__()").replace(
            "        return self.table", f"        if {AUDITED}:\n            "
            "spin(torch.nn.Identity(), 60)\n        return self.table"
        )  # fmt: skip
    result = score(source, allowed=Answering(clock="processor", **{part: 0.8}))
    assert result.failure is Reason.TIMEOUT, result
    assert "more than the 0.8 processor seconds allowed" in result.message
    assert result.answering.claims is not None
    assert result.seconds < 100


AUDITED = "tokens.any() and tokens[:, -1].eq(0).float().mean() > 0.5"
"""What tells a batch of the audit from the claims and their rehearsal, in these texts."""

CHEATS = {
    "the next token in view": (
        "return self.table[tokens]",
        "return 9.0 * torch.nn.functional.one_hot(tokens.roll(-1, 1), 64)",
        "largest deviation",
    ),
    "behaves where audited": (
        "return self.table[tokens]",
        f"if {AUDITED}: return self.table[tokens]\n"
        "        return 9.0 * torch.nn.functional.one_hot(tokens.roll(-1, 1), 64)",
        "largest deviation",
    ),
    "answers by company": (
        "return self.table[tokens]",
        "return self.table[tokens] + (tokens[:, 0].sum() % 97) / 200.0 * (tokens % 7)[..., None]"
        " * torch.arange(64) / 64",
        "",
    ),
    "not finite where audited": (
        "return self.table[tokens]",
        f"return self.table[tokens] / (0.0 if ({AUDITED}) else 1.0)",
        "not finite",
    ),
    "ends where audited": (
        "return self.table[tokens]",
        f"if {AUDITED}: os._exit(3)\n        return self.table[tokens]",
        "failed while it was scored (exception)",
    ),
}


@pytest.mark.parametrize("name", CHEATS)
def test_claims_that_an_audit_does_not_bear_out_give_no_score(score, name):
    before, after, message = CHEATS[name]
    result = score(MODEL.replace(before, after))
    wanted = {"not finite where audited": Reason.NONFINITE, "ends where audited": Reason.EXCEPTION}
    assert result.failure is wanted.get(name, Reason.AUDIT), result
    assert message in result.message
    assert result.val_bpb is None
    assert result.claimed_bpb is not None
    if result.failure is Reason.AUDIT:
        assert result.correction_bpb is not None
        assert result.standard_error is not None
        assert result.largest_deviation_nats is not None
        assert result.audited_positions == 100


@pytest.mark.parametrize(
    ("keep_below", "positions"), [(None, 20), (1.9, 20), (2.2, 100), (math.inf, 100)]
)
def test_a_score_that_could_be_kept_is_audited_in_every_row(score, keep_below, positions):
    result = score(keep_below_bpb=keep_below, screen_positions=20)
    assert result.failure is None, result
    assert result.val_bpb == pytest.approx(2.033, abs=0.01)
    assert result.audited_positions == positions


def test_the_holdout_split_is_not_scored_without_a_record_of_it(score):
    with pytest.raises(ValueError, match="is recorded"):
        score(split="holdout")
    written = []
    result = score(split="holdout", record_use=written.append)
    assert written == [result]
    assert result.split == "holdout"
    assert result.val_bpb is not None

    def refuse(_evaluation):
        raise LedgerError("git refuses")

    with pytest.raises(LedgerError, match="git refuses"):
        score(split="holdout", record_use=refuse)


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
assert set(os.listdir("/nightlab/work")) <= {"tmp"}
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
    assert set(np.diff(rows[:, 0].astype(int))) <= {909, 1010}
    everything = select_rows(ids, 100, 10**9).ravel()
    assert len(np.unique(everything)) == len(everything) == 99 * 101
    assert select_rows(ids, 100, 1).shape == (1, 101)


def test_the_standard_error_is_the_spread_of_repeated_samples():
    random = np.random.default_rng(0)
    scores, errors = [], []
    for _ in range(300):
        sizes = random.integers(0, 9, (60, 20))
        hardness = random.gamma(4.0, 0.5, (60, 1))
        scored = bits_per_byte(random.exponential(1.0, (60, 20)) * hardness, sizes)
        scores.append(scored.bits_per_byte)
        errors.append(scored.row_standard_error)
    assert np.mean(errors) == pytest.approx(np.std(scores), rel=0.15)


def test_special_targets_count_in_neither_sum():
    losses = np.array([[1.0, 50.0], [3.0, 70.0]])
    scored = bits_per_byte(losses, np.array([[2, 0], [4, 0]]))
    assert scored.bits_per_byte == pytest.approx(4.0 / math.log(2) / 6)
    assert (scored.num_tokens, scored.num_bytes) == (2, 6)
    with pytest.raises(EvaluationError, match="special"):
        bits_per_byte(losses, np.zeros((2, 2), dtype=int))
    assert bits_per_byte(losses[:1], np.array([[2, 0]])).row_standard_error is None
