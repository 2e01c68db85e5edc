"""A session that is killed: nothing survives it, and the same command goes on."""

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from nightlab.ledger import Ledger
from nightlab.records import Reason
from tests.conftest import Run, expect_success, git, nightlab_command, nightlab_environment

STUDY = ("--study", "night", "--budget-seconds", "6", "--trials", "1")


def started(clone: Path, cache: Path) -> "subprocess.Popen[bytes]":
    """Start a session that trains for six seconds a replicate."""
    return subprocess.Popen(
        nightlab_command("research", *STUDY),
        cwd=clone,
        env=nightlab_environment(cache),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def await_trainer(process: "subprocess.Popen[bytes]", deadline_seconds: float = 240) -> None:
    """Wait until a candidate runs below ``process``."""
    deadline = time.monotonic() + deadline_seconds
    while time.monotonic() < deadline:
        if any("train.py" in " ".join(_command(child)) for child in _tree(process.pid)):
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
def test_a_killed_session_leaves_no_process_and_is_continued(
    clone: Path, shared_cache: Path, nightlab: Run
) -> None:
    session = started(clone, shared_cache)
    await_trainer(session)
    tree = _tree(session.pid)
    assert tree
    os.kill(session.pid, signal.SIGKILL)
    session.wait()
    _, alive = psutil.wait_procs(tree, timeout=2)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []

    ledger = Ledger(clone, "night")
    assert [mark.number for mark in ledger.marks()] == [0]
    expect_success(nightlab("research", *STUDY))
    records = ledger.records()
    assert [record.number for record in records] == [0, 1]
    assert records[0].reason is Reason.BASELINE
    assert not ledger.marks()
    git(clone, "fsck", "--strict")
    assert git(clone, "status", "--porcelain") == ""


@pytest.mark.slow
def test_a_second_session_is_refused_and_ctrl_c_ends_the_first_cleanly(
    clone: Path, shared_cache: Path, nightlab: Run
) -> None:
    first = started(clone, shared_cache)
    await_trainer(first)
    second = nightlab("research", *STUDY)
    assert second.returncode == 1
    assert str(first.pid) in second.stderr
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=60) == 130
    assert len(Ledger(clone, "night").marks()) == 1
