"""How jobs end, on every rung: by themselves, when killed, and with the engine."""

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from nightlab.sandbox import Job
from nightlab.sandbox.device import Device
from nightlab.sandbox.log import LOG_HEAD_BYTES, LOG_TAIL_BYTES, CappedLog

CPU = Device(name="cpu", description="test", threads=2)

# Forks twice, leaves the session, ignores signals, undoes the parent-death signal, and
# leaves programs behind whose arguments name the test.
ILL_BEHAVED = """
import ctypes, os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
    signal.signal(number, signal.SIG_IGN)
ctypes.CDLL(None).prctl(1, 0)
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            ctypes.CDLL(None).prctl(1, 0)
            idle = "import time; time.sleep(600)"
            os.execv(sys.executable, [sys.executable, "-c", idle, "MARK"])
        os._exit(0)
print("spread", flush=True)
time.sleep(600)
"""


def job(source: str) -> Job:
    return Job(program="train", source=source, device=CPU)


def marked(mark: str) -> list[int]:
    """Processes anywhere on the machine whose arguments name the mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if mark in " ".join(process.cmdline()):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def wait_until(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def ill_behaved(mark: str) -> str:
    # sleep adds its arguments up, so the mark must be a number.
    return ILL_BEHAVED.replace("MARK", mark)


@pytest.fixture
def mark() -> str:
    return str(uuid.uuid4().int % 10**15 + 10**15)


@pytest.fixture
def own_temporary() -> Iterator[Path]:
    """A folder for temporary files that the ids of jobs can enter too."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o1777)
        yield Path(folder)


def test_kill_returns_when_the_whole_tree_is_gone(sandbox, mark):
    with sandbox.start(job(ill_behaved(mark))) as process:
        assert wait_until(lambda: len(marked(mark)) == 3, 20), process.log
        process.kill()
        assert marked(mark) == []
        process.kill()  # once more does no harm


def test_a_job_that_ends_takes_its_daemons_along(sandbox, mark):
    source = ill_behaved(mark).replace("time.sleep(600)", "time.sleep(1); sys.exit(3)")
    with sandbox.start(job(source)) as process:
        assert process.wait(20) == 3
        assert marked(mark) == []


@pytest.mark.parametrize("trust", [False, True])
def test_nothing_survives_an_engine_that_is_killed(trust, mark, own_temporary):
    engine = f"""
        import time
        from nightlab.sandbox.device import Device
        from nightlab.sandbox import Job, choose_sandbox
        sandbox = choose_sandbox({trust})
        source = {ill_behaved(mark)!r}
        device = Device(name="cpu", description="test", threads=2)
        with sandbox.start(Job(program="train", source=source, device=device)) as process:
            print(process.folder.path, flush=True)
            time.sleep(600)
    """
    command = [sys.executable, "-c", textwrap.dedent(engine)]
    # Folders of its own, or another engine that starts meanwhile would sweep what is left.
    environment = {**os.environ, "TMPDIR": str(own_temporary)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stdout is not None
        folder = running.stdout.readline().strip()
        spread = wait_until(lambda: len(marked(mark)) >= 3, 30)
        running.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        gone = wait_until(lambda: not marked(mark), 10)
        seconds = time.monotonic() - killed
    assert spread
    assert gone
    assert seconds < 2
    if trust:
        assert os.path.isdir(folder), "left by the kill, for the next start to sweep"
    else:
        assert os.listdir(os.path.dirname(folder)) == [], "what was in memory went with the engine"


def test_signals_become_exit_codes(sandbox):
    source = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    with sandbox.start(job(source)) as process:
        assert process.wait(20) == 128 + signal.SIGSEGV


def test_a_flood_of_output_blocks_nobody_and_fills_nothing(sandbox):
    source = """
import sys
print("first words")
for _ in range(300):
    sys.stdout.write("x" * 100_000)
print("\\nlast \\x1b[31mwords\\x1b[0m\\x00\\x07")
"""
    with sandbox.start(job(source)) as process:
        assert process.wait(60) == 0
        log = process.log
    assert log.startswith("first words\n")
    assert log.endswith("\nlast words\n")
    assert "bytes of output left out" in log
    assert len(log) < LOG_HEAD_BYTES + LOG_TAIL_BYTES + 100


def test_garbage_in_the_output_and_a_pipe_held_open_harm_nobody(sandbox):
    source = """
import os, random, sys, time
os.write(1, bytes(range(256)) * 40)
os.write(2, random.randbytes(10_000) + b"\\xff\\xfe end\\n")
if os.fork() == 0:
    os.setsid() if hasattr(os, "setsid") else None
    time.sleep(600)
"""
    with sandbox.start(job(source)) as process:
        assert process.wait(20) == 0
        log = process.log
    assert log.endswith("end\n")
    assert not [c for c in log if c < " " and c not in "\n\t"]


def test_a_job_that_says_nothing_and_closes_its_output_goes_on(sandbox):
    source = "import os, time; os.close(1); os.close(2); time.sleep(0.5); os._exit(7)"
    with sandbox.start(job(source)) as process:
        assert process.wait(20) == 7
        assert process.log == ""


def test_a_flood_leaves_the_engine_its_time(bubblewrap):
    source = "import os\nwhile True: os.write(1, bytes(1 << 20))"
    with bubblewrap.start(job(source)) as process:
        assert wait_until(lambda: "left out" in process.log, 20)
        cpu, began = time.thread_time(), time.monotonic()
        before = os.times()
        time.sleep(1)
        after = os.times()
        used = (after.user + after.system) - (before.user + before.system)
        assert used < 0.7 * (time.monotonic() - began), "the reader does not run all the time"
        assert time.thread_time() - cpu < 0.1


def test_the_trees_memory_is_seen(sandbox):
    source = """
import os, time
if os.fork() == 0:
    held = b"x" * (200 << 20)
    time.sleep(600)
time.sleep(600)
"""
    with sandbox.start(job(source)) as process:
        assert wait_until(lambda: (process.peak_memory_mb or 0) > 200, 20)
        assert process.peak_memory_mb is not None
        assert process.peak_memory_mb < 600


def test_a_clean_environment_reaches_the_job(unconfined, monkeypatch):
    monkeypatch.setenv("NIGHTLAB_TEST_KEY", "sk-secret")
    with unconfined.start(job("import os; print(dict(os.environ))")) as process:
        assert process.wait(20) == 0
        assert "sk-secret" not in process.log
        assert "'GOMP_SPINCOUNT': '0'" in process.log


@pytest.mark.parametrize("chunk", [1, 999, 10**6])
def test_a_log_keeps_head_and_tail_however_it_is_cut(chunk):
    data = bytes(range(97, 123)) * 10_000
    log = CappedLog()
    for start in range(0, len(data), chunk):
        log.add(data[start : start + chunk])
    head, tail = log.text().split("\n… ")
    count, tail = tail.split(" bytes of output left out …\n")
    assert head.encode() == data[:LOG_HEAD_BYTES]
    assert tail.encode() == data[-LOG_TAIL_BYTES:]
    assert int(count) == len(data) - LOG_HEAD_BYTES - LOG_TAIL_BYTES
