"""Each layer of the walls by itself: of two that hold the same thing, either may be gone unseen."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest

from nightlab.sandbox import Job, choose_sandbox
from nightlab.sandbox.bubblewrap_flags import dropping, namespaces
from nightlab.sandbox.device import Device
from nightlab.sandbox.environment import Limits

CPU = Device(name="cpu", description="test", threads=1)
SPACES = ("ipc", "mnt", "net", "pid", "uts")
BOTH = pytest.mark.parametrize("rung", ["1", "2"])
# Of rung 1 what a job may write to; the kernel itself keeps /proc and device nodes.
OWN = {"/nightlab/work", "/tmp", "/dev/shm", "/proc"}
LOOK = """
import json, os, resource
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
spaces = {}
for name in os.listdir("/proc/self/ns"):
    try:
        spaces[name] = os.readlink("/proc/self/ns/" + name)
    except OSError:
        pass
print("ANSWER" + json.dumps({
    "spaces": spaces,
    "filters": status["Seccomp"].strip(),
    "groups": os.getgroups(),
    "umask": status["Umask"].strip(),
    "session": os.getsid(0),
    "dumps": resource.getrlimit(resource.RLIMIT_CORE)[0],
}))
"""
MOUNTS = """
import json
mounts = [line.split() for line in open("/proc/self/mountinfo")]
print("ANSWER" + json.dumps({fields[4]: fields[5].split(",") for fields in mounts}))
"""


@pytest.fixture(scope="module")
def sandboxes():
    return {rung: choose_sandbox(only=rung) for rung in ("1", "2")}


def answer(sandbox, source):
    with sandbox.start(Job(program="train", source=source, device=CPU)) as process:
        assert process.wait(60) == 0, process.log
        return json.loads(process.log.rpartition("ANSWER")[2])


def test_every_namespace_is_the_jobs_own(sandboxes):
    found = answer(sandboxes["1"], LOOK)["spaces"]
    kinds = SPACES if os.geteuid() == 0 else (*SPACES, "user")
    for kind in kinds:
        assert found[kind] != os.readlink(f"/proc/self/ns/{kind}"), kind


def test_nothing_is_mounted_for_writing_but_what_is_the_jobs_own(sandboxes):
    # By what the kernel says of each mount: that a write is refused may be the file's mode alone.
    found = answer(sandboxes["1"], MOUNTS)
    writable = {place for place, options in found.items() if "rw" in options}
    assert {place for place in writable - OWN if not place.startswith("/dev/")} == set()
    assert found["/dev"][0] == found["/"][0] == "ro"
    assert all("nosuid" in options for options in found.values())
    for place, options in found.items():
        assert "nodev" in options or place.startswith("/dev/"), place


@pytest.mark.parametrize("uid", [60578, None])
def test_bubblewrap_is_asked_to_drop_what_the_id_would_drop_as_well(uid):
    # What is dropped twice is seen nowhere from within, so that what is asked for is looked at.
    asked = " ".join(namespaces(3, 4, uid))
    assert "--cap-drop ALL" in asked
    assert "--die-with-parent" in asked
    added = asked.partition("--cap-drop ALL")[2].split().count("--cap-add")
    assert added == (0 if uid is None else 2)
    dropped = dropping(Limits.of(Job(program="train", source="", device=CPU)), uid)
    assert "--no-new-privs" in dropped or uid is None


@BOTH
def test_the_filter_and_the_limit_on_dumps_are_there(sandboxes, rung):
    found = answer(sandboxes[rung], LOOK)
    assert found["filters"] == "2"
    assert found["dumps"] == (0 if rung == "1" else 1)


def test_files_of_rung_2_are_for_their_owner_alone(sandboxes):
    # Root's jobs have ids of their own, which hides it; an ordinary user's folder is 0700.
    assert answer(sandboxes["2"], LOOK)["umask"] == "0077"


@BOTH
def test_a_job_is_in_a_session_of_its_own(sandboxes, rung):
    # A session of the machine's has no number in a process namespace: it reads as 0.
    assert answer(sandboxes[rung], LOOK)["session"] not in (0, os.getsid(0))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can have groups that it drops")
@BOTH
def test_groups_of_the_engine_are_not_the_jobs(rung):
    start = f"""
        from tests.sandbox.test_layers import LOOK, answer
        from nightlab.sandbox import choose_sandbox
        print(answer(choose_sandbox(only={rung!r}), LOOK)["groups"])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(start)],
        extra_groups=[4, 20, 27],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_job_of_rung_2_dies_with_its_warden(sandboxes):
    source = "import time; print('there', flush=True); time.sleep(600)"
    with sandboxes["2"].start(Job(program="train", source=source, device=CPU)) as process:
        end = time.monotonic() + 60
        while "there" not in process.log:
            assert time.monotonic() < end
            time.sleep(0.02)
        job = psutil.Process(process.pid).children()
        assert len(job) == 1
        os.kill(process.pid, signal.SIGKILL)
        left = psutil.wait_procs(job, timeout=20)[1]
        for one in left:
            one.kill()
        assert left == []


GIVEN = """
import json, os, sys
folders = os.environ["PYTHONPATH"].split(":")[0], os.path.dirname(os.path.abspath(sys.argv[0]))
files = [entry.path for folder in folders for entry in os.scandir(folder)]
print("ANSWER" + json.dumps({path: os.stat(path).st_mode & 0o777 for path in files}))
"""


@BOTH
def test_the_files_that_a_job_is_given_are_to_read_by_their_own_mode(sandboxes, rung):
    found = answer(sandboxes[rung], GIVEN)
    assert any(path.endswith("/runtime.py") for path in found)
    assert any(path.endswith("/train.py") for path in found)
    assert set(found.values()) == {0o444}


def test_a_folder_of_rung_2_is_closed_to_other_users(sandboxes):
    with sandboxes["2"].start(Job(program="train", source="", device=CPU)) as process:
        folder = process.folder.path
        assert folder.stat().st_mode & 0o007 == 0
        assert (folder / "work" / "tmp").stat().st_mode & 0o777 == 0o700
        process.wait(60)
