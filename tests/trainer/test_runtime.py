"""The trainer's side of the socket, with the host's real code on the other end."""

import gc
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

from nightlab.sandbox.protocol import Deadline, Pair, PeerClosed, Ready, Saved, Step
from nightlab.training.token_file import TokenFile

torch = pytest.importorskip("torch")
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402 - where torch is there
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

runtime = pytest.importorskip("trainer.runtime")

TRAINER = Path(__file__).parents[2] / "trainer"
LENGTH = 8


@pytest.fixture(autouse=True)
def unfrozen():
    """Candidates freeze the collector at the gate, and here they run in this process."""
    gc.unfreeze()
    yield
    gc.unfreeze()


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "train.bin").write_bytes(np.arange(40_000, 65_000, dtype="<u2").tobytes())
    (tmp_path / "manifest.json").write_text(json.dumps({"vocab_size": 65_535}))
    return tmp_path


class Host:
    """Plays the host by hand: opens the gate when asked, notes what it is told."""

    def __init__(
        self,
        corpus: Path,
        budget_seconds: float,
        budget_tokens: int | None = None,
        **go: object,
    ) -> None:
        self.pair = Pair.open()
        self.messages: list[object] = []
        self._budget_seconds = budget_seconds
        self._budget_tokens = budget_tokens
        self._go = go
        self._corpus = corpus
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def connect(self, monkeypatch):
        start = {
            "type": "start",
            "spec": {"vocab_size": 65_535, "sequence_length": LENGTH, "device": "cpu"},
            "seed": 3,
            "budget_seconds": self._budget_seconds,
            "budget_tokens": self._budget_tokens,
            "checkpoint": str(self._corpus / "checkpoint.pt"),
            "a_field_of_tomorrow": 1,
        }
        self.pair.channel.send(start, Deadline.after(5))
        self._thread.start()
        monkeypatch.setenv("NIGHTLAB_SOCKET", str(self.pair.candidate))
        return runtime.connect()

    def told(self, run) -> list[object]:
        run._frames._connection.close()
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.messages

    def _serve(self) -> None:
        deadline = Deadline.after(30)
        with (
            TokenFile.from_path(self._corpus / "train.bin") as tokens,
            self.pair.channel as channel,
        ):
            while True:
                try:
                    message = channel.receive(deadline)
                except PeerClosed:
                    return
                self.messages.append(message)
                if isinstance(message, Ready):
                    go = {"type": "go", "num_tokens": tokens.num_tokens, **self._go}
                    channel.send(go, deadline, tokens.fileno())


def test_a_whole_training(corpus, monkeypatch):
    host = Host(corpus, budget_seconds=1.5)
    run = host.connect(monkeypatch)
    assert run.spec == runtime.Spec(65_535, LENGTH, "cpu")
    assert (run.seed, run.budget_seconds, run.fraction) == (3, 1.5, 0.0)
    model = torch.nn.Linear(3, 3)
    run.rehearse_save(model)
    assert sorted(os.listdir(corpus)) == ["manifest.json", "train.bin"], "nothing is left behind"

    fractions = []
    for inputs, targets in run.batches(4):
        assert inputs.shape == targets.shape == (4, LENGTH)
        assert inputs.dtype == torch.int64
        assert (targets == inputs + 1).all(), "each target is the next token of its input"
        fractions.append(run.fraction)
        time.sleep(0.05)
    assert fractions == sorted(fractions)
    assert 0.8 < fractions[-1] <= 1
    run.report(len(fractions), 2.0, 7, 0.1, flops_per_token=9.0, num_params=12)
    run.save(model)

    ready, step, saved = host.told(run)
    assert ready == Ready(type="ready")
    assert step == Step(
        type="step", step=len(fractions), loss=2.0, tokens=7, learning_rate=0.1,
        flops_per_token=9.0, num_params=12,
    )  # fmt: skip
    assert saved == Saved(type="saved", final=True)
    loaded = torch.load(corpus / "checkpoint.pt", weights_only=True)
    assert torch.equal(loaded["weight"], model.weight)
    assert sorted(os.listdir(corpus)) == ["checkpoint.pt", "manifest.json", "train.bin"]


