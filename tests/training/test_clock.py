"""The clock by itself, with what the kernel says made up."""

import os
import random
import select
import signal
import socket
import subprocess
import threading
import time
from types import SimpleNamespace

import pytest

from nightlab.errors import MachineBusy, SandboxError
from nightlab.sandbox import timekeeper
from nightlab.sandbox.process import start_timekeeper
from nightlab.sandbox.timekeeper import LONGEST_LOOK_SECONDS, LOOK_SECONDS, Timekeeper
from nightlab.training import clock as clock_module
from nightlab.training.clock import (
    STARTUP_MARGIN_SECONDS,
    WALL_CAP_FACTOR,
    WALL_CAP_SECONDS,
    Clock,
    End,
    Seen,
    end_margin_seconds,
    free_startup_seconds,
    require_quiet,
    wall_cap_seconds,
)


class Used:
    """Processor time as a test sets it."""

    def __init__(self, **seconds):
        self.used_seconds = self.waited_seconds = 0.0
        self.looks = 0
        vars(self).update(seconds)

    def look(self):
        self.looks += 1


class Broken(Used):
    def look(self):
        raise RuntimeError("the kernel said something new")


def keep_in_a_thread(order, connection, used):
    """A real timekeeper, but for its process; what ``Popen`` is to a clock."""
    keeper = Timekeeper(order, socket.socket(fileno=os.dup(connection)), used)

    def run():
        try:
            keeper.run()
        except (EOFError, OSError, RuntimeError):
            return
        finally:
            keeper._connection.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return SimpleNamespace(wait=thread.join, kill=lambda: None)


class Job:
    """A job that is ended by an event."""

    def __init__(self):
        self.used = Used()
        self.ended_by_engine = False
        self._event = os.eventfd(0)

    def keep_time(self, kind, connection):
        order = {"cgroup": None, "kill": None, "tell": self._event}
        return keep_in_a_thread(order, connection, self.used if kind == "processor" else None)

    def end(self):
        self.ended_by_engine = True

    def ends_within(self, seconds):
        return bool(select.select([self._event], [], [], seconds)[0])


def until_it_is_over(clock):
    while not clock.is_over():
        time.sleep(0.01)


@pytest.fixture
def job():
    made = Job()
    yield made
    os.close(made._event)


def test_it_ends_the_job_at_the_budget_and_counts_from_where_it_was_allowed(job):
    with Clock("processor", job) as clock:
        job.used.used_seconds = 50.0
        assert not job.ends_within(0.5), "before it is allowed a time, nothing is over"
        assert clock.since_allowed == Seen()
        assert clock.look().used_seconds == 50.0
        clock.allow(3.0, 60.0)
        job.used.used_seconds = 52.9
        assert not job.ends_within(0.5)
        assert not clock.is_over()
        assert clock.since_allowed.used_seconds == pytest.approx(2.9)
        job.used.used_seconds = 53.1
        assert job.ends_within(5)
        until_it_is_over(clock)
    assert (clock.end.seen.at, clock.end.limit_seconds) == ("budget", 3.0)
    assert clock.end.seen.used_seconds == clock.since_allowed.used_seconds == pytest.approx(3.1)
    clock.end.require_own_fault()
    assert not clock.end.is_overrun


def test_nobody_makes_it_look_more_or_less(job):
    with Clock("processor", job) as clock:
        end = time.monotonic() + 2
        while time.monotonic() < end:
            clock._ask("tell")
    assert 8 < job.used.looks < 100


def test_the_wall_clock_ends_a_training_on_time(job):
    with Clock("wall", job) as clock:
        clock.allow(0.6, 0.1)
        began = time.monotonic()
        assert job.ends_within(5)
        assert 0.55 < time.monotonic() - began < 3
    assert clock.end.seen.at == "budget", "it has no cap beside its limit"
    assert 0.55 < clock.since_allowed.used_seconds == clock.since_allowed.wall_seconds < 3
    before = clock.seen
    time.sleep(2 * LOOK_SECONDS)
    assert clock.seen == before, "it stands still"


