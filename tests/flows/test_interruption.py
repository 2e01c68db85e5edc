"""A session that is killed: nothing survives it, and the same command goes on."""

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from nightlab.judging.decision import BASELINE_REPLICATES
from nightlab.ledger import Ledger
from nightlab.records import Reason
from tests.conftest import (
    SHORT_BUDGET,
    expect_success,
    git,
    nightlab_command,
    nightlab_environment,
    run_nightlab,
)

SESSION = ("research", "--study", "night", *SHORT_BUDGET, "--trials", "0")


def started(clone: Path, cache: Path) -> "subprocess.Popen[bytes]":
    """Start a session that trains for a few seconds a replicate."""
    return subprocess.Popen(
        nightlab_command(*SESSION),
        cwd=clone,
        env=nightlab_environment(cache),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def await_trainer(process: "subprocess.Popen[bytes]", deadline_seconds: float = 240) -> None:
    """Wait until a candidate runs below ``process``: past the shell that starts the sandbox."""
    deadline = time.monotonic() + deadline_seconds
    while time.monotonic() < deadline:
        commands = [_command(child) for child in _tree(process.pid)]
        started = [line for line in commands if "train.py" in " ".join(line)]
        if any(Path(line[0]).name != "sh" for line in started):
            return
        if process.poll() is not None:
            pytest.fail(f"the session ended with {process.returncode} before it trained")
        time.sleep(0.1)
    pytest.fail("no candidate was started")


def _tree(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


@pytest.mark.slow
def test_a_session_is_refused_a_second_time_ends_on_ctrl_c_and_survives_a_kill(
    clone: Path, shared_cache: Path
) -> None:
    ledger = Ledger(clone, "night")

    first = started(clone, shared_cache)
    await_trainer(first)
    second = run_nightlab(clone, shared_cache, *SESSION)
    assert second.returncode == 1
    assert str(first.pid) in second.stderr
    os.killpg(first.pid, signal.SIGINT)  # As a terminal does: the whole foreground group.
    assert first.wait(timeout=60) == 130
    assert [mark.number for mark in ledger.marks()] == [0]
    assert ledger.records() == ()

    killed = started(clone, shared_cache)
    await_trainer(killed)
    tree = _tree(killed.pid)
    assert len(tree) > 2
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    _, alive = psutil.wait_procs(tree, timeout=2)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
    assert [mark.attempts for mark in ledger.marks()] == [2]

    expect_success(run_nightlab(clone, shared_cache, *SESSION))
    (record,) = ledger.records()
    assert record.reason is Reason.BASELINE
    assert len(record.replicates) == BASELINE_REPLICATES
    assert not ledger.marks()
    git(clone, "fsck", "--strict")
    assert git(clone, "status", "--porcelain") == ""
