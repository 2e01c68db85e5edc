"""The warden by itself: what it passes on, what it outlives, and what it leaves (nothing)."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from nightlab.sandbox import warden
from nightlab.sandbox.identity import claim_identity

WARDEN = Path(warden.__file__)


class Guarded:
    """A Python program under a warden, with the engine's end of the pipe."""

    def __init__(self, source: str, identity: int | None = None) -> None:
        pipe, self.leash = os.pipe()
        self.event = os.eventfd(0)
        terms = [
            f"{pipe},{self.event}",
            warden.NO_IDENTITY if identity is None else str(identity),
            "",
        ]
        command = [sys.executable, "-I", "-S", str(WARDEN), *terms]
        command += [sys.executable, "-I", "-S", "-c", source]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, pass_fds=(pipe, self.event),
            start_new_session=True,
        )  # fmt: skip
        os.close(pipe)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def let_go(self) -> int:
        os.close(self.leash)
        os.close(self.event)
        code = self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("", 0),
        ("raise SystemExit(3)", 3),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 128 + signal.SIGSEGV),
    ],
)
def test_the_commands_end_is_passed_on(source, code):
    guarded = Guarded(source)
    assert guarded.process.wait(20) == code
    guarded.let_go()


def test_letting_go_ends_the_command_and_says_so():
    guarded = Guarded("import time; print('there', flush=True); time.sleep(600)")
    assert guarded.line() == "there"
    assert guarded.let_go() == 128 + signal.SIGKILL


def test_so_does_the_event_of_another_process():
    guarded = Guarded("import time; print('there', flush=True); time.sleep(600)")
    assert guarded.line() == "there"
    os.eventfd_write(guarded.event, 1)
    assert guarded.process.wait(20) == 128 + signal.SIGKILL
    guarded.let_go()


def test_the_command_leads_a_group_of_its_own_apart_from_its_warden():
    guarded = Guarded("import os; print(os.getpid(), os.getpgid(0), os.getpgid(os.getppid()))")
    pid, group, wardens = map(int, guarded.line().split())
    assert group == pid
    assert wardens == guarded.process.pid
    guarded.let_go()


def test_signals_meant_for_the_engine_end_neither_and_reach_the_command_as_ever():
    source = """
import signal, time
print(*(int(signal.getsignal(n)) for n in (signal.SIGTERM, signal.SIGHUP)), flush=True)
time.sleep(600)
"""
    guarded = Guarded(source)
    # As this process has them: under nohup, SIGHUP is ignored.
    assert guarded.line() == f"{int(signal.SIG_DFL)} {int(signal.getsignal(signal.SIGHUP))}"
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        guarded.process.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):
        guarded.process.wait(0.5)
    guarded.let_go()


def test_orphans_that_end_are_not_left_lying():
    source = """
import os, time
for _ in range(50):
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.wait()
print("spread", flush=True)
time.sleep(600)
"""
    guarded = Guarded(source)
    assert guarded.line() == "spread"
    end = time.monotonic() + 20
    while len(psutil.Process(guarded.process.pid).children()) > 1:
        assert time.monotonic() < end
        time.sleep(0.05)
    guarded.let_go()


LEAVERS = """
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
left = []
for _ in range(5):
    told, tell = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(tell, b"%d" % os.getpid())
            time.sleep(600)
        os._exit(0)
    os.wait()
    left.append(os.read(told, 20).decode())
print(*left, flush=True)
time.sleep(600)
"""


def test_those_who_left_the_group_are_found():
    guarded = Guarded(LEAVERS)
    left = [*map(int, guarded.line().split())]
    assert all(psutil.pid_exists(pid) for pid in left)
    guarded.let_go()
    assert not any(psutil.pid_exists(pid) for pid in left)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give ids")
def test_all_processes_of_the_jobs_id_end_and_no_others():
    with claim_identity() as identity, claim_identity() as other:
        bystander = subprocess.Popen(
            ["sleep", "600"], user=other.uid, group=other.uid, extra_groups=[]
        )
        # As one that slipped out of the tree altogether would be.
        stray = subprocess.Popen(
            ["sleep", "600"], user=identity.uid, group=identity.uid, extra_groups=[]
        )
        guarded = Guarded("import time; time.sleep(600)", identity.uid)
        guarded.let_go()
        assert stray.wait(20) == -signal.SIGKILL
        assert bystander.poll() is None
        bystander.kill()
        bystander.wait()