def test_a_token_budget_ends_the_batches_whatever_the_time(corpus, monkeypatch):
    # The seconds are over before the first batch is used: only tokens count.
    host = Host(corpus, budget_seconds=0.001, budget_tokens=4 * LENGTH * 10 + LENGTH)
    run = host.connect(monkeypatch)
    fractions = []
    for inputs, _ in run.batches(4):
        assert inputs.shape == (4, LENGTH), "the batches are whole, also the last"
        fractions.append(run.fraction)
    whole = 4 * LENGTH * 10 + LENGTH
    assert fractions == pytest.approx([4 * LENGTH * step / whole for step in range(1, 11)])
    run.save(torch.nn.Linear(1, 1))
    assert host.told(run)[-1] == Saved(type="saved", final=True)


def test_a_token_budget_that_fits_comes_to_exactly_one(corpus, monkeypatch):
    run = Host(corpus, budget_seconds=30, budget_tokens=4 * LENGTH * 3).connect(monkeypatch)
    assert [run.fraction for _ in run.batches(4)] == pytest.approx([1 / 3, 2 / 3, 1])


def test_a_batch_larger_than_the_token_budget_is_refused_before_the_gate(corpus, monkeypatch):
    host = Host(corpus, budget_seconds=30, budget_tokens=4 * LENGTH - 1)
    run = host.connect(monkeypatch)
    with pytest.raises(ValueError, match="4 x 8 = 32 tokens, and the whole budget is 31"):
        next(run.batches(4))
    assert host.told(run) == []


def test_leaving_the_batches_early_is_not_the_end(corpus, monkeypatch):
    host = Host(corpus, budget_seconds=30)
    run = host.connect(monkeypatch)
    for _ in run.batches(2):
        break
    run.save(torch.nn.Linear(1, 1))
    with pytest.raises(RuntimeError, match="twice"):
        next(run.batches(2))
    assert host.told(run)[-1] == Saved(type="saved", final=False)


def test_at_the_gate_what_start_up_made_is_taken_from_the_garbage_collector(corpus, monkeypatch):
    run = Host(corpus, budget_seconds=30).connect(monkeypatch)

    class Garbage:
        pass

    garbage = Garbage()
    garbage.itself, gone = garbage, weakref.ref(garbage)
    gc.disable()
    del garbage
    try:
        next(run.batches(2))
    finally:
        gc.enable()
    assert gone() is None, "what is garbage already is collected first"
    assert gc.get_freeze_count() > 1000


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_not_finite_is_told_and_raised(corpus, monkeypatch, loss):
    host = Host(corpus, budget_seconds=30)
    run = host.connect(monkeypatch)
    with pytest.raises(FloatingPointError, match="step 4"):
        run.report(4, loss, 9)
    assert host.told(run) == [Step(type="step", step=4, loss=None, tokens=9)]


def test_a_slow_save_is_given_time_but_never_half_of_the_budget(corpus, monkeypatch):
    run = Host(corpus, budget_seconds=10).connect(monkeypatch)
    run._started = 100.0
    for rehearsed, kept in ((0.0, 0.5), (0.3, 0.9), (60.0, 5.0)):
        least = runtime.MIN_SAVE_SECONDS["wall"]
        run._save_seconds["wall"] = max(least, runtime.SAVE_TIME_FACTOR * rehearsed)
        assert run._last_moment() == pytest.approx(110 - kept)
    run._clock = "processor"
    assert run._last_moment() == pytest.approx(109.8), "a rehearsal on the other clock"


def test_a_rehearsal_is_timed_on_both_clocks(corpus, monkeypatch):
    run = Host(corpus, budget_seconds=10).connect(monkeypatch)
    save = torch.save

    def slowly(state, path):
        save(state, path)
        time.sleep(0.5)

    monkeypatch.setattr(torch, "save", slowly)
    run.rehearse_save(torch.nn.Linear(3, 3))
    assert run._save_seconds["wall"] >= 1.5
    assert run._save_seconds["processor"] < 1.0, "a disk that is waited for computes nothing"


