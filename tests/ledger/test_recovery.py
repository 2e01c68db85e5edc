"""What a kill leaves behind: every first part of a transaction, and kills at random."""

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest

from nightlab.errors import LedgerError
from nightlab.ledger import hold_session
from nightlab.records import Verdict

ORDER = ("evidence", "trials", "branch", "inflight")


def interrupted(ledger, make, applied):
    """Leave the refs as a git that was killed after ``applied`` refs of a keep."""
    ledger.create()
    make.trial(ledger, Verdict.KEEP)
    parent = ledger.incumbent()
    commit = ledger.write_candidate(parent, "DEPTH = 5\n", "Deeper")
    ledger.mark(make.mark(1, parent, commit))
    plumbing, refs = ledger.plumbing, ledger.refs
    names = {
        "evidence": refs.evidence(1),
        "trials": refs.trial(1),
        "branch": refs.branch,
        "inflight": refs.inflight(1),
    }
    before = plumbing.refs(*names.values())
    ledger.finish(make.record(1, parent, commit, Verdict.KEEP), make.evidence())
    for kind in ORDER[applied:]:
        name, path = names[kind], plumbing.common_directory / names[kind]
        old = before.get(name)
        plumbing.transaction([f"update {name} {old}" if old else f"delete {name}"])
        path.with_name(path.name + ".lock").write_text("")
    if applied < len(ORDER):
        (plumbing.common_directory / "packed-refs.lock").write_text("")
        (plumbing.common_directory / "packed-refs.new").write_text("")
    return parent, commit


@pytest.mark.parametrize("applied", range(5))
def test_every_first_part_of_a_transaction_is_mended(ledger, root, make, applied, check_health):
    parent, commit = interrupted(ledger, make, applied)
    recovery = ledger.recover(quiet_seconds=0.0)
    recorded = applied >= 2
    assert bool(recovery.locks) == (applied < 4)
    assert (recovery.moved_to == commit) == (applied == 2)
    assert ledger.incumbent() == (commit if recorded else parent)
    assert [record.number for record in ledger.records()] == ([0, 1] if recorded else [0])
    assert [mark.number for mark in ledger.marks()] == ([] if recorded else [1])
    if not recorded:
        ledger.finish(make.record(1, parent, commit, Verdict.KEEP), make.evidence())
    assert ledger.evidence(1) == make.evidence()
    assert ledger.incumbent() == commit
    assert ledger.recover(quiet_seconds=0.0) == type(recovery)()
    assert not list((root / ".git" / "refs").rglob("*.lock"))
    check_health(root)


def test_the_locks_of_others_stay(ledger, root, make):
    interrupted(ledger, make, 1)
    git_folder = root / ".git"
    others = [git_folder / "index.lock", git_folder / "refs" / "heads" / "main.lock"]
    (git_folder / "refs/nightlab/first-light-2/trials").mkdir(parents=True)
    others.append(git_folder / "refs/nightlab/first-light-2/trials/0001.lock")
    for lock in others:
        lock.write_text("")
    old = time.time() - 3600  # packed-refs.lock of another moment is another's
    os.utime(git_folder / "packed-refs.lock", (old, old))
    with pytest.raises(LedgerError, match=r"packed-refs\.lock"):
        ledger.recover(quiet_seconds=0.0)
    assert all(lock.exists() for lock in others)
    assert (git_folder / "packed-refs.lock").exists()


