"""What a job used and waited, on real processes."""

import os
import subprocess
import sys
import time

import pytest

from nightlab.sandbox import process_tree, processor_time
from nightlab.sandbox.cgroup import Cgroups, entering
from nightlab.sandbox.environment import Limits
from nightlab.sandbox.job import Job
from nightlab.sandbox.processor_time import ProcessorTime, own_seconds, run_delays
from tests.sandbox.conftest import CPU

CPUS = tuple(sorted(os.sched_getaffinity(0)))
SPIN = """
import os, signal, sys, time
def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
def say(text="."):
    os.write(1, text.encode())
def child(seconds):
    if os.fork() == 0:
        spin(seconds)
        os._exit(0)
def go():
    say()
    sys.stdin.readline()
"""


class Running:
    """A program that says when it is ready, is told to go on, and says when it is done."""

    def __init__(self, body, cgroup=None):
        program = SPIN + "go()\n" + body + "\nsay()\nsys.stdin.readline()"
        self.process = subprocess.Popen(
            entering([sys.executable, "-c", program], cgroup),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.process.stdout.read(1)

    def run(self, time_used, every=0.05):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        os.set_blocking(self.process.stdout.fileno(), False)
        while not self.process.stdout.read(1):
            assert self.process.poll() is None
            time.sleep(every)
            time_used.look()
        time_used.look()

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def cgroup():
    made = Cgroups.find().create(Limits.of(Job(program="train", source="", device=CPU)))
    if made is None:
        pytest.skip("this machine lets us make no cgroup")
    yield made
    made.kill()
    made.remove()


WORK = {
    "alone": ("spin(0.6)", 0.6),
    "waited for": ("child(0.3)\nos.wait()\nchild(0.3)\nos.wait()", 0.6),
    "forgotten": (
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "for _ in range(6):\n    child(0.1)\n    time.sleep(0.15)\n"
        "try:\n    os.wait()\nexcept ChildProcessError: pass",
        0.6,
    ),
}


@pytest.mark.parametrize("kind", WORK)
def test_a_cgroup_counts_whoever_worked(kind, cgroup):
    body, seconds = WORK[kind]
    with Running(body, cgroup) as running:
        used = ProcessorTime(running.process.pid, cgroup, CPUS)
        running.run(used)
        assert seconds * 0.95 <= used.used_seconds < seconds + 0.5
        # What was used before does not count.
        assert ProcessorTime(running.process.pid, cgroup, CPUS).used_seconds == 0


@pytest.mark.parametrize("kind", WORK)
def test_a_tree_counts_at_least_what_was_used(kind):
    body, seconds = WORK[kind]
    with Running(body) as running:
        used = ProcessorTime(running.process.pid, None, CPUS)
        running.run(used)
    assert used.used_seconds >= seconds * 0.9
    if kind == "alone":
        assert used.used_seconds < seconds + 0.1, "and no more, where nobody comes or goes"


def test_who_comes_and_goes_is_charged_no_more_than_the_processors_did(monkeypatch):
    # All but idle processors: the charge for a stretch is what they did, not what they could do.
    idle = {"seconds": 0.0}
    monkeypatch.setattr(processor_time, "_idle_seconds", lambda cpus: idle["seconds"])
    own = [{(1, 1): 0.0}, {(1, 1): 0.0, (2, 2): 0.0}, {(1, 1): 0.0, (2, 2): 0.0}, {(1, 1): 0.0}]
    looks = iter([(each, 0.0) for each in own])
    monkeypatch.setattr(processor_time, "own_seconds", lambda pids: next(looks))
    moments = iter([0.0, 1.0, 2.0, 3.0])
    monkeypatch.setattr(processor_time.time, "monotonic", lambda: next(moments))
    tree = processor_time._TreeTime(os.getpid(), (0, 1))
    idle["seconds"] = 1.5
    tree.look()
    assert tree.used_seconds == pytest.approx(0.5 + 2 * processor_time.TICK_SECONDS)
    tree.look()
    assert tree.used_seconds == pytest.approx(0.52), "nobody came or went"
    tree.look()
    assert tree.used_seconds == pytest.approx(2.52), "no idle time is told: all there were"


def test_it_never_falls_when_processes_end():
    with Running("child(0.3)\ntime.sleep(0.5)\nos.wait()") as running:
        used = ProcessorTime(running.process.pid, None, CPUS)
        running.run(used)
        before = used.used_seconds
    used.look()
    assert used.used_seconds >= before >= 0.25


def test_a_look_costs_little():
    used = ProcessorTime(os.getpid(), None, CPUS)
    began = time.process_time()
    for _ in range(50):
        used.look()
    assert (time.process_time() - began) / 50 < 0.02


@pytest.fixture
def one_processor():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield (min(before),)
    os.sched_setaffinity(0, before)


def test_waiting_for_a_processor_that_others_have(one_processor):
    with Running("spin(60)") as other, Running("spin(0.7)") as running:
        other.process.stdin.write(b"\n")
        other.process.stdin.flush()
        used = ProcessorTime(running.process.pid, None, one_processor)
        began = time.monotonic()
        running.run(used)
        missing = time.monotonic() - began - used.used_seconds
    assert used.waited_seconds > 0.3 * missing


def test_sleeping_is_no_waiting_and_nor_is_waiting_for_oneself(one_processor, monkeypatch):
    with Running("time.sleep(1.2)") as running:
        used = ProcessorTime(running.process.pid, None, one_processor)
        running.run(used)
    assert used.waited_seconds < 0.3
    # A job of four that wait for each other: nothing of the processor's time is missing.
    delays = iter([{"a": 0.0, "b": 0.0}, {"a": 0.75, "b": 0.75}])
    monkeypatch.setattr(processor_time, "run_delays", lambda pids: next(delays))
    moments = iter([0.0, 0.0, 1.0, 1.0, 1.0])
    monkeypatch.setattr(processor_time.time, "monotonic", lambda: next(moments))
    used = ProcessorTime(os.getpid(), None, (0,))
    monkeypatch.setattr(used._tree, "look", lambda: None)
    used._tree.used_seconds = 0.9
    used.look()
    assert used.waited_seconds == pytest.approx(0.1)


def test_the_kernel_is_asked_about_every_thread_and_child():
    pids = process_tree.tree_of(os.getpid())
    own, whole = own_seconds(pids)
    assert own
    assert 0 < sum(own.values()) <= whole + 0.1
    assert run_delays([2**22]) == own_seconds([2**22])[0] == {}
