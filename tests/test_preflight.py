"""Dry runs of real candidates in a real sandbox, on random tokens."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from nightlab.device import Device
from nightlab.preflight import is_broken, is_repairable, preflight_due, run_preflight
from nightlab.records import Edit, InFlight, PreflightResult, Proposal, Reason, utc_now
from nightlab.sandbox import choose_sandbox
from nightlab.settings import SessionSettings

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
    return choose_sandbox(trust_candidate=False)


@pytest.fixture
def dry_run(sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nightlab.preflight.GRACE_SECONDS", 5.0)

    def run(change: tuple[str, str] = ("", ""), **settings: object) -> PreflightResult:
        old, new = change
        assert old in HONEST
        source = HONEST.replace(old, new, 1) if old else HONEST
        session = SimpleNamespace(
            settings=SessionSettings.model_validate(
                {"preflight_seconds": 1.0, "startup_seconds": 60.0, **settings}
            ),
            device=Device(name="cpu", description="test", threads=1),
            ledger=SimpleNamespace(source=lambda commit: source),
            ready_corpus=SimpleNamespace(vocab_size=64),
            places=SimpleNamespace(cache=tmp_path),
            sandbox=sandbox,
            work=tmp_path,
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
