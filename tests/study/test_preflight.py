"""Dry runs of real candidates in a real sandbox, on random tokens."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from nightlab.presets import PRESETS
from nightlab.proposers import set_knobs
from nightlab.records import Edit, InFlight, PreflightResult, Proposal, Reason, utc_now
from nightlab.sandbox import choose_sandbox
from nightlab.sandbox.device import Device
from nightlab.sandbox.endable import EndableSandbox
from nightlab.sandbox.failure import Failure
from nightlab.settings import SessionSettings
from nightlab.study.preflight import (
    is_broken,
    is_repairable,
    preflight_due,
    run_preflight,
    with_few_rows,
)

HONEST = """
import time

import runtime
import torch


class Model(torch.nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.logits = torch.nn.Embedding(vocab_size, vocab_size)

    def forward(self, tokens):
        return self.logits(tokens)


def build_model(spec):
    return Model(spec.vocab_size)


def main():
    run = runtime.connect()
    model = build_model(run.spec)
    run.rehearse_save(model)
    for step, (inputs, _) in enumerate(run.batches(2), start=1):
        run.report(step, 5.0, step * inputs.numel())
        time.sleep(0.01)
    run.save(model)


if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def sandbox():
    return EndableSandbox(choose_sandbox(trust_candidate=False))


@pytest.fixture
def dry_run(sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nightlab.study.preflight.GRACE_SECONDS", 5.0)

    def run(
        change: tuple[str, str] = ("", ""), device: str = "cpu", **settings: object
    ) -> PreflightResult:
        old, new = change
        assert old in HONEST
        source = HONEST.replace(old, new, 1) if old else HONEST
        session = SimpleNamespace(
            settings=SessionSettings.model_validate(
                {"preflight_seconds": 1.0, "startup_seconds": 60.0, **settings}
            ),
            device=Device(name=device, description="test", threads=1),
            ledger=SimpleNamespace(source=lambda commit: source),
            ready_corpus=SimpleNamespace(vocab_size=64),
            locks=tmp_path,
            sandbox=sandbox,
            work=tmp_path,
            lanes=1,
            startup_free_seconds=None,
        )
        return run_preflight(session, begun())

    return run


def begun(**more) -> InFlight:
    values = {"study": "night", "number": 1, "parent": "p", "commit": "c", "started_at": utc_now()}
    return InFlight(**{**values, **more})


@pytest.mark.slow
def test_an_honest_candidate_passes_and_leaves_nothing(dry_run, tmp_path: Path) -> None:
    result = dry_run()
    assert (result.failure, result.message, result.log) == (None, "", "")
    assert not list(tmp_path.glob("*.pt"))


@pytest.mark.parametrize(
    ("change", "reason", "said"),
    [
        (
            ("        time.sleep(0.01)", '        raise KeyError("first step")'),
            "exception",
            "first",
        ),
        (("    run.save(model)\n", "    pass\n"), "contract", "without saving"),
        (("return self.logits(tokens)", "return self.logits(tokens) / 0 * 0"), "nonfinite", ""),
        (("return self.logits(tokens)", "return self.logits(tokens)[:, 1:]"), "contract", ""),
    ],
)
def test_what_would_break_at_the_end_breaks_in_seconds(dry_run, change, reason, said) -> None:
    result = dry_run(change)
    assert result.failure == Reason(reason)
    assert said in result.message
    assert result.message


def test_a_first_step_that_takes_long_is_left_to_the_training(dry_run) -> None:
    result = dry_run(("        time.sleep(0.01)", "        time.sleep(3600)"))
    assert result.failure is None


def test_a_start_up_that_hangs_is_found_before_the_training(dry_run) -> None:
    hangs = ("    run = runtime.connect()", "    time.sleep(3600)\n    run = runtime.connect()")
    result = dry_run(hangs, startup_seconds=3.0)
    assert result.failure is Reason.STARTUP_TIMEOUT


def test_where_tokens_are_the_budget_the_candidate_is_told_so_and_ends_in_seconds(dry_run) -> None:
    # Far more than a second brings; without the number the division would fail.
    counts = ("    run.save(model)", "    assert run.budget_tokens // 2 > 0\n    run.save(model)")
    result = dry_run(counts, budget_tokens=10**9)
    assert (result.failure, result.message) == (None, "")
    assert result.seconds < 60


COMPILED = (
    "    model = build_model(run.spec)\n",
    "    model = build_model(run.spec)\n"
    "    compiled = torch.compile(model, fullgraph=True, dynamic=False)\n"
    "    compiled(run.synthetic_batch(2)[0]).sum().backward()\n",
)
DECORATED = (
    "class Model(torch.nn.Module):",
    "@torch.compile(fullgraph=True)\n"
    "def capped(logits):\n"
    "    return 15 * torch.tanh(logits / 15)\n\n\n"
    "class Model(torch.nn.Module):",
)
# Torch has no gradient of FlexAttention on a CPU, so it is asked for none.
FLEX = (
    "        return self.logits(tokens)",
    "        from torch.nn.attention.flex_attention import create_block_mask, flex_attention\n"
    "        length, heads = tokens.shape[1], self.logits(tokens).detach()[:, None]\n"
    "        sees = lambda batch, head, query, key: query >= key\n"
    "        mask = create_block_mask(sees, None, None, length, length, device='cpu')\n"
    "        mixed = flex_attention(heads, heads, heads, block_mask=mask)[:, 0]\n"
    "        return self.logits(tokens) + mixed",
)


@pytest.mark.parametrize("change", [COMPILED, DECORATED, FLEX], ids=["model", "function", "flex"])
def test_what_only_compiles_whole_is_not_broken_where_nothing_is_compiled(dry_run, change) -> None:
    if change is DECORATED:
        use = HONEST.replace("return self.logits(tokens)", "return capped(self.logits(tokens))")
        change = (HONEST, use.replace(*DECORATED))
    elif change is FLEX:
        trained = "    model = build_model(run.spec)\n"
        use = HONEST.replace(trained, f"{trained}    model(run.synthetic_batch(2)[0])\n")
        change = (HONEST, use.replace(*FLEX))
    result = dry_run(change)
    assert (result.failure, result.message, result.log) == (None, "", "")


ROWS = ("def main():\n", "DEVICE_BATCH_SIZE = 128\nTOTAL_BATCH_TOKENS = 262_144\n\n\ndef main():\n")


@pytest.mark.parametrize(
    ("rows", "few"), [(128, 8), (12, 6), (50, 5), (13, 1), (8, 8), (6, 6), ("16 * 8", "16 * 8")]
)
def test_rows_become_a_divisor_and_tokens_keep_their_share(rows, few) -> None:
    source = "DEVICE_BATCH_SIZE: int = {}  # rows\nx = 1\nTOTAL_BATCH_TOKENS = {}\n"
    total, fewer = (6 * 1024 * size if isinstance(size, int) else 7 for size in (rows, few))
    assert with_few_rows(source.format(rows, total)) == source.format(few, fewer)


def test_the_presets_trainer_has_few_rows_on_a_gpu_and_still_goes_together() -> None:
    trainer = Path(__file__).parents[2] / "trainer" / "train.py"
    source = set_knobs(trainer.read_text(), PRESETS["h100"].knobs)
    few = {"DEVICE_BATCH_SIZE": 8, "TOTAL_BATCH_TOKENS": 16_384}
    assert with_few_rows(source).replace("16384", "16_384") == set_knobs(source, few)


@pytest.mark.parametrize(
    ("device", "change", "reason", "rows"),
    [
        # A model that insists on its constant finds it true: nothing of it is called broken.
        ("cuda:0", ROWS, Reason.OOM, "DEVICE_BATCH_SIZE = 8\nTOTAL_BATCH_TOKENS = 16384\n"),
        # Its rows cannot be lowered, so want of memory may be for want of a compiler.
        ("cuda:0", ("", ""), None, "main():"),
        ("cpu", ROWS, Reason.OOM, "DEVICE_BATCH_SIZE = 128\nTOTAL_BATCH_TOKENS = 262_144\n"),
    ],
    ids=["few rows", "rows unknown", "on a cpu"],
)
def test_want_of_memory_is_told_where_it_is_the_candidates(
    dry_run, monkeypatch, device, change, reason, rows
) -> None:
    tried = []

    def rehearse(session, order, source, checkpoint):
        tried.append(source)
        return Failure(reason=Reason.OOM, message="out of memory"), "Traceback"

    monkeypatch.setattr("nightlab.study.preflight._rehearse", rehearse)
    result = dry_run(change, device)
    assert result.failure is reason
    assert rows in tried[0]
    assert ("sets DEVICE_BATCH_SIZE to 8" in result.message) == ("SIZE = 8" in rows)


def test_it_is_due_once_for_each_candidate_and_never_without_one() -> None:
    session = SimpleNamespace(settings=SessionSettings(preflight_seconds=1.0))
    idea = Proposal(title="An idea", proposer="llm", edits=(Edit(search="a", replace="b"),))
    fresh = begun(proposal=idea)
    assert preflight_due(session, fresh)
    assert not preflight_due(session, begun())
    assert not preflight_due(session, begun(proposal=idea.model_copy(update={"error": "No."})))
    passed = begun(proposal=idea, preflight=PreflightResult(seconds=1.0))
    assert not preflight_due(session, passed)
    off = SimpleNamespace(settings=SessionSettings(preflight_seconds=0.0))
    assert not preflight_due(off, fresh)


def test_a_broken_candidate_is_mended_twice_at_most() -> None:
    idea = Proposal(title="An idea", proposer="llm", edits=(Edit(search="a", replace="b"),))
    failed = PreflightResult(failure=Reason.EXCEPTION, message="It raised.", seconds=1.0)
    broken = begun(proposal=idea, preflight=failed)
    assert is_broken(broken)
    assert is_repairable(broken)
    assert not is_repairable(broken.model_copy(update={"repairs": 2}))
    assert not is_repairable(broken.model_copy(update={"is_given_up": True}))
    baseline = Proposal(title="baseline", proposer="baseline")
    assert not is_repairable(begun(proposal=baseline, preflight=failed))
