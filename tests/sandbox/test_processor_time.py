"""What a job used and waited, on real processes."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

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
        used = ProcessorTime(running.process.pid, str(cgroup.path), CPUS)
        running.run(used)
        assert seconds * 0.95 <= used.used_seconds < seconds + 0.5
        # What was used before does not count.
        assert ProcessorTime(running.process.pid, str(cgroup.path), CPUS).used_seconds == 0


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
    monkeypatch.setattr(processor_time, "time", SimpleNamespace(monotonic=lambda: next(moments)))
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
    monkeypatch.setattr(processor_time, "time", SimpleNamespace(monotonic=lambda: next(moments)))
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


# The arithmetic, with what the kernel says made up.


class Kernel:
    """What /proc says, one look after the other: a second apart, on two processors."""

    def __init__(self, monkeypatch, *looks):
        self.looks = iter(looks)
        self.now, self.idle = -1.0, 0.0
        monkeypatch.setattr(processor_time, "own_seconds", lambda pids: next(self.looks))
        monkeypatch.setattr(processor_time, "_idle_seconds", lambda cpus: self.idle)
        # Not time.monotonic itself, which other threads of this process read too.
        monkeypatch.setattr(processor_time, "time", SimpleNamespace(monotonic=self.tick))

    def tick(self):
        self.now += 1.0
        return self.now


A, B = (1, 1), (2, 2)
IDLE = 2.0
TICKS = 2 * processor_time.TICK_SECONDS


@pytest.mark.parametrize(
    ("looks", "charges"),
    [
        # What was used before the first look is not the job's; then what each uses.
        ([({A: 1.0}, 1.0), ({A: 1.5}, 1.5), ({A: 1.7}, 1.7)], [0.5, 0.2]),
        # One that falls takes nothing from another.
        ([({A: 2.0, B: 1.0}, 3.0), ({A: 1.5, B: 2.0}, 3.5)], [1.0]),
        # A new one counts from its start.
        ([({A: 1.0}, 2.0), ({A: 1.0, B: 0.5}, 2.0)], [0.5]),
        # Children that came, went and were waited for between two looks; more than the processors
        # did is what the kernel's sums say all the same.
        ([({A: 1.0}, 1.0), ({A: 1.0}, 1.8), ({A: 1.0, B: 0.0}, 4.8)], [0.8, 3.0]),
        # A sum that falls (its holder is gone) and comes back is not counted twice.
        ([({A: 1.0}, 5.0), ({A: 1.0}, 3.0), ({A: 1.0}, 5.0)], [0.0, 0.0]),
        # One that a walk missed is remembered from the look before.
        (
            [
                ({A: 1.0, B: 1.0}, 2.0), ({A: 1.2, B: 2.0}, 3.2), ({A: 1.2}, 1.2),
                ({A: 1.2, B: 2.3}, 3.5),
            ],
            [1.2, TICKS, 0.3],
        ),
    ],
)  # fmt: skip
def test_each_look_charges_what_was_used_since_the_one_before(monkeypatch, looks, charges):
    kernel = Kernel(monkeypatch, *looks)
    tree = processor_time._TreeTime(os.getpid(), (0, 1))
    charged = 0.0
    for charge in charges:
        kernel.idle += IDLE
        tree.look()
        charged += charge
        assert tree.used_seconds == pytest.approx(charged)


def made_up_cgroup(monkeypatch, *seconds):
    told = iter(seconds)
    monkeypatch.setattr(processor_time, "cgroup_seconds", lambda cgroup: next(told))
    return "made up"


def test_a_cgroups_numbers_count_from_the_start_and_never_fall(monkeypatch):
    cgroup = made_up_cgroup(monkeypatch, 5.0, 5.4, 5.2, None, 6.0)
    used = ProcessorTime(os.getpid(), cgroup, CPUS)
    seen = []
    for _ in range(4):
        used.look()
        seen.append(used.used_seconds)
    assert seen == pytest.approx([0.4, 0.4, 0.4, 1.0])


@pytest.mark.parametrize(
    ("has_delays", "idle", "delays", "waited"),
    [
        # The longest of any thread that was there before.
        (True, 2.0, {"a": 5.1, "b": 7.3, "new": 9.0}, 0.3),
        (True, 0.0, {"a": 5.1, "b": 7.3}, 0.3),
        (True, 2.0, {}, 0.0),
        # Without the kernel's word: all of it while next to no processor was idle.
        (False, 0.15, {}, 1.0),
        (False, 0.25, {}, 0.0),
        (False, 1.0, {}, 0.0),
    ],
)
def test_waiting_is_what_the_kernel_says_or_else_what_no_idle_processor_explains(
    monkeypatch, has_delays, idle, delays, waited
):
    kernel = Kernel(monkeypatch)
    told = iter([{"a": 5.0, "b": 7.0}, delays, delays])
    monkeypatch.setattr(processor_time, "run_delays", lambda pids: next(told))
    monkeypatch.setattr(processor_time, "keeps_run_delays", lambda: has_delays)
    used = ProcessorTime(os.getpid(), made_up_cgroup(monkeypatch, 0.0, 0.0, 0.0), (0, 1))
    monkeypatch.setattr(processor_time, "time", SimpleNamespace(monotonic=lambda: 2.0))
    kernel.idle = idle
    used._waiting_from = (1.0, 0.0, 0.0)
    used.look()
    assert used.waited_seconds == pytest.approx(waited)
    # It adds up.
    kernel.idle = 2 * idle
    used._waiting_from = (1.0, 0.0, idle)
    used._delays = {task: seconds - 0.2 for task, seconds in delays.items()}
    used.look()
    assert used.waited_seconds == pytest.approx(waited + (0.2 if delays else waited))


def test_the_kernels_files_are_read_in_its_units(monkeypatch, tmp_path):
    fields = ["0"] * 22
    fields[11:15], fields[19] = ["100", "20", "3", "4"], "777"
    monkeypatch.setattr(process_tree, "stat_fields", lambda pid: fields if pid == 5 else [])
    own, whole = own_seconds([5, 6])
    assert own == {(5, 777): pytest.approx(120 * processor_time.TICK_SECONDS)}
    assert whole == pytest.approx(127 * processor_time.TICK_SECONDS)
    monkeypatch.setattr(process_tree, "tasks_of", lambda pid: [f"/t/{pid}", "/t/9"])
    files = {"/t/5/schedstat": "111 2000000000 5\n", "/t/9/schedstat": "111 500000000 5\n"}
    monkeypatch.setattr(process_tree, "read_file", lambda path: files.get(path, ""))
    assert run_delays([5]) == {"/t/5": 2.0, "/t/9": 0.5}
    stat = tmp_path / "stat"
    stat.write_text("cpu  9 9 9 900 90 9\ncpu0 1 2 3 100 20 6\ncpu1 1 2 3 200 30 6\nintr 5\n")
    monkeypatch.setattr(processor_time, "Path", lambda name: stat)
    ticks = processor_time.TICK_SECONDS
    assert processor_time._idle_seconds((0,)) == pytest.approx(120 * ticks)
    assert processor_time._idle_seconds((0, 1)) == pytest.approx(350 * ticks)
    stat.unlink()
    assert processor_time._idle_seconds((0,)) == 0.0
