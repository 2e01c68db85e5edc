"""Cgroups, for real where this machine lets us make one, and by their files where not.

Which controllers there are is the machine's choice: the limits' files are tested on a
folder that looks like a cgroup, since a memory controller is rarely given to a test.
"""

import os
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest

from nightlab.errors import SandboxError
from nightlab.records import Reason
from nightlab.sandbox import Job
from nightlab.sandbox import cgroup as cgroups
from nightlab.sandbox.cgroup import Cgroup, Cgroups, entering
from nightlab.sandbox.device import Device
from nightlab.sandbox.environment import Limits

CPU = Device(name="cpu", description="test", threads=1)
LIMITS = Limits.of(Job(program="train", source="", device=CPU, memory_mb=300))


@pytest.fixture(scope="module")
def places():
    found = Cgroups.find()
    if found.parent is None:
        pytest.skip("no cgroup v2 hierarchy in which this user may make a cgroup")
    return found


@pytest.fixture
def made(places):
    cgroup = places.create(LIMITS)
    yield cgroup
    cgroup.kill()
    cgroup.remove()


def start(source, cgroup):
    command = entering([sys.executable, "-I", "-S", "-c", textwrap.dedent(source)], cgroup)
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={})


def test_a_process_is_in_its_cgroup_before_it_runs(made):
    with start("print(open('/proc/self/cgroup').read())", made) as process:
        assert f"/{made.path.name}\n" in process.communicate(timeout=30)[0]


def test_a_cgroups_kill_ends_what_left_its_session_and_forks_on(made):
    source = """
        import os, time
        for _ in range(3):
            if os.fork() == 0:
                os.setsid()
                while True:
                    if os.fork():
                        os._exit(0)
                    time.sleep(0.001)
        print("spread", flush=True)
        time.sleep(60)
    """
    with start(source, made) as process:
        assert process.stdout.readline() == "spread\n"
        made.kill()
        assert process.wait(30) == -9
    made.remove()
    assert not made.path.exists()


def test_what_a_killed_engine_left_is_removed(places):
    with subprocess.Popen(["true"]) as ended:
        pass
    ours = places.create(LIMITS)
    left = [
        places.parent / f"nightlab-{name}-00000000"
        # The second is of an earlier process that had our id, the last of an earlier version.
        for name in (f"{ended.pid}-12345", f"{os.getpid()}-12345", ended.pid)
    ]
    for path in left:
        path.mkdir()
    try:
        Cgroups.find()
        assert not any(path.exists() for path in left)
        assert ours.path.exists()
    finally:
        ours.remove()


def test_a_cgroup_that_stays_full_is_told(places, monkeypatch):
    monkeypatch.setattr(cgroups, "ENDING_SECONDS", 0.1)
    cgroup = places.create(LIMITS)
    with start("import time; print(flush=True); time.sleep(60)", cgroup) as process:
        process.stdout.readline()
        with pytest.raises(SandboxError, match=r"cgroup\.procs"):
            cgroup.remove()
        cgroup.kill()
    monkeypatch.undo()
    cgroup.remove()


def test_a_job_lives_in_a_cgroup_and_leaves_none(places, sandbox):
    ours = f"nightlab-{os.getpid()}-*"
    before = set(places.parent.glob(ours))
    source = "import time; print('begun', flush=True); time.sleep(60)"
    with sandbox.start(Job(program="train", source=source, device=CPU)) as process:
        (own,) = set(places.parent.glob(ours)) - before
        while "begun" not in process.log:
            assert process.wait(0.01) is None, process.log
        assert str(process.pid) in (own / "cgroup.procs").read_text().split()
    assert not own.exists()


def test_limits_are_written_where_the_controllers_are(tmp_path):
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory pids\n")
    places = Cgroups(tmp_path)
    cgroup = places.create(LIMITS)
    assert (cgroup.path / "memory.max").read_text() == str(300 * 2**20)
    assert (cgroup.path / "memory.oom.group").read_text() == "1"
    assert (cgroup.path / "pids.max").read_text() == str(LIMITS.processes)
    assert places.holding().missing == ()
    assert "memory of all processes together (cgroup and watched)" in places.holding().features
    unlimited = places.create(replace(LIMITS, memory_bytes=None))
    assert not (unlimited.path / "memory.max").exists()


def test_what_is_not_there_is_not_claimed(tmp_path):
    (tmp_path / "cgroup.subtree_control").write_text("hugetlb\n")
    holding = Cgroups(tmp_path).holding()
    assert "number of processes (cgroup)" not in holding.features
    assert any("memory limit by the kernel" in missing for missing in holding.missing)
    nowhere = Cgroups(None)
    assert nowhere.create(LIMITS) is None
    assert "killed as one (cgroup)" not in nowhere.holding().features


@pytest.mark.parametrize(("kills", "starved"), [(0, False), (2, True)])
def test_the_kernels_word_that_memory_ran_out(tmp_path, kills, starved):
    (tmp_path / "memory.events").write_text(f"low 0\nhigh 0\nmax 9\noom 1\noom_kill {kills}\n")
    assert Cgroup(tmp_path).out_of_memory() is starved


def test_a_kill_by_the_cgroup_is_the_jobs_failure(bubblewrap):
    job = Job(program="train", source="import time; time.sleep(60)", device=CPU, memory_mb=300)
    with bubblewrap.start(job) as process:
        assert process.exceeded is None
        own = process._process.cgroup
        if own is None:
            pytest.skip("no cgroup v2 hierarchy in which this user may make a cgroup")
        own.out_of_memory = lambda: True
        assert process.exceeded.reason is Reason.OOM
        assert "more than the 300 MB" in process.exceeded.message


def test_without_a_cgroup_a_command_is_started_all_the_same():
    with start("import os; print(dict(os.environ), end='')", None) as process:
        said = process.communicate(timeout=30)[0]
    assert said in ("{}", "{'LC_CTYPE': 'C.UTF-8'}")


def test_the_kernel_takes_a_candidate_before_the_engine():
    with start("print(open('/proc/self/oom_score_adj').read())", None) as process:
        assert process.communicate(timeout=30)[0].strip() == "1000"