def test_a_lock_that_git_holds_right_now_is_waited_for(ledger, root):
    ledger.create()
    worker = subprocess.Popen(
        ["git", "update-ref", "--stdin"], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    script = f"start\nupdate {ledger.refs.branch} {ledger.incumbent()}\nprepare\n"
    worker.stdin.write(script.encode())
    worker.stdin.flush()
    assert worker.stdout.readline() == b"start: ok\n"
    assert worker.stdout.readline() == b"prepare: ok\n"
    held = root / ".git" / "refs/heads/nightlab/first-light.lock"
    assert held.exists()
    try:
        ender = threading.Timer(1.0, worker.communicate, args=(b"abort\n",))
        ender.start()
        recovery = ledger.recover(quiet_seconds=0.0)
        ender.join()
    finally:
        worker.kill()
        worker.wait()
    assert recovery.locks == ()
    assert not held.exists()


def kill(worker: subprocess.Popen[str], *, with_git: bool) -> None:
    if with_git:
        os.kill(worker.pid, signal.SIGSTOP)
        for child in psutil.Process(worker.pid).children(recursive=True):
            child.kill()
    worker.kill()
    worker.wait()


def wait_until_git_ended(root: Path) -> None:
    """An orphaned git finishes what it began; then nothing moves any more."""
    for process in psutil.process_iter(["name", "cwd"]):
        if process.info["name"] == "git" and process.info["cwd"] == str(root):
            psutil.wait_procs([process], timeout=10)


@pytest.mark.slow
def test_kills_at_random_lose_nothing(ledger, root, start_worker, check_health):
    random.seed(20261122)
    recorded: dict[int, str] = {}
    for round_number in range(20):
        worker = start_worker("work", root)
        time.sleep(random.uniform(0.0, 0.6))
        assert worker.poll() is None, "the session after a kill could not go on"
        kill(worker, with_git=round_number % 2 == 1)
        wait_until_git_ended(root)
        with hold_session(ledger, None, "check", quiet_seconds=0.1):
            records = ledger.records()
            marks = ledger.marks()
            assert len(marks) <= 1
            assert [record.number for record in records] == list(range(len(records)))
            assert {mark.number for mark in marks} <= {len(records)}
            kept = [record for record in records if record.verdict is Verdict.KEEP]
            if kept:
                assert ledger.incumbent() == kept[-1].commit
            for record in records:
                assert recorded.setdefault(record.number, record.commit) == record.commit
            if records:
                ledger.evidence(records[-1].number)
            assert set(recorded) == {record.number for record in records}
    assert len(recorded) > 10
    numbers = ledger.plumbing.refs(f"{ledger.refs.root}/evidence")
    assert len(numbers) == len(recorded)
    assert not list((root / ".git" / "refs").rglob("*.lock"))
    check_health(root)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace injects the kills")
@pytest.mark.parametrize("rename", range(1, 6))
def test_git_killed_between_two_refs(ledger, root, make, rename, check_health):
    """The order of the commands is the order in which git applies them."""
    ledger.create()
    make.trial(ledger, Verdict.KEEP)
    parent = ledger.incumbent()
    commit = ledger.write_candidate(parent, "DEPTH = 5\n", "Deeper")
    ledger.mark(make.mark(1, parent, commit))
    subprocess.run(["git", "pack-refs", "--all"], cwd=root, check=True)
    tracer = root.parent / "bin"
    tracer.mkdir()
    real = shutil.which("git")
    injection = f"inject=rename:signal=KILL:when={rename}"
    (tracer / "git").write_text(
        "#!/bin/sh\n"
        f'case "$*" in *update-ref*) exec strace -qq -o /dev/null -e {injection} {real} "$@";; '
        f'*) exec {real} "$@";; esac\n'
    )
    (tracer / "git").chmod(0o755)
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{tracer}:{path}"
    try:
        record = make.record(1, parent, commit, Verdict.KEEP)
        if rename < 5:
            with pytest.raises(LedgerError):
                ledger.finish(record, make.evidence())
        else:
            ledger.finish(record, make.evidence())
    finally:
        os.environ["PATH"] = path
    ledger.recover(quiet_seconds=0.0)
    if ledger.marks():
        ledger.finish(record, make.evidence())
    assert ledger.incumbent() == commit
    assert ledger.evidence(1) == make.evidence()
    assert len(ledger.records()) == 2
    assert not list((root / ".git" / "refs").rglob("*.lock"))
    check_health(root)


def test_a_lock_beside_one_of_this_moment_is_not_stale_however_old(ledger, root, make, monkeypatch):
    monkeypatch.setattr("nightlab.ledger.recovery._PATIENCE_SECONDS", 0.3)
    interrupted(ledger, make, 1)
    old, *_ = (root / ".git" / "refs").rglob("*.lock")
    os.utime(old, (time.time() - 7200,) * 2)
    with pytest.raises(LedgerError, match="an unknown git at work"):
        ledger.recover(quiet_seconds=3600.0)
    assert old.exists()


def test_a_lock_of_the_branch_that_is_offered_is_the_studys(ledger, root):
    ledger.create()
    lock = root / ".git" / f"{ledger.refs.consolidated}.lock"
    lock.touch()
    assert ledger.recover(quiet_seconds=0.0).locks == (lock.name,)
    assert not lock.exists()