def test_at_the_wall_cap_it_ends_who_has_used_little(job):
    with Clock("processor", job) as clock:
        job.used.waited_seconds = 5.0
        time.sleep(0.6)
        clock.allow(3.0, 1.0)
        job.used.used_seconds, job.used.waited_seconds = 0.4, 55.0
        assert not job.ends_within(0.5), "the cap counts from where it was allowed"
        assert job.ends_within(5)
    seen = clock.end.seen
    assert (seen.at, seen.used_seconds) == ("wall cap", pytest.approx(0.4))
    assert seen.waited_seconds == pytest.approx(50.0), "what was waited before is not in it"
    assert seen.wall_seconds >= 1.0
    with pytest.raises(MachineBusy):
        clock.end.require_own_fault()


def test_its_looks_come_at_random_moments_and_in_time_for_the_end(monkeypatch):
    drawn = []
    monkeypatch.setattr(random, "expovariate", lambda rate: drawn.append(rate) or 0.125)
    for used, soonest in ((Used(), 0.12), (None, 0.0)):
        keeper = Timekeeper({}, None, used)
        keeper._look()
        assert 0.12 < keeper._due - time.monotonic() <= 0.125
        keeper._limits = {"seconds": 0.05, "cap_seconds": None}
        keeper._look()
        # Of a processor's time nobody knows when it ends.
        assert soonest <= keeper._due - time.monotonic() <= max(0.05, soonest + 0.005)
    assert set(drawn) == {1 / LOOK_SECONDS}
    monkeypatch.setattr(random, "expovariate", lambda rate: 60.0)
    keeper._look()
    assert keeper._due - time.monotonic() <= LONGEST_LOOK_SECONDS


def test_an_end_knows_how_long_nobody_looked_and_how_late_the_job_was_ended(job, monkeypatch):
    monkeypatch.setattr(random, "expovariate", lambda rate: 0.7)
    monkeypatch.setattr(timekeeper, "LONGEST_LOOK_SECONDS", 0.7)
    end_job = timekeeper.end_job
    monkeypatch.setattr(timekeeper, "end_job", lambda order: (time.sleep(0.6), end_job(order)))
    with Clock("processor", job) as clock:
        clock.allow(1.0, 60.0)
        job.used.used_seconds = 1.01
        assert job.ends_within(5)
    assert clock.end.seen.unseen_seconds > 0.6
    assert clock.end.seen.kill_seconds > 0.6
    assert not clock.end.is_overrun
    with pytest.raises(MachineBusy, match=r"the engine came 0\.\d s late"):
        clock.end.require_own_fault()


def test_it_does_not_end_what_ended_in_time(job):
    with Clock("processor", job) as clock:
        clock.allow(1.0, 60.0)
        job.used.used_seconds = 0.9
    assert not job.ends_within(0.1)
    assert clock.end is None
    assert not clock.is_over()
    assert clock.since_allowed.used_seconds == pytest.approx(0.9), "it looked a last time"


def test_without_a_limit_it_only_counts(job):
    with Clock("processor", job) as clock:
        clock.allow(None)
        job.used.used_seconds = 1000.0
        assert not job.ends_within(0.5)
    assert clock.end is None
    assert clock.since_allowed.used_seconds == 1000.0


def test_the_last_look_may_find_that_time_was_over(job, monkeypatch):
    monkeypatch.setattr(random, "expovariate", lambda rate: 60.0)
    monkeypatch.setattr(timekeeper, "LONGEST_LOOK_SECONDS", 60.0)
    with Clock("processor", job) as clock:
        clock.allow(1.0, 60.0)
        job.used.used_seconds = 1.1
        clock.stop()
        assert clock.is_over()
        assert not clock.end.is_overrun
    assert not job.ends_within(0.1), "whoever stops it ends the job"


def test_a_clock_that_breaks_down_ends_the_job_and_says_so(job):
    job.used = Broken()
    clock = Clock("processor", job)
    assert job.ends_within(5)
    with pytest.raises(SandboxError, match="clock of a job broke down"):
        until_it_is_over(clock)
    assert job.ended_by_engine
    clock.stop()
    with pytest.raises(SandboxError, match="clock of a job broke down"), Clock("processor", job):
        pass


