"""Locks of lanes: a training on each core or GPU, whoever on this machine starts it."""

import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from nightlab import events
from nightlab.errors import UsageError
from nightlab.sandbox import lane_lock as locks
from nightlab.sandbox.device import Device, detect_device
from nightlab.sandbox.lane_lock import lane_lock, lane_names, lock_folder
from nightlab.settings import Places
from tests.conftest import ROOT
from tests.lanes import held, is_free
from tests.machine_samples import write_machine, write_torch

CPU = Device(name="cpu", description="a processor, 8 cores", threads=1)
GPU = Device(name="cuda:0", description="a GPU", threads=8, uuid="GPU-0000-0")
OTHER_GPU = GPU.model_copy(update={"uuid": "GPU-0000-1"})
Holder = Callable[[Device, int, int], "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 4, 5, 6, 7})


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Holder]:
    """Another session of this machine, in a process of its own, that holds some lanes of all."""
    holders: list[subprocess.Popen[str]] = []

    def start(device: Device, lanes: int, held: int) -> "subprocess.Popen[str]":
        program = str(ROOT / "tests" / "lane_holder.py")
        words = [str(tmp_path), device.model_dump_json(), str(lanes), str(held)]
        holder = subprocess.Popen(
            [sys.executable, program, *words],
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


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_as_many_train_at_once_as_there_are_lanes(tmp_path: Path, lanes: int) -> None:
    with held(tmp_path, CPU, lanes, lanes):
        assert not is_free(tmp_path, CPU, lanes)
    with held(tmp_path, CPU, lanes, lanes - 1):
        assert is_free(tmp_path, CPU, lanes)


def test_who_waits_is_told_and_goes_on_when_a_lane_is_free(tmp_path: Path) -> None:
    told: list[events.Event] = []
    with ThreadPoolExecutor() as pool:

        def enter() -> float:
            with events.listening(told.append), lane_lock(tmp_path, CPU, 2):
                return time.monotonic()

        with held(tmp_path, CPU, 2, 2):
            waiting = pool.submit(enter)
            time.sleep(0.5)
            assert not waiting.done()
            released = time.monotonic()
        assert waiting.result(timeout=30) >= released
    assert [each.text for each in told if isinstance(each, events.Notice)] == [
        "Waiting for cpu: it is in use."
    ]


def test_a_lane_is_free_again_where_what_held_it_raised(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lane_lock(tmp_path, CPU, 1):
        raise ZeroDivisionError
    assert is_free(tmp_path, CPU, 1)


def test_devices_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with held(tmp_path, GPU, 1, 1):
        assert is_free(tmp_path, CPU, 1)
        assert is_free(tmp_path, OTHER_GPU, 1), "though both are the first that their owner sees"
        assert not is_free(tmp_path, GPU, 1)
        assert not is_free(tmp_path, GPU.model_copy(update={"name": "cuda:7"}), 1)


def test_cores_are_the_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lane_names(CPU, 2) == ["core-0", "core-1"]
    with held(tmp_path, CPU, 2, 2):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 3, 10})
        assert lane_names(CPU, 2) == ["core-3", "core-5"]
        assert is_free(tmp_path, CPU, 2), "who was given other cores trains there"
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 3})
        with held(tmp_path, CPU, 2, 1):
            assert not is_free(tmp_path, CPU, 2), "one of its cores is taken"


def test_two_sessions_of_one_machine_share_its_cores(
    tmp_path: Path, hold: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    ours = min(os.sched_getaffinity(0))
    hold(CPU, 1, 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {ours, 1000})
    assert is_free(tmp_path, CPU, 2)
    with held(tmp_path, CPU, 2, 1):
        assert not is_free(tmp_path, CPU, 2)


def test_a_lane_whose_holder_is_killed_is_free_at_once(tmp_path: Path, hold: Holder) -> None:
    first, second = hold(GPU, 1, 1), hold(OTHER_GPU, 1, 1)
    assert not is_free(tmp_path, GPU, 1)
    first.kill()
    first.wait()
    assert is_free(tmp_path, GPU, 1)
    assert not is_free(tmp_path, OTHER_GPU, 1), "the other one still holds its own"
    second.kill()
    second.wait()
    assert is_free(tmp_path, OTHER_GPU, 1)


def test_eight_workers_that_see_a_gpu_each_train_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch").mkdir()
    write_torch(tmp_path / "torch", *[("NVIDIA H100 80GB HBM3", 81_079)] * 8)
    gpus = {number: f"GPU-0000-{number}" for number in range(8)}
    machine = write_machine(tmp_path / "machine", gpus, "580.65.06")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "torch"))
    with ExitStack() as held_locks:
        for number in range(8):
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", str(number))
            device = detect_device(machine=machine)
            assert device.name == "cuda:0", "each is the first of its worker"
            assert is_free(tmp_path, device, 1)
            held_locks.enter_context(lane_lock(tmp_path, device))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-0000-3")
        assert not is_free(tmp_path, detect_device(machine=machine), 1)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        assert not is_free(tmp_path, detect_device("cuda:5", machine=machine), 1)


