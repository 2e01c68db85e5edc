"""Lanes: a training on each core or GPU, whoever on this machine starts it."""

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from nightlab import events
from nightlab.errors import SandboxError
from nightlab.sandbox.device import Device
from nightlab.sandbox.endable import EndableSandbox
from nightlab.settings import SessionSettings
from nightlab.study.session import MOST_LANES, Session, device_lock, device_turn
from tests.conftest import ROOT
from tests.study.begun import CPU

GPU = Device(name="cuda:0", description="a GPU", threads=8)
Holder = Callable[[int, int], "subprocess.Popen[str]"]


@pytest.fixture
def places(tmp_path: Path) -> Any:
    return SimpleNamespace(cache=tmp_path)


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Holder]:
    """Another session of this machine, in a process of its own, that holds some lanes of all."""
    holders: list[subprocess.Popen[str]] = []

    def start(lanes: int, held: int) -> "subprocess.Popen[str]":
        command = [sys.executable, str(Path(__file__).parent / "lane_holder.py")]
        holder = subprocess.Popen(
            [*command, str(tmp_path), str(lanes), str(held)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        holders.append(holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        return holder

    yield start
    for holder in holders:
        holder.kill()
        holder.communicate()


def is_free(places: Any, device: Device, lanes: int) -> bool:
    """Whether a lane can be had at once."""
    told: list[events.Event] = []
    entered = threading.Event()

    def enter() -> None:
        with events.listening(told.append), device_lock(places, device, lanes):
            entered.set()

    thread = threading.Thread(target=enter, daemon=True)
    thread.start()
    return entered.wait(timeout=0.5)


@contextmanager
def held(places: Any, device: Device, lanes: int, count: int) -> Iterator[None]:
    """Hold some lanes, each in a thread as tasks do."""
    release, holding = threading.Event(), threading.Barrier(count + 1)

    def enter() -> None:
        with device_lock(places, device, lanes):
            holding.wait(timeout=30)
            assert release.wait(timeout=60)

    with ThreadPoolExecutor() as pool:
        running = [pool.submit(enter) for _ in range(count)]
        try:
            holding.wait(timeout=30)
            yield
        finally:
            release.set()
        for each in running:
            each.result()


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_as_many_train_at_once_as_there_are_lanes(places: Any, lanes: int) -> None:
    with held(places, CPU, lanes, lanes):
        assert not is_free(places, CPU, lanes)
    with held(places, CPU, lanes, lanes - 1):
        assert is_free(places, CPU, lanes)


def test_who_waits_is_told_and_goes_on_when_a_lane_is_free(places: Any) -> None:
    told: list[events.Event] = []
    with ThreadPoolExecutor() as pool:

        def enter() -> float:
            with events.listening(told.append), device_lock(places, CPU, 2):
                return time.monotonic()

        with held(places, CPU, 2, 2):
            waiting = pool.submit(enter)
            time.sleep(0.5)
            assert not waiting.done()
            released = time.monotonic()
        assert 0 <= waiting.result(timeout=30) - released < 5
    assert [each.text for each in told if isinstance(each, events.Notice)] == [
        "Waiting for cpu: it is in use."
    ]


def test_a_lane_is_free_again_where_what_held_it_raised(places: Any) -> None:
    with pytest.raises(ZeroDivisionError), device_lock(places, CPU, 1):
        raise ZeroDivisionError
    assert is_free(places, CPU, 1)


def test_devices_do_not_wait_for_each_other(places: Any) -> None:
    with held(places, GPU, 1, 1):
        assert is_free(places, CPU, 1)
        assert is_free(places, GPU.model_copy(update={"name": "cuda:1"}), 1)
        assert not is_free(places, GPU, 1)


def test_two_sessions_of_one_machine_share_its_cores(places: Any, hold: Holder) -> None:
    hold(2, 1)
    assert is_free(places, CPU, 2)
    with held(places, CPU, 2, 1):
        assert not is_free(places, CPU, 2)


def test_a_lane_whose_holder_is_killed_is_free_at_once(places: Any, hold: Holder) -> None:
    first, second = hold(2, 1), hold(2, 1)
    assert not is_free(places, CPU, 2)
    first.kill()
    first.wait()
    assert is_free(places, CPU, 2)
    with held(places, CPU, 2, 1):
        assert not is_free(places, CPU, 2), "the other one still holds its own"
    second.kill()
    second.wait()
    with held(places, CPU, 2, 1):
        assert is_free(places, CPU, 2)


def made(device: Device, tmp_path: Path, engine: str = "1+abc") -> Session:
    unused: Any = None
    return Session(
        identifier="s",
        settings=SessionSettings(study="s"),
        places=SimpleNamespace(cache=tmp_path),  # type: ignore[arg-type]
        ledger=unused,
        remote=None,
        hold=unused,
        sandbox=EndableSandbox(unused),
        device=device,
        tracker=unused,
        proposer=unused,
        proposer_why="",
        spending=unused,
        engine_version=engine,
        work=tmp_path,
    )


@pytest.mark.parametrize(("cores", "lanes"), [(1, 1), (2, 2), (3, 2), (4, MOST_LANES), (64, 2)])
def test_a_cpu_has_a_lane_a_core_and_a_gpu_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, lanes: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    # A job of it computes with one thread, however many cores there are.
    assert made(CPU.model_copy(update={"threads": 1}), tmp_path).lanes == lanes
    assert made(GPU, tmp_path).lanes == 1


@pytest.mark.parametrize(("machine_mb", "lanes"), [(24_000, 2), (12_000, 2), (11_999, 1), (500, 1)])
def test_no_more_train_at_once_than_fit_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine_mb: int, lanes: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    pages = {"SC_PHYS_PAGES": machine_mb * 2**20 // 4096, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    session = made(CPU, tmp_path)
    assert session.settings.sizes.memory_mb == 6_000
    assert session.lanes == lanes


def test_a_turn_is_a_lane_of_the_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    session = made(CPU, tmp_path)
    with device_turn(session):
        assert is_free(session.places, CPU, 2)
        assert not is_free(session.places, CPU, 1)


def test_a_place_is_machine_device_and_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "node", lambda: "ada")
    here = made(CPU, tmp_path).place
    assert here == "ada, a processor, 2 threads, engine 1+abc"
    others = [made(GPU, tmp_path).place, made(CPU, tmp_path, engine="2+abc").place]
    monkeypatch.setattr(platform, "node", lambda: "bob")
    others.append(made(CPU, tmp_path).place)
    assert len({here, *others}) == 4


class Running:
    """A job that is under way until it is ended."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def end(self) -> None:
        self.ended.set()


class Starter:
    """A sandbox that starts such jobs."""

    def __init__(self) -> None:
        self.started: list[Running] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def start(self, job: Any) -> Running:
        self.started.append(Running())
        self.meanwhile()
        return self.started[-1]


def test_the_jobs_of_a_session_that_is_interrupted_are_ended_and_none_is_started() -> None:
    starter: Any = Starter()
    sandbox, job = EndableSandbox(starter), cast("Any", None)
    running = [sandbox.start(job), sandbox.start(job)]
    assert not any(each.ended.is_set() for each in starter.started)
    sandbox.end_jobs()
    assert all(each.ended.is_set() for each in starter.started)
    with pytest.raises(SandboxError, match="interrupted"):
        sandbox.start(job)
    assert len(starter.started) == len(running)


def test_one_that_was_just_starting_is_ended_too() -> None:
    starter: Any = Starter()
    sandbox, job = EndableSandbox(starter), cast("Any", None)
    starter.meanwhile = sandbox.end_jobs
    sandbox.start(job)
    assert starter.started[0].ended.is_set()


def test_who_waits_for_a_lane_then_waits_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    session = made(CPU, tmp_path)

    def enter() -> None:
        with device_turn(session):
            pass

    with held(session.places, CPU, 1, 1), ThreadPoolExecutor() as pool:
        waiting = pool.submit(enter)
        time.sleep(0.5)
        assert not waiting.done()
        session.sandbox.end_jobs()
        with pytest.raises(SandboxError, match="interrupted"):
            waiting.result(timeout=10)
