"""A session killed in every state that it can be in: nothing paid for is lost."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from nightlab.judging.decision import BASELINE_REPLICATES
from nightlab.ledger import Ledger, confirmations
from nightlab.records import Reason
from nightlab.study.confirmation import pairs
from tests.conftest import (
    expect_success,
    git,
    nightlab_command,
    nightlab_environment,
    run_nightlab,
)
from tests.scripted_endpoint import ScriptedEndpoint, Text, answer_with_edit

SLOW = "HEAD_LEARNING_RATE = 0.00001"
"""A baseline that hardly learns, so that putting it right is better beyond all noise."""


class Sessions:
    """Sessions of one study, one after the other, each ended by a kill."""

    def __init__(self, clone: Path, cache: Path, options: tuple[str, ...], extra: dict[str, str]):
        self.clone = clone
        self.ledger = Ledger(clone, "night")
        self._cache = cache
        self._options = options
        self._environment = nightlab_environment(cache, extra)
        self._count = 0

    def kill_when(
        self, reached: Callable[[str], bool], trials: int = 2, deadline_seconds: float = 600
    ) -> None:
        """Start a session, and kill it once its output, or git, says so."""
        options = (*self._options, "--trials", str(trials))
        self._count += 1
        told = self.clone.parent / f"session-{self._count}.log"
        with told.open("wb") as output:
            session = subprocess.Popen(
                nightlab_command("research", "--study", "night", *options),
                cwd=self.clone,
                env={**self._environment, "PYTHONUNBUFFERED": "1"},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + deadline_seconds
        try:
            while not reached(told.read_text(encoding="utf-8")):
                if session.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"session {self._count} did not come so far:\n{told.read_text()}")
                time.sleep(0.05)
        finally:
            os.kill(session.pid, signal.SIGKILL)
            session.wait()


def says(*texts: str) -> Callable[[str], bool]:
    return lambda output: all(text in output for text in texts)


@pytest.mark.slow
def test_a_session_goes_on_from_every_state(
    clone: Path, shared_cache: Path, prefect_api: dict[str, str]
) -> None:
    trainer = clone / "trainer" / "train.py"
    source = trainer.read_text()
    (line,) = [each for each in source.splitlines() if each.startswith("HEAD_LEARNING_RATE")]
    slow_line = line.replace("HEAD_LEARNING_RATE = 0.04", SLOW)
    trainer.write_text(source.replace(line, slow_line))
    author = ("-c", "user.name=Test", "-c", "user.email=test@localhost")
    git(clone, *author, "commit", "-q", "-am", "A slow baseline")
    right = answer_with_edit(slow_line, line, title="Put it right")
    comments = [answer_with_edit("import math", f"# {n}.\nimport math") for n in range(4)]
    # The first answer is lost with the session that asked for it.
    answers = [Text(content=right, delay_seconds=4), right, *comments]
    with ScriptedEndpoint(answers) as endpoint:
        options = ("--budget-tokens", "40960", "--preflight-seconds", "1")
        options += ("--confirm-replicates", "2", "--model", "openai/scripted")
        options += ("--api-base", endpoint.api_base)
        sessions = Sessions(clone, shared_cache, options, prefect_api)
        ledger = sessions.ledger

        sessions.kill_when(says("trial 0: preflight"))
        assert [(mark.number, mark.preflight) for mark in ledger.marks()] == [(0, None)]

        # In the middle of a round: with two cores both seeds, which then are trained anew.
        sessions.kill_when(lambda output: output.count("trial 0: train") == BASELINE_REPLICATES)
        (mark,) = ledger.marks()
        assert mark.preflight is not None

        # Killed before the request is sent, it would leave its answer to the next session.
        sessions.kill_when(lambda output: "trial 1: propose" in output and bool(endpoint.requests))
        assert len(ledger.record(0).replicates) == BASELINE_REPLICATES
        for before, after in zip(mark.replicates, ledger.record(0).replicates, strict=False):
            assert after == mark_without_bulk(before)

        def idea_in_hand(output: str) -> bool:
            waiting = [each for each in ledger.marks() if each.number == 2]
            return "trial 1: train" in output and any(each.proposal for each in waiting)

        sessions.kill_when(idea_in_hand)
        under_way, waiting = ledger.marks()
        assert (under_way.number, waiting.number, waiting.attempts) == (1, 2, 0)
        assert under_way.proposal is not None
        assert waiting.proposal is not None

        sessions.kill_when(says("trial 2: evaluate"))
        assert ledger.record(1).reason is Reason.IMPROVED
        (mark,) = ledger.marks()
        assert mark.number == 2

        sessions.kill_when(says("confirm pair 2 of at most 2"), trials=1)
        assert not ledger.marks()
        (confirmation,) = confirmations(ledger)
        assert confirmation.finished_at is None
        assert len(pairs(confirmation)) == 1
        asked = len(endpoint.requests)

    expect_success(run_nightlab(clone, shared_cache, "confirm", "night", extra=prefect_api))
    (finished,) = confirmations(ledger)
    assert finished.baseline_replicates[:1] == confirmation.baseline_replicates[:1]
    assert len(pairs(finished)) == 2
    assert finished.holds
    assert asked <= len(answers)
    paid = [record.proposer for record in ledger.records()]
    assert paid == ["baseline", "llm", "llm"]
    # The idea that was in hand is the one that was tried, and it was paid for once.
    second = ledger.record(2)
    assert (second.title, second.cost) == (waiting.proposal.title, waiting.proposal.cost)
    assert ledger.evidence(2).proposal.exchanges == waiting.proposal.exchanges
    git(clone, "fsck", "--strict")
    assert git(clone, "status", "--porcelain") == ""
    # Prefect's page shows no run at work that was killed.
    runs = httpx.post(f"{prefect_api['PREFECT_API_URL']}/flow_runs/filter", json={}).json()
    ours = [run for run in runs if "night" in run["name"]]
    assert {run["state_type"] for run in ours} == {"CRASHED", "COMPLETED"}
    assert sum(run["name"] == "night" for run in ours) == 6


def mark_without_bulk(replicate):
    training = replicate.training.model_copy(update={"curve": (), "log": ""})
    evaluation = replicate.evaluation.model_copy(update={"log": ""})
    return replicate.model_copy(update={"training": training, "evaluation": evaluation})