class Program(Job):
    """A sleeping process, and the timekeeper in a process of its own."""

    def __init__(self):
        super().__init__()
        self.process = subprocess.Popen(["/bin/sleep", "600"])
        self._handle = os.pidfd_open(self.process.pid)

    def keep_time(self, kind, connection):
        order = {
            **{"socket": connection, "clock": kind, "pid": self.process.pid, "cgroup": None},
            **{"cpus": (0,), "kill": self._handle, "tell": None},
        }
        self.keeper = start_timekeeper(order)
        return self.keeper

    def end(self):
        self.process.kill()

    def code_of_its_end(self):
        return self.process.wait(10)


@pytest.fixture
def program():
    made = Program()
    yield made
    made.process.kill()
    made.process.wait()
    os.close(made._handle)
    os.close(made._event)


def test_the_engines_end_is_the_jobs(program):
    clock = Clock("processor", program)
    clock.look()
    clock._connection.close()
    assert program.code_of_its_end() == -signal.SIGKILL
    assert program.keeper.wait(10) == 1


def test_so_is_the_end_of_the_timekeeper(program):
    clock = Clock("wall", program)
    clock.look()
    program.keeper.kill()
    with pytest.raises(SandboxError):
        until_it_is_over(clock)
    assert program.code_of_its_end() == -signal.SIGKILL


def test_a_timekeeper_that_does_not_answer_is_none(program, monkeypatch):
    monkeypatch.setattr(clock_module, "ANSWER_SECONDS", 0.3)
    clock = Clock("wall", program)
    program.keeper.send_signal(signal.SIGSTOP)
    with pytest.raises(SandboxError):
        clock.look()
    assert program.code_of_its_end() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("used", "unseen", "overrun", "busy"),
    [
        (20.1, 0.1, False, False),
        (20.4, 3.0, False, False),
        (23.0, 0.1, True, False),  # many processors at once, between two looks in time
        (23.0, 3.0, True, True),  # the engine did not get to look
    ],
)
def test_an_end_past_the_budget_is_judged_by_when_it_was_looked_at(used, unseen, overrun, busy):
    seen = Seen(at="budget", used_seconds=used, wall_seconds=25, unseen_seconds=unseen)
    end = End(limit_seconds=20, seen=seen)
    assert end.is_overrun is overrun
    if busy:
        with pytest.raises(MachineBusy, match=r"3\.0 s late"):
            end.require_own_fault()
    else:
        end.require_own_fault()


@pytest.mark.parametrize(
    ("used", "waited", "busy"),
    [(3.1, 2.0, False), (3.1, 38.0, False), (3.1, 39.0, True), (79.0, 1.0, False)],
)
def test_at_the_wall_cap_what_the_kernel_says_of_waiting_decides(used, waited, busy):
    numbers = {"used_seconds": used, "wall_seconds": 80, "unseen_seconds": 0.1}
    end = End(limit_seconds=20, seen=Seen(at="wall cap", waited_seconds=waited, **numbers))
    if not busy:
        end.require_own_fault()
        return
    with pytest.raises(MachineBusy) as raised:
        end.require_own_fault()
    assert str(raised.value) == (
        "A training needed up to 20 processor seconds and had 3.1 in 80 s, of which it waited 39 s "
        "for a processor that other work had: it is tried again; give the machine less other work."
    )


def test_who_misses_next_to_nothing_was_not_kept_from_it():
    waits = [Seen(used_seconds=88, wall_seconds=90, waited_seconds=2)]
    waits += [Seen(used_seconds=60, wall_seconds=90, waited_seconds=20)]
    require_quiet("A start-up", 90, waits[0])
    with pytest.raises(MachineBusy, match="A start-up needed up to 90"):
        require_quiet("A start-up", 90, waits[1])


def test_caps_and_margins():
    assert wall_cap_seconds(20) == WALL_CAP_FACTOR * 20 + WALL_CAP_SECONDS
    assert (end_margin_seconds(20), end_margin_seconds(1)) == (0.2, 0.05)


@pytest.mark.parametrize(
    ("startups", "preset", "free"),
    [
        ((), 10.0, 10.0),
        ((4.0, 3.0), 10.0, 6.0),
        ((9.0, 8.0), 10.0, 10.0),  # the margin is not worth more than the preset
        ((12.0, 8.0), 10.0, 10.0),  # a slow machine: the baseline was charged as much
    ],
)
def test_a_free_start_is_what_the_baseline_needs_with_a_margin(startups, preset, free):
    assert STARTUP_MARGIN_SECONDS == 1.0
    assert free_startup_seconds(startups, preset) == free
