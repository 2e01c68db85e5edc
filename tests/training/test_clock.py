"""The clock by itself, with what the kernel says made up."""

import threading
import time

import pytest

from nightlab.errors import MachineBusy, SandboxError
from nightlab.training.clock import (
    LONGEST_LOOK_SECONDS,
    LOOK_SECONDS,
    STARTUP_MARGIN_SECONDS,
    WALL_CAP_FACTOR,
    WALL_CAP_SECONDS,
    Clock,
    End,
    end_margin_seconds,
    free_startup_seconds,
    require_quiet,
    wall_cap_seconds,
)


class Used:
    """Processor time as a test sets it."""

    def __init__(self) -> None:
        self.used_seconds = self.waited_seconds = 0.0
        self.looks = 0

    def look(self) -> None:
        self.looks += 1


class Broken(Used):
    def look(self) -> None:
        raise RuntimeError("the kernel said something new")


@pytest.fixture
def ended():
    return threading.Event()


def test_it_ends_the_job_at_the_budget_and_counts_from_the_gate(ended):
    used = Used()
    with Clock("processor", used, ended.set) as clock:
        used.used_seconds = 50.0
        assert not ended.wait(0.5), "before the gate nothing is over"
        assert clock.since_gate() == (0.0, 0.0)
        clock.open_gate(3.0)
        used.used_seconds = 52.9
        assert not ended.wait(0.5)
        assert clock.end is None
        assert not clock.is_over()
        used.used_seconds = 53.1
        assert ended.wait(5)
        clock._thread.join()
        assert clock.is_over(), "and not broken down"
    assert (clock.end.at, clock.end.used_seconds) == ("budget", pytest.approx(3.1))
    clock.end.require_own_fault()
    assert not clock.end.is_overrun


def test_nobody_makes_it_look_less(ended):
    used = Used()
    with Clock("processor", used, ended.set):
        time.sleep(2)
    assert 8 < used.looks < 100


def test_the_wall_clock_ends_a_training_on_time(ended):
    with Clock("wall", Broken(), ended.set) as clock:
        clock.open_gate(0.6)
        began = time.monotonic()
        assert ended.wait(5)
        assert 0.55 < time.monotonic() - began < 3
    seconds, wall_seconds = clock.since_gate()
    assert seconds == wall_seconds
    assert 0.55 < seconds < 3
    before = clock.used_seconds
    time.sleep(0.05)
    assert clock.used_seconds == before, "it stands still"


def test_at_the_wall_cap_it_ends_who_has_used_little(ended, monkeypatch):
    monkeypatch.setattr("nightlab.training.clock.WALL_CAP_FACTOR", 0.0)
    monkeypatch.setattr("nightlab.training.clock.WALL_CAP_SECONDS", 2.0)
    used = Used()
    with Clock("processor", used, ended.set) as clock:
        used.waited_seconds = 5.0
        assert not ended.wait(2.5), "before the gate nothing is over"
        assert clock.wall_seconds > 2.4
        clock.open_gate(3.0)
        used.used_seconds, used.waited_seconds = 0.4, 55.0
        assert not ended.wait(0.4), "the cap counts from the gate"
        assert ended.wait(5)
    assert (clock.end.at, clock.end.used_seconds) == ("wall cap", pytest.approx(0.4))
    assert clock.end.waited_seconds == pytest.approx(50.0), "what was waited before is not in it"
    assert clock.end.wall_seconds >= 2.0
    with pytest.raises(MachineBusy):
        clock.end.require_own_fault()


def test_its_looks_come_at_random_moments_and_in_time_for_the_end(ended, monkeypatch):
    drawn = []

    def draw(rate):
        drawn.append(rate)
        return 0.125

    monkeypatch.setattr("random.expovariate", draw)
    with Clock("processor", Used(), ended.set) as clock:
        assert clock._until_next_look() == 0.125
        clock.open_gate(0.01)
        assert clock._until_next_look() == 0.125, "of a processor's time nobody knows when it ends"
    assert set(drawn) == {1 / LOOK_SECONDS}
    with Clock("wall", Used(), ended.set) as clock:
        assert clock._until_next_look() == 0.125
        clock.open_gate(0.05)
        assert clock._until_next_look() <= 0.05
    monkeypatch.setattr("random.expovariate", lambda rate: 60.0)
    assert clock._until_next_look() <= LONGEST_LOOK_SECONDS


def test_an_end_knows_how_long_nobody_looked(ended, monkeypatch):
    monkeypatch.setattr("random.expovariate", lambda rate: 0.7)
    monkeypatch.setattr("nightlab.training.clock.LONGEST_LOOK_SECONDS", 0.7)
    used = Used()
    with Clock("processor", used, ended.set) as clock:
        clock.open_gate(1.0)
        used.used_seconds = 2.0
        assert ended.wait(5)
    assert clock.end.unseen_seconds > 0.6


def test_it_does_not_end_what_ended_in_time(ended):
    with Clock("processor", Used(), ended.set) as clock:
        clock.open_gate(1.0)
    assert not ended.is_set()
    assert clock.end is None
    before = clock.since_gate()
    time.sleep(0.05)
    assert clock.since_gate() == before, "it stands still"


def test_the_last_look_may_find_that_time_was_over(ended, monkeypatch):
    monkeypatch.setattr("random.expovariate", lambda rate: 60.0)
    monkeypatch.setattr("nightlab.training.clock.LONGEST_LOOK_SECONDS", 60.0)
    used = Used()
    with Clock("processor", used, ended.set) as clock:
        clock.open_gate(1.0)
        used.used_seconds = 1.1
        clock.stop()
        assert clock.is_over()
        assert not clock.end.is_overrun


def test_a_clock_that_breaks_down_ends_the_job_and_says_so(ended, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    with Clock("processor", Broken(), ended.set) as clock:
        assert ended.wait(5)
        clock._thread.join()
        with pytest.raises(SandboxError, match="clock of a training broke down"):
            clock.is_over()


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
    end = End(
        at="budget", limit_seconds=20, used_seconds=used, wall_seconds=25, waited_seconds=0,
        unseen_seconds=unseen,
    )  # fmt: skip
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
    numbers = {"limit_seconds": 20, "used_seconds": used, "wall_seconds": 80, "unseen_seconds": 0.1}
    end = End(at="wall cap", waited_seconds=waited, **numbers)
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
    require_quiet("A start-up", 90, 88, 90, 2)
    with pytest.raises(MachineBusy, match="A start-up needed up to 90"):
        require_quiet("A start-up", 90, 60, 90, 20)


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
