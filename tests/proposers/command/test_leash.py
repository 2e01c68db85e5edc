"""A program on a leash: its output, its end, and what of it is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nightlab.proposers.command.leash import Bounds, Outcome, run_on_leash
from tests.conftest import ROOT

ROOMY = Bounds(seconds=30, folder_bytes=2**26, folder_files=1_000)


def run(folder: Path, script: str, **bounds: float) -> Outcome:
    return run_on_leash(
        ["/bin/sh", "-c", script],
        folder=folder,
        environment={**os.environ, "GREETING": "hello"},
        bounds=Bounds(**{**_fields(ROOMY), **bounds}),
    )


def _fields(bounds: Bounds) -> dict[str, float]:
    names = ("seconds", "folder_bytes", "folder_files")
    return {name: getattr(bounds, name) for name in names}


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until_gone(pid: int) -> bool:
    for _ in range(100):
        if not is_alive(pid):
            return True
        time.sleep(0.05)
    return False


def test_it_runs_in_its_folder_with_its_environment(tmp_path: Path) -> None:
    done = run(tmp_path, 'echo "$GREETING from $PWD"; echo wrong >&2; cat; exit 3')
    assert (done.code, done.broke) == (3, None)
    assert done.log == f"hello from {tmp_path}\nwrong\n"
    assert done.seconds > 0


def test_a_signal_is_told_as_a_shell_tells_it(tmp_path: Path) -> None:
    assert run(tmp_path, "kill -TERM $$").code == 128 + signal.SIGTERM


def test_one_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    script = (
        "trap '' TERM INT HUP; (setsid sh -c 'echo $$ > escaped; exec sleep 600' &) ; "
        "(sh -c 'echo $$ > child; exec sleep 600' &); sleep 600"
    )
    done = run(tmp_path, script, seconds=1.5)
    assert done.broke == "it was still running after 1.5 s"
    for name in ("escaped", "child"):
        assert wait_until_gone(int((tmp_path / name).read_text()))


def test_what_it_left_running_ends_with_it(tmp_path: Path) -> None:
    done = run(tmp_path, "setsid sh -c 'echo $$ > daemon; exec sleep 600' & sleep 0.3; echo done")
    assert (done.code, done.log) == (0, "done\n")
    assert wait_until_gone(int((tmp_path / "daemon").read_text()))


def test_a_flood_of_output_is_cut_in_the_middle(tmp_path: Path) -> None:
    done = run(tmp_path, "echo first; head -c 5000000 /dev/zero | tr '\\0' x; echo; echo last")
    assert done.code == 0
    assert done.log.startswith("first\n")
    assert done.log.endswith("last\n")
    assert "bytes of output left out" in done.log
    assert len(done.log) < 100_000


@pytest.mark.parametrize(
    ("script", "bounds", "said"),
    [
        ("yes > flood; sleep 60", {"folder_bytes": 2**20}, "more than 1 MB"),
        (
            "while :; do i=$((i+1)); : > f$i; done",
            {"folder_files": 50},
            "more than 50 files",
        ),
    ],
)
def test_one_that_fills_its_folder_is_ended(
    tmp_path: Path, script: str, bounds: dict[str, float], said: str
) -> None:
    done = run(tmp_path, script, **bounds)
    assert done.broke is not None
    assert said in done.broke


def test_it_may_remove_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    done = run(folder, 'rm -rf "$PWD"; sleep 0.6; echo bye')
    assert (done.code, done.log) == (0, "bye\n")


def test_it_dies_with_the_engine(tmp_path: Path) -> None:
    code = (
        "import os, pathlib; from nightlab.proposers.command.leash import *; "
        "run_on_leash(['/bin/sh', '-c', 'echo $$ > pid; exec sleep 600'], "
        f"folder=pathlib.Path({str(tmp_path)!r}), environment=dict(os.environ), "
        "bounds=Bounds(seconds=600, folder_bytes=10**9, folder_files=1000))"
    )
    engine = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    file = tmp_path / "pid"
    for _ in range(200):
        if file.exists() and file.read_text().strip():
            break
        time.sleep(0.05)
    pid = int(file.read_text())
    assert is_alive(pid)
    engine.kill()
    engine.wait()
    assert wait_until_gone(pid)
