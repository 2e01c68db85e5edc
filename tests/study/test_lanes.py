"""Lanes of a session: how many it has, whose turn it is, and its jobs' end."""

import os
import platform
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from nightlab.errors import SandboxError, SessionOver
from nightlab.ledger import Remote, ask_remote_to_stop, ask_to_stop, hold_session
from nightlab.records import utc_now
from nightlab.sandbox.device import Device
from nightlab.sandbox.endable import EndableSandbox
from nightlab.settings import SessionSettings
from nightlab.study import steering
from nightlab.study.lanes import device_turn
from nightlab.study.session import MOST_LANES, Session
from tests.conftest import git
from tests.lanes import held, is_free
from tests.session_samples import sample_session
from tests.study.begun import CPU

GPU = Device(name="cuda:0", description="a GPU", threads=8)


def made(device: Device, tmp_path: Path, engine: str = "1+abc") -> Session:
    unused: Any = None
    return Session(
        identifier="s",
        settings=SessionSettings(study="s"),
        places=unused,
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
        locks=tmp_path,
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
        assert is_free(tmp_path, CPU, 2)
        assert not is_free(tmp_path, CPU, 1)


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

    session.ledger = sample_session(tmp_path / "clone").ledger
    with held(tmp_path, CPU, 1, 1), ThreadPoolExecutor() as pool:
        waiting = pool.submit(enter)
        time.sleep(0.5)
        assert not waiting.done()
        session.sandbox.end_jobs()
        with pytest.raises(SandboxError, match="interrupted"):
            waiting.result(timeout=10)


@pytest.mark.parametrize("how", ["here", "at the remote", "its time"])
def test_who_waits_for_a_lane_hears_that_the_session_is_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    monkeypatch.setattr(steering, "HEAR_SECONDS", 0.0)
    monkeypatch.setattr(steering, "LOOK_SECONDS", 0.2)
    session, clone = made(CPU, tmp_path), tmp_path / "clone"
    session.settings = SessionSettings(study="night", hours=2.0)
    session.ledger = sample_session(clone).ledger
    git(tmp_path, "init", "-q", "--bare", "hub.git")
    git(clone, "remote", "add", "origin", str(tmp_path / "hub.git"))
    session.remote = Remote(clone, "origin", "night")

    def enter() -> None:
        with device_turn(session):
            pass

    with (
        held(tmp_path, CPU, 1, 1),
        hold_session(session.ledger, session.remote, session.identifier),
        ThreadPoolExecutor() as pool,
    ):
        waiting = pool.submit(enter)
        time.sleep(0.5)
        assert not waiting.done()
        if how == "here":
            ask_to_stop(session.ledger)
        elif how == "at the remote":
            ask_remote_to_stop(session.remote)
        else:
            session.began -= timedelta(hours=2)
        with pytest.raises(SessionOver, match="It was waiting for a lane of cpu"):
            waiting.result(timeout=30)
        session.trials_ended_at = utc_now()  # what follows is not ended by that
        waiting = pool.submit(enter)
        time.sleep(0.5)
        assert not waiting.done()
        ask_to_stop(session.ledger)
        with pytest.raises(SessionOver, match="It was waiting for a lane"):
            waiting.result(timeout=30)
