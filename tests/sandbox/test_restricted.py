"""Rung 2: what a job may do, what it may not, and that it would be possible without."""

import json
import os
import socket
import subprocess
import sys
import textwrap
import time
import uuid
from pathlib import Path

import psutil
import pytest

from nightlab.errors import SandboxError
from nightlab.sandbox import Job
from nightlab.sandbox import job as jobs
from nightlab.sandbox.device import Device
from nightlab.sandbox.process import SandboxedProcess
from nightlab.sandbox.restricted import LandlockSandbox

CPU = Device(name="cpu", description="test", threads=2)
JOB = Job(program="train", source="", device=CPU)
REFUSE = Path(__file__).with_name("refuse.py")

TRY = """
import json, os, socket
def tried(function):
    try:
        return function() or "done"
    except OSError:
        return "refused"
"""


@pytest.fixture(scope="module")
def restricted() -> LandlockSandbox:
    """Where Landlock is missing these tests fail, they do not pass by."""
    return LandlockSandbox()


@pytest.fixture
def ask(restricted):
    """Run source in the sandbox; what it assigns to ``answer`` comes back."""

    def run(source: str):
        code = TRY + textwrap.dedent(source) + "\nprint('ANSWER' + json.dumps(answer))"
        with restricted.start_program(JOB, ["-c", code]) as process:
            assert process.wait(60) == 0, process.log
            return json.loads(process.log.rpartition("ANSWER")[2])

    return run


@pytest.fixture
def outside(tmp_path):
    """A file that everybody on the machine may read."""
    place = Path("/tmp") / f"nightlab-test-{uuid.uuid4().hex}"
    place.write_text("secret")
    place.chmod(0o666)
    yield place
    place.unlink()


def test_no_file_is_read_but_those_listed(ask, outside):
    paths = [str(outside), __file__, "/etc/passwd", "/var/log", str(Path.home()), "/dev/shm"]
    paths += [f"/proc/{os.getpid()}/environ", f"/proc/{os.getpid()}/cmdline", "/proc/1/cmdline"]
    paths += ["/sys/kernel", jobs.__file__, "/proc/kallsyms", "/dev/mem", "/dev/kmsg"]
    found = ask(f"""
        def read(path):
            return str(os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(9))
        answer = {{path: tried(lambda: read(path)) for path in {paths}}}
    """)
    assert {path: came for path, came in found.items() if came != "refused"} == {}


def test_only_the_work_folder_is_written(ask, outside):
    found = ask(f"""
        made = [os.environ["TMPDIR"] + "/file", "file"]
        places = ["/tmp/planted", "/dev/shm/planted", "/var/tmp/planted", {str(outside)!r}]
        places += [os.environ["PYTHONHOME"] + "/planted", "../trainer/runtime.py",
                   "../candidate/train.py", "../weights/planted", "../planted"]
        answer = {{path: tried(lambda: open(path, "a").close()) for path in made + places}}
        answer["link"] = tried(lambda: os.link({str(outside)!r}, "hard"))
        answer["move"] = tried(lambda: os.rename({str(outside)!r}, "moved"))
        answer["truncate"] = tried(lambda: os.truncate({str(outside)!r}, 1))
        answer["within"] = tried(lambda: os.rename("file", os.environ["TMPDIR"] + "/other"))
        answer["fifo"] = tried(lambda: os.mkfifo("fifo"))
        answer["device"] = tried(lambda: os.mknod("node", 0o020666, os.makedev(1, 3)))
    """)
    done = {path.rpartition("/")[2] for path, came in found.items() if came == "done"}
    assert done == {"file", "within", "fifo"}
    assert outside.read_text() == "secret"


def test_attributes_of_files_stay(ask, outside):
    before = outside.stat()
    found = ask(f"""
        path = {str(outside)!r}
        mine = os.open("mine", os.O_CREAT | os.O_RDONLY)
        answer = {{
            "mode": tried(lambda: os.chmod(path, 0o600)),
            "owner": tried(lambda: os.chown(path, -1, os.getgid())),
            "times": tried(lambda: os.utime(path)),
            "label": tried(lambda: os.setxattr(path, "user.mark", b"x")),
            "by descriptor": tried(lambda: os.fchmod(mine, 0o777)),
        }}
    """)
    assert set(found.values()) == {"refused"}
    after = outside.stat()
    assert (after.st_mode, after.st_mtime, after.st_gid) == (
        before.st_mode, before.st_mtime, before.st_gid
    )  # fmt: skip