class Ticking:
    """A clock that moves when it is told to."""

    def __init__(self, monkeypatch, kind):
        self.now = 100.0
        monkeypatch.setitem(runtime.CLOCKS, kind, lambda: self.now)


def steps_of(run, ticking, seconds):
    """Take steps of these lengths, the last of them again and again."""
    lengths, count = list(seconds), 0
    for _ in run.batches(2):
        ticking.now += lengths.pop(0) if len(lengths) > 1 else lengths[0]
        count += 1
    return count, ticking.now - 100.0


@pytest.mark.parametrize("kind", ["processor", "wall"])
def test_the_batches_follow_the_clock_that_the_host_names(corpus, monkeypatch, kind):
    ticking = Ticking(monkeypatch, kind)
    run = Host(corpus, budget_seconds=10, clock=kind).connect(monkeypatch)
    fractions = []
    for _ in run.batches(2):
        ticking.now += 1.0
        fractions.append(run.fraction)
    least = runtime.MIN_SAVE_SECONDS[kind]
    assert fractions == pytest.approx([step / (10 - least) for step in range(1, 10)])


def test_one_step_that_stalled_does_not_end_the_training(corpus, monkeypatch):
    ticking = Ticking(monkeypatch, "processor")
    run = Host(corpus, budget_seconds=20, clock="processor").connect(monkeypatch)
    steps, end = steps_of(run, ticking, [0.1] * 165 + [2.0, 0.1])
    assert 19.5 < end < 20 - 0.2, "what one more step of 0.1 s and the save need is left, no more"
    assert steps > 170