def places(cache: Path, named: Path | None = None) -> Places:
    return Places(root=cache, cache=cache, tracking_uri="", mlruns=cache, locks=named)


def everybodys(folder: Path) -> Path:
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def test_all_users_of_a_machine_come_to_the_same_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[events.Event] = []
    closed, opened = tmp_path / "closed", everybodys(tmp_path / "opened")
    closed.mkdir()
    closed.chmod(0o777)  # without the sticky bit anybody could take locks away
    shared = (tmp_path / "missing", closed, opened, everybodys(tmp_path / "further"))
    monkeypatch.setattr(locks, "SHARED", shared)
    with events.listening(heard.append):
        assert lock_folder(places(tmp_path / "one")) == opened
        assert lock_folder(places(tmp_path / "other")) == opened
    assert heard == []
    assert not (tmp_path / "one").exists()


def test_the_place_of_this_machine_is_no_cache() -> None:
    assert lock_folder(places(Path("/nonexistent"))) in (Path("/run/lock"), Path("/tmp"))


def test_where_no_place_is_everybodys_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[events.Event] = []
    monkeypatch.setattr(locks, "SHARED", (tmp_path / "a", tmp_path / "b"))
    with events.listening(heard.append):
        assert lock_folder(places(tmp_path / "c")) == tmp_path / "c" / "locks"
    assert f"neither {tmp_path}/a nor {tmp_path}/b can be written by every user" in str(heard)
    assert "NIGHTLAB_LOCKS names a folder" in str(heard)


def test_a_folder_that_is_named_is_taken_and_made_for_all(tmp_path: Path) -> None:
    named = tmp_path / "deep" / "locks"
    assert lock_folder(places(tmp_path, named)) == named
    assert stat.S_IMODE(named.stat().st_mode) == 0o1777
    named.chmod(0o700)
    assert lock_folder(places(tmp_path, named)) == named, "what was there keeps its rights"
    assert stat.S_IMODE(named.stat().st_mode) == 0o700
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="set NIGHTLAB_LOCKS to a folder"):
            lock_folder(places(tmp_path, wrong))


def test_a_lock_is_everybodys_whatever_the_umask_and_leaves_nothing_beside_it(
    tmp_path: Path,
) -> None:
    before = os.umask(0o077)
    try:
        with lane_lock(tmp_path, GPU):
            pass
    finally:
        os.umask(before)
    assert [each.name for each in tmp_path.iterdir()] == ["nightlab-GPU-0000-0.lock"]
    assert stat.S_IMODE((tmp_path / "nightlab-GPU-0000-0.lock").stat().st_mode) == 0o666


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "pipe", "shut"])
def test_what_somebody_put_in_its_place_is_refused_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    file = tmp_path / "nightlab-GPU-0000-0.lock"
    victim = tmp_path / "victim"
    if kind == "link":
        victim.write_text("mine")
        file.symlink_to(victim)
    elif kind == "dangling":
        file.symlink_to(victim)
    elif kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.touch()

        def refuse(path: object, flags: int, *more: int) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)  # root may open everything
    sentence = rf"lock {file}, .*: remove it, or set NIGHTLAB_LOCKS"
    with pytest.raises(UsageError, match=sentence), lane_lock(tmp_path, GPU):
        pass
    assert victim.exists() == (kind == "link")


def test_files_of_others_are_never_opened_as_if_they_were_to_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With O_CREAT, Linux refuses them in sticky folders: fs.protected_regular."""
    asked: list[int] = []
    real = os.open

    def remember(path: object, flags: int, *more: int, **named: int) -> int:
        if path == tmp_path / "nightlab-GPU-0000-0.lock":
            asked.append(flags)
        return real(path, flags, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", remember)
    for _ in range(2):
        with lane_lock(tmp_path, GPU):
            pass
    assert asked
    assert not any(flags & os.O_CREAT for flags in asked)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_two_users_lock_the_same_file() -> None:
    program = (
        "import os, sys, fcntl; os.setgid(12345); os.setuid(12345); "
        "handle = os.open(sys.argv[1], os.O_RDWR); "
        "fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o1777)
        command = [sys.executable, "-c", program, str(folder / "nightlab-GPU-0000-0.lock")]
        with lane_lock(folder, GPU):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert "BlockingIOError" in done.stderr
        assert subprocess.run(command, check=False).returncode == 0


def test_a_lock_that_was_cleaned_away_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "nightlab-GPU-0000-0.lock"
    real = locks._opened
    removed: list[Path] = []

    def open_and_lose(path: Path) -> int:
        handle = real(path)
        if not removed:
            removed.append(path)
            path.unlink()
        return handle

    monkeypatch.setattr(locks, "_opened", open_and_lose)
    with lane_lock(tmp_path, GPU):
        assert file.exists()
        assert not is_free(tmp_path, GPU, 1)


def test_a_lock_in_use_is_never_old(tmp_path: Path) -> None:
    """What cleans temporary folders up goes by age."""
    with lane_lock(tmp_path, GPU):
        pass
    file = tmp_path / "nightlab-GPU-0000-0.lock"
    os.utime(file, (1.0, 1.0))
    with lane_lock(tmp_path, GPU):
        assert file.stat().st_mtime > 1_000_000