def test_no_socket_reaches_anyone(ask, tmp_path):
    place = f"/tmp/nightlab-test-{uuid.uuid4().hex[:8]}"
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with log, socket.create_server(("127.0.0.1", 0)) as server:
        log.bind(place)
        os.chmod(place, 0o777)
        attempts = f"""
            def made(family, kind):
                with socket.socket(family, kind):
                    pass
            def datagram_of_a_pair():
                pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
                pair[0].sendto(b"escaped", {place!r})
            answer = {{
                "tcp": tried(lambda: made(socket.AF_INET, socket.SOCK_STREAM)),
                "udp": tried(lambda: made(socket.AF_INET6, socket.SOCK_DGRAM)),
                "local": tried(lambda: made(socket.AF_UNIX, socket.SOCK_STREAM)),
                "netlink": tried(lambda: made(socket.AF_NETLINK, socket.SOCK_RAW)),
                "datagram of a pair": tried(datagram_of_a_pair),
                "a connected pair": tried(lambda: [s.close() for s in socket.socketpair()] and 0),
            }}
        """
        found = ask(attempts)
        assert {what for what, came in found.items() if came == "done"} == {"a connected pair"}
        # Outside each of them works, the datagram too: so the sandbox refused them.
        here: dict = {}
        code = TRY + textwrap.dedent(attempts)
        exec(compile(code, "attempts", "exec"), here)
        assert set(here["answer"].values()) == {"done"}
        assert log.recv(20) == b"escaped"
        assert server.fileno() >= 0
    os.unlink(place)


def test_nobody_outside_is_signalled_and_the_group_cannot_be_left(ask):
    found = ask(f"""
        import resource, signal
        before = os.getpgid(0), os.getsid(0)
        os.setsid(), os.setpgid(0, 0)
        answer = {{
            "stayed": (os.getpgid(0), os.getsid(0)) == before and before[0] == os.getpid(),
            "warden": tried(lambda: os.kill(os.getppid(), signal.SIGKILL)),
            "engine": tried(lambda: os.kill({os.getpid()}, signal.SIGCONT)),
            "its limits": tried(lambda: resource.prlimit({os.getpid()}, resource.RLIMIT_CPU)),
            "its priority": tried(lambda: os.setpriority(os.PRIO_PROCESS, {os.getpid()}, 19)),
            "its cores": tried(lambda: os.sched_setaffinity({os.getpid()}, {{0}})),
            "itself": tried(lambda: os.kill(os.getpid(), signal.SIGCONT)),
            "own priority": tried(lambda: os.setpriority(os.PRIO_PROCESS, 0, 19)),
        }}
    """)
    allowed = {"stayed": True, "itself": "done", "own priority": "done"}
    refused = {"warden", "engine", "its limits", "its priority", "its cores"}
    assert found == allowed | dict.fromkeys(refused, "refused")


def test_the_environment_and_the_descriptors_are_the_jobs(ask, monkeypatch):
    monkeypatch.setenv("NIGHTLAB_TEST_KEY", "sk-secret")
    found = ask(f"""
        answer = {{"environment": str(dict(os.environ)), "processes": ""}}
        for process in (1, {os.getpid()}, os.getppid(), os.getpid()):
            path = f"/proc/{{process}}/environ"
            answer["processes"] += tried(lambda: open(path, errors="replace").read())
        answer["descriptors"] = [n for n in range(256) if os.path.exists(f"/proc/self/fd/{{n}}")]
        answer["socket"] = int(os.environ["NIGHTLAB_SOCKET"])
    """)
    assert "sk-secret" not in found["environment"] + found["processes"]
    assert "OMP_WAIT_POLICY" in found["processes"], "its own can be read, so reading was tried"
    assert found["descriptors"] == [0, 1, 2, found["socket"]]