def test_what_reports_say_of_whole_steps_counts_too(corpus, monkeypatch):
    # As on a GPU: the batches of a step are taken at once, and it is waited for at its end.
    ticking = Ticking(monkeypatch, "processor")
    run = Host(corpus, budget_seconds=20, clock="processor").connect(monkeypatch)
    for batch, _ in enumerate(run.batches(2), start=1):
        if batch % 4 == 0:
            ticking.now += 1.0
            run.report(batch // 4, 2.0, batch)
    assert ticking.now - 100.0 == 19.0, "one more step would not have ended in time"


def test_a_dry_runs_end_is_on_the_same_clock(corpus, monkeypatch):
    ticking = Ticking(monkeypatch, "processor")
    go = {"clock": "processor", "rehearsal_seconds": 3.0}
    run = Host(corpus, budget_seconds=20, **go).connect(monkeypatch)
    assert steps_of(run, ticking, [1.0])[0] == 3


def test_processor_seconds_are_those_of_threads_and_children_too():
    before = runtime.processor_seconds()
    time.sleep(0.2)
    assert runtime.processor_seconds() - before < 0.15
    spin = "import time\nwhile time.process_time() < 0.3: pass"
    thread = threading.Thread(
        target=subprocess.run, args=([sys.executable, "-S", "-c", spin],), kwargs={"check": True}
    )
    thread.start()
    thread.join()
    assert runtime.processor_seconds() - before > 0.25


def test_compiled_weights_have_plain_names():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    names = list(model.state_dict())
    model[1] = torch.compile(model[1])
    assert list(runtime._plain_state(torch.compile(model))) == names


NOT_COMPILED = """
import torch, runtime

def double(values): return 2 * values
class Block(torch.nn.Module):
    def forward(self, values): return double(values)

model, block = torch.nn.Linear(2, 2), Block()
names = list(model.state_dict())
assert torch.compile(double, fullgraph=True, mode="max-autotune") is double
assert torch.compile(fullgraph=True, dynamic=False)(double) is double
assert torch.compile(double, backend="inductor") is double
assert torch.compiler.compile(double) is double
assert torch.compile(model)._orig_mod is model
assert list(model.state_dict()) == names and list(model.modules()) == [model]
block.compile(fullgraph=True)
assert block(torch.ones(1)).item() == 2

@torch.compile
def one(values): return 3 * values
@torch.compile(fullgraph=True)
def two(values): return 4 * values
assert [one(2), two(2)] == [6, 8]

graphs = []
def own(graph, inputs):
    graphs.append(graph)
    return graph.forward
assert torch.compile(double, backend=own)(torch.ones(1)).item() == 2 and len(graphs) == 1
"""


@pytest.mark.parametrize("switch", ["0", None])
def test_where_nothing_is_to_be_compiled_torch_compile_gives_back_what_it_is_given(switch):
    environment = {**os.environ, "PYTHONPATH": str(TRAINER)}
    environment.pop("NIGHTLAB_COMPILES", None)
    program = "import torch, runtime; assert torch.compile is runtime._TORCH_COMPILE"
    if switch is not None:
        environment["NIGHTLAB_COMPILES"], program = switch, NOT_COMPILED
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_synthetic_batches_leave_the_global_random_state_alone(corpus, monkeypatch):
    run = Host(corpus, budget_seconds=10).connect(monkeypatch)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    inputs, targets = run.synthetic_batch(3, 5)
    assert inputs.shape == targets.shape == (3, 5)
    assert (inputs[:, 1:] == targets[:, :-1]).all()
    assert torch.equal(before, torch.get_rng_state())


def windows(tokens, length, seed=0):
    return runtime.TokenWindows(np.asarray(tokens, dtype="<u2"), length, torch.device("cpu"), seed)


def starts_of(made, count):
    return torch.cat([next(made)[0][:, 0] for _ in range(count)]).tolist()


def test_rows_come_in_the_order_of_the_file_then_in_others():
    # 90 windows of 11 tokens, and a rest.
    made = windows(range(999), 10).batches(3, 10)
    whole = [11 * row for row in range(90)]
    assert starts_of(made, 30) == whole
    again, third = starts_of(made, 30), starts_of(made, 30)
    assert sorted(again) == sorted(third) == whole, "an epoch has every window once"
    assert again != whole
    assert again not in (whole, third)


def test_a_row_is_a_window_and_its_next_token():
    text = [[100 * row + place for place in range(5)] for row in range(6)]
    inputs, targets = next(windows(np.ravel(text), 4).batches(6, 4))
    assert inputs.tolist() == [row[:-1] for row in text]
    assert targets.tolist() == [row[1:] for row in text]


def test_shorter_rows_are_cut_from_the_windows():
    text = [[100 * row + place for place in range(10)] for row in range(3)]
    inputs, targets = next(windows(np.ravel(text), 9).batches(6, 4))
    assert inputs[:, 0].tolist() == [0, 4, 100, 104, 200, 204], "none goes across windows"
    assert (targets - inputs == 1).all()


def test_longer_rows_are_consecutive_tokens_of_the_file():
    inputs, targets = next(windows(range(100), 4).batches(3, 30))
    assert inputs[:, 0].tolist() == [0, 30, 60]
    assert (targets - inputs == 1).all()
    with pytest.raises(ValueError, match=r"of length 100 needs 101 training tokens, .* has 100"):
        next(windows(range(100), 4).batches(1, 100))


def test_the_seed_decides_the_later_epochs():
    first, again, other = (windows(range(500), 10, seed).batches(5, 10) for seed in (1, 1, 2))
    orders = [starts_of(made, 18) for made in (first, again, other)]
    assert orders[0] == orders[1]
    assert orders[0][:45] == orders[2][:45], "the host has drawn the first"
    assert orders[0] != orders[2]


def test_high_token_ids_stay_positive():
    inputs, targets = next(windows([65_535, 0, 65_534], 2).batches(2, 2))
    assert inputs.tolist() == [[65_535, 0]] * 2
    assert targets.tolist() == [[0, 65_534]] * 2
    with pytest.raises(ValueError, match="needs 4 training tokens"):
        next(windows([1, 2, 3], 3).batches(1, 3))


class Copied(Exception):  # noqa: N818 - no error: the end of what can be seen without a GPU
    pass


class FirstCopy(TorchDispatchMode):
    """Notes what is pinned, and ends at the first copy to a device."""

    pinned = False

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        options = options or {}
        if function is torch.ops.aten._pin_memory.default:
            self.pinned = True
            return arguments[0]
        if function is torch.ops.aten._to_copy.default and "device" in options:
            raise Copied(str(options["device"]), self.pinned, options.get("non_blocking", False))
        return function(*arguments, **options)


def test_the_indices_of_a_batch_are_copied_to_a_gpu_without_waiting_for_it():
    made = windows(range(100), 4)
    with FakeTensorMode(allow_non_fake_inputs=True):
        made._bits = torch.empty(100, dtype=torch.int16, device="cuda")
        with FirstCopy(), pytest.raises(Copied) as copied:
            next(made.batches(2, 4))
    assert copied.value.args == ("cuda:0", True, True)


def test_without_a_host_the_message_says_how_to_run_by_hand(monkeypatch):
    monkeypatch.delenv("NIGHTLAB_SOCKET", raising=False)
    with pytest.raises(RuntimeError, match=r"trainer/runtime\.py --corpus"):
        runtime.connect()


BY_HAND = """
import time, torch, runtime
def main():
    run = runtime.connect()
    for step, (inputs, targets) in enumerate(run.batches(4), start=1):
        run.report(step, 1.25, step * inputs.numel())
        end = time.process_time() + 0.1
        while time.process_time() < end: pass
    run.save(torch.nn.Linear(2, 2))
if __name__ == "__main__":
    main()
"""


def by_hand(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(TRAINER / "runtime.py"), *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_by_hand(corpus):
    train = corpus / "train.py"
    train.write_text(textwrap.dedent(BY_HAND))
    done = by_hand(
        "--corpus", str(corpus), "--seconds", "1.5", "--output", str(corpus / "out"), str(train)
    )
    assert done.returncode == 0, done.stderr
    assert "ready after" in done.stdout
    assert "loss 1.2500" in done.stdout
    assert "saved after" in done.stdout
    assert done.stdout.endswith(f"checkpoint: {corpus / 'out' / 'checkpoint.pt'}\n")


def test_by_hand_the_text_is_the_engines(tmp_path):
    path = tmp_path / "train.bin"
    path.write_bytes(np.arange(1_003, dtype="<u2").tobytes())
    descriptor = runtime._text_by_hand(path, LENGTH, 11)
    try:
        with TokenFile.from_windows(path, seed=11, sequence_length=LENGTH) as tokens:
            assert os.pread(descriptor, 2**20, 0) == os.pread(tokens.fileno(), 2**20, 0)
    finally:
        os.close(descriptor)


def test_by_hand_without_a_corpus_says_what_is_missing(tmp_path):
    done = by_hand("--corpus", str(tmp_path), str(TRAINER / "runtime.py"))
    assert done.returncode == 2
    assert "train.bin" in done.stderr


@pytest.mark.parametrize("differentiable", [False, True])
def test_optimisers_step_without_torchs_compiler(tmp_path, differentiable):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(f"""
        import sys
        import torch
        if sys.argv[1] == "runtime":
            import runtime
        torch.manual_seed(0)
        weights = [torch.randn(3, 3, requires_grad=True) for _ in range(2)]
        used = [each.clone() for each in weights] if {differentiable} else weights
        for kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop):
            optimizer = kind(used, lr=0.1, differentiable={differentiable})
            optimizer.add_param_group({{"params": [torch.zeros(1, requires_grad=True)]}})
            for _ in range(2):
                for each in used:
                    each.grad = torch.ones_like(each)
                optimizer.step()
                assert torch.is_grad_enabled()
                optimizer.zero_grad()
        print([each.tolist() for each in used], used[0].grad_fn is not None)
        print("torch._dynamo" in sys.modules)
        """)
    )
    told = {}
    for whose in ("runtime", "torch"):
        environment = {**os.environ, "PYTHONPATH": str(TRAINER), "NIGHTLAB_COMPILES": "0"}
        done = subprocess.run(
            [sys.executable, str(program), whose], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        told[whose] = done.stdout.splitlines()
    assert told["runtime"][0] == told["torch"][0]
    assert told["runtime"][1] == "False"
    assert told["torch"][1] == "True", "there is nothing to keep out any more"