def test_no_privilege_is_had_and_none_gained(ask):
    found = ask("""
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        answer = {name: status[name].strip() for name in
                  ("Uid", "Gid", "Groups", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs", "Seccomp")}
    """)
    ids = found["Uid"].split() + found["Gid"].split()
    assert "0" not in ids
    if os.geteuid() == 0:
        assert len(set(ids)) == 1
        assert ids[0] not in ("65534", str(os.getuid()))
        assert found["Groups"] == ""
    assert {found[name].strip("0") for name in ("CapPrm", "CapEff", "CapAmb")} == {""}
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")


def test_limits_hold(ask):
    found = ask("""
        import resource
        answer = {name: resource.getrlimit(getattr(resource, name))
                  for name in ("RLIMIT_CORE", "RLIMIT_NPROC", "RLIMIT_FSIZE", "RLIMIT_NOFILE")}
        def fork_until_refused():
            for count in range(20_000):
                if os.fork() == 0:
                    import time
                    time.sleep(600)
        answer["forks"] = tried(fork_until_refused)
    """)
    assert found.pop("forks") == "refused"
    assert found.pop("RLIMIT_CORE") == [1, 1]
    assert all(0 < soft == hard for soft, hard in found.values())


def processes_of(process: SandboxedProcess) -> list[int]:
    found = []
    for one in psutil.process_iter():
        try:
            if str(process.folder.path) in " ".join(one.cmdline()):
                found.append(one.pid)
        except psutil.Error:
            continue
    return found


CHAINS = """
import ctypes, os, signal, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
def chain():
    while True:
        try:
            if os.fork():
                os._exit(0)
        except OSError:
            time.sleep(0.001)
            continue
        os.setsid()
        ctypes.CDLL(None).prctl(1, 0)
        time.sleep(0.0005)
for _ in range(20):
    if os.fork() == 0:
        chain()
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
print("spread", flush=True)
time.sleep(600)
"""


def test_fork_chains_end_at_once(restricted):
    job = Job(program="train", source=CHAINS, device=CPU)
    with restricted.start(job) as process:
        end = time.monotonic() + 60
        while "spread" not in process.log:
            assert time.monotonic() < end, process.log
            time.sleep(0.02)
        assert processes_of(process)
        process.kill()
        assert processes_of(process) == []


def test_two_jobs_do_not_share_an_id_nor_a_folder(restricted):
    look = "import os, sys; print(os.getuid(), os.getcwd(), flush=True); sys.stdin.read()"
    stay = look.replace("sys.stdin.read()", "__import__('time').sleep(600)")
    with restricted.start_program(JOB, ["-c", stay]) as first:
        end = time.monotonic() + 60
        while not first.log.endswith("\n"):
            assert time.monotonic() < end
            time.sleep(0.02)
        uid, work = first.log.split()
        code = f"import os; print(os.getuid(), os.listdir({work!r}))"
        with restricted.start_program(JOB, ["-c", code]) as second:
            assert second.wait(60) == 1
            assert "PermissionError" in second.log
        with restricted.start_program(JOB, ["-c", look]) as third:
            assert third.wait(60) == 0
            assert (third.log.split()[0] == uid) == (os.geteuid() != 0)


def test_a_sandbox_that_cannot_be_built_is_the_machinerys_fault(restricted, monkeypatch):
    monkeypatch.setattr(restricted, "_filters", {"cpu": b"no filter"})
    with (
        pytest.raises(SandboxError, match="could not be built"),
        restricted.start_program(JOB, ["-c", ""]) as process,
    ):
        process.wait(60)


def test_without_landlock_it_is_refused_with_what_to_do():
    code = "from nightlab.sandbox.restricted import LandlockSandbox; LandlockSandbox()"
    command = [sys.executable, str(REFUSE), "--no-landlock", "--", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = done.stderr.strip().splitlines()[-1]
    assert "SandboxUnavailable" in said
    for word in ("Linux 6.12", "offers none", "lsm=", "seccomp profile"):
        assert word in said
