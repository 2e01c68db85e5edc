"""One broken promise a test: what a candidate tries, and what must not come of it."""

import os
import socket
import threading
from pathlib import Path

import pytest

from nightlab.errors import SandboxError
from nightlab.sandbox import Job, choose_sandbox, mounts
from nightlab.sandbox.bubblewrap_flags import ORDINARY_ID
from nightlab.sandbox.device import Device
from nightlab.sandbox.identity import IDENTITIES
from nightlab.sandbox.mounts import Mounts

CPU = Device(name="cpu", description="test", threads=2)


def test_no_environment_holds_the_engines_secrets(ask, monkeypatch):
    monkeypatch.setenv("NIGHTLAB_TEST_KEY", "sk-secret")
    found = ask("""
        import glob, os
        answer = str(dict(os.environ))
        for path in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
            try:
                answer += open(path, errors="replace").read()
            except OSError:
                pass
    """)
    assert "sk-secret" not in found
    assert "OMP_WAIT_POLICY" in found
    assert "--ro-bind" not in found, "its arguments name paths of the machine"


def test_no_network_not_even_the_hosts_loopback(ask):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = ask(f"""
            import socket
            lines = open("/proc/net/dev").read().splitlines()[2:]
            answer = {{"interfaces": [line.partition(":")[0].strip() for line in lines]}}
            for kind in ("SOCK_STREAM", "SOCK_DGRAM"):
                for host in ("127.0.0.1", "192.0.2.1"):
                    try:
                        with socket.socket(socket.AF_INET, getattr(socket, kind)) as s:
                            s.settimeout(2)
                            s.connect((host, {port}))
                            s.send(b"x")
                            answer[kind + host] = "sent"
                    except OSError:
                        pass
        """)
    assert found == {"interfaces": ["lo"]}


def test_nothing_of_the_machine_is_there(ask, tmp_path):
    secret = tmp_path / "val.bin"
    secret.write_bytes(b"x")
    outside = [
        str(secret),
        str(Path(__file__).resolve()),
        str(Path.home()),
        "/etc/passwd",
        "/usr/share",
        "/usr/lib/python3/dist-packages/..data",
        "/var",
        "/run",
        "/sys/kernel",
        "/home",
        str(mounts.PACKAGES + "/prefect"),
        str(mounts.PACKAGES + "/nightlab"),
    ]
    found = ask(f"""
        import importlib.util, os
        answer = [path for path in {outside} if os.path.exists(path)]
        answer += [n for n in ("prefect", "pip", "mlflow", "test", "ensurepip")
                   if getattr(importlib.util.find_spec(n), "origin", None)]
        answer += os.listdir("/usr/lib/python3/dist-packages") if os.path.isdir(
            "/usr/lib/python3/dist-packages") else []
        answer += [n for n in os.listdir("/dev") if n.startswith(("sd", "vd", "kvm", "mem"))]
        answer += sorted(os.listdir("/nightlab/trainer"))
    """)
    assert found == ["generate.py", "runtime.py", "sample.py", "score.py", "weights.py"]


def test_only_the_work_and_temporary_folders_can_be_written(ask):
    found = ask("""
        import os
        answer = {}
        for folder in ("/", "/usr/lib", "/usr/bin", "/nightlab", "/nightlab/trainer", "/dev",
                       "/nightlab/candidate", "/nightlab/weights", "/nightlab/packages",
                       "/nightlab/packages/torch", "/nightlab/python/lib/python%d.%d/site-packages"
                       % __import__("sys").version_info[:2], "/nightlab/work", "/tmp", "/dev/shm",
                       "/etc", "/proc/sys/kernel"):
            try:
                with open(folder + "/planted", "w") as file:
                    file.write("x")
                answer[folder] = "written"
            except OSError:
                pass
        for path in ("/nightlab/trainer/runtime.py", "/nightlab/candidate/train.py",
                     "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger"):
            for change in (lambda: os.chmod(path, 0o777), lambda: open(path, "a").close(),
                           lambda: os.replace("/tmp/planted", path)):
                try:
                    change()
                    answer[path] = "changed"
                except OSError:
                    pass
    """)
    assert set(found) == {"/nightlab/work", "/tmp", "/dev/shm"}


def test_the_candidate_has_no_privilege_and_gets_none(ask):
    found = ask("""
        import ctypes, os
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        answer = {"ids": os.getresuid() + os.getresgid(), "groups": os.getgroups()}
        answer |= {name: status[name].strip() for name in ("CapEff", "CapPrm", "CapInh", "CapAmb",
                                                           "NoNewPrivs")}
        for attempt in ("os.setuid(0)", "os.setgid(0)", "os.chroot('/tmp')",
                        "os.kill(1, 9) or __import__('time').sleep(0.2)"):
            try:
                eval(attempt)
                answer[attempt] = "worked"
            except OSError:
                pass
        libc = ctypes.CDLL(None)
        answer["mount"] = libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)
    """)
    identities = set(found.pop("ids"))
    assert len(identities) == 1
    assert identities <= (set(IDENTITIES) if os.geteuid() == 0 else {ORDINARY_ID})
    assert set(found.pop("groups")) <= identities
    assert found.pop("NoNewPrivs") == "1"
    assert found.pop("mount") == -1
    # As an ordinary user the first process inside has the candidate's own id; a signal to
    # it does nothing, since the first process of a namespace ignores those from within.
    found.pop("os.kill(1, 9) or __import__('time').sleep(0.2)", None)
    assert {int(value, 16) for value in found.values()} == {0}


def test_other_processes_are_not_seen(ask):
    found = ask("""
        import os
        answer = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    """)
    assert len(found) <= 3
    assert max(found) < 100


def test_only_the_socket_is_inherited(ask):
    found = ask("""
        import os
        socket = os.environ["NIGHTLAB_SOCKET"]
        answer = {}
        for name in os.listdir("/proc/self/fd"):
            try:
                answer[name] = os.readlink("/proc/self/fd/" + name)
            except OSError:
                pass
        del answer[socket]
        answer = sorted(link.partition(":")[0] for name, link in answer.items())
    """)
    assert found == ["socket", "socket", "socket"]


def test_limits_hold(ask):
    found = ask(
        """
        import os, resource as r, time
        limits = ("DATA", "FSIZE", "CORE", "NOFILE", "NPROC")
        answer = {name: r.getrlimit(getattr(r, "RLIMIT_" + name)) for name in limits}
        try:
            b = bytearray(700 << 20)
            answer["memory"] = "given"
        except MemoryError:
            pass
        children = []
        try:
            while len(children) < 2000:
                child = os.fork()
                if child == 0:
                    time.sleep(60)
                    os._exit(0)
                children.append(child)
        except OSError:
            pass
        answer["children"] = len(children)
        with open("/nightlab/work/huge", "wb") as file:
            try:
                os.ftruncate(file.fileno(), 1 << 40)
                answer["huge"] = "made"
            except OSError:
                pass
    """,
        memory_mb=600,
    )
    processes = found.pop("NPROC")[1]
    assert processes == 256 + 128 * len(os.sched_getaffinity(0))
    assert found.pop("children") < processes
    assert found.pop("NOFILE")[1] <= 4096
    assert found == {"DATA": [600 << 20] * 2, "FSIZE": [4 << 30] * 2, "CORE": [0, 0]}


def test_all_that_can_be_written_is_one_sized_file_system(ask):
    found = ask("""
        import os
        places = ("/nightlab/work", "/tmp", "/dev/shm")
        states = [os.statvfs(place) for place in places]
        answer = {
            "devices": len({os.stat(place).st_dev for place in places}),
            "megabytes": [state.f_blocks * state.f_frsize // 2**20 for state in states],
            "files": [state.f_files for state in states],
        }
    """)
    assert found.pop("devices") == 1
    assert all(4096 <= size < 4096 + 32 for size in found["megabytes"])
    assert all(50_000 <= count < 50_000 + 200 for count in found["files"])


def test_torch_and_its_workers_run(ask):
    found = ask("""
        import getpass, multiprocessing, torch
        x = torch.ones(8, 8)
        answer = {"sum": (x @ x).sum().item(), "threads": torch.get_num_threads()}
        answer["lock"] = multiprocessing.Lock().acquire()
        answer["user"] = getpass.getuser()
    """)
    assert found == {"sum": 512.0, "threads": 2, "lock": True, "user": "candidate"}


@pytest.mark.usefixtures("compiler")
def test_a_compiler_compiles_and_links(ask):
    found = ask("""
        import ctypes, subprocess
        open("/tmp/a.cpp", "w").write('#include <vector>\\nextern "C" int f() { return 7; }')
        subprocess.run(["g++", "-shared", "-fPIC", "-o", "/tmp/a.so", "/tmp/a.cpp"], check=True)
        answer = ctypes.CDLL("/tmp/a.so").f()
    """)
    assert found == 7


@pytest.mark.slow
@pytest.mark.usefixtures("compiler")
def test_torch_compile_runs(ask):
    found = ask("""
        import torch
        torch.set_num_threads(1)
        compiled = torch.compile(lambda x: torch.relu(x) * 2 + 1)
        answer = compiled(torch.tensor([-1.0, 3.0])).tolist()
    """)
    assert found == [1.0, 7.0]


def test_a_sandbox_outlives_the_thread_that_asked_for_it(bubblewrap):
    started = []
    job = Job(program="train", source="import time; time.sleep(1); print('whole')", device=CPU)
    thread = threading.Thread(target=lambda: started.append(bubblewrap.start(job)))
    thread.start()
    thread.join()
    with started[0] as process:
        assert process.wait(20) == 0
        assert process.log == "whole\n"


def test_a_sandbox_that_cannot_be_built_is_no_crash_of_the_candidate(bubblewrap, monkeypatch):
    nowhere = Mounts(read_only=(("/nowhere/at/all", "/nightlab/x"),))
    monkeypatch.setattr(mounts, "gpu", lambda device: nowhere)
    job = Job(program="train", source="", device=CPU)
    with (
        bubblewrap.start(job) as process,
        pytest.raises(SandboxError, match=r"bwrap: .*nowhere"),
    ):
        process.wait(20)


def test_a_candidate_that_poses_as_bubblewrap_is_a_crash_of_its_own(bubblewrap):
    source = "import sys; print('bwrap: no permissions'); sys.exit(1)"
    with bubblewrap.start(Job(program="train", source=source, device=CPU)) as process:
        assert process.wait(20) == 1


def test_system_calls_are_filtered(ask):
    found = ask("""
        import ctypes, socket
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        answer = {"mode": status["Seccomp"].strip(), "opened": []}
        for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, 40):
            try:
                socket.socket(family, socket.SOCK_DGRAM).close()
                answer["opened"].append(family)
            except PermissionError:
                pass
        socket.socketpair()[0].close()
        libc = ctypes.CDLL(None, use_errno=True)
        answer["shmget"] = libc.shmget(0, 4096, 0o1600)
    """)
    assert found == {"mode": "2", "opened": [], "shmget": -1}


def test_two_jobs_of_root_have_each_an_identity_of_its_own(ask, bubblewrap):
    if os.geteuid() != 0:
        pytest.skip("an ordinary user's jobs are apart by namespaces alone")
    source = "import os, time; print(os.getuid(), flush=True); time.sleep(60)"
    with bubblewrap.start(Job(program="train", source=source, device=CPU)) as first:
        while not first.log:
            assert first.wait(0.1) is None, "it ended before it said anything"
        second = ask("import os; answer = os.getuid()")
        assert {int(first.log), second} <= set(IDENTITIES)
        assert int(first.log) != second


@pytest.fixture(scope="module")
def without_proc():
    return choose_sandbox(only="1n")


def test_without_a_fresh_proc_there_is_none_and_never_the_hosts(ask, without_proc):
    source = """
        import os
        answer = {"proc": os.listdir("/proc"), "pid": os.getpid()}
        answer["processor"] = len(open("/proc/cpuinfo").read()) > 0
    """
    found = ask(source, sandbox=without_proc)
    assert found.pop("pid") < 10
    assert found == {"proc": ["cpuinfo"], "processor": True}


def test_torch_trains_without_proc(ask, without_proc):
    source = """
        import torch
        torch.manual_seed(0)
        model = torch.nn.Linear(8, 8)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        data = torch.randn(64, 8)
        answer = []
        for _ in range(20):
            loss = (model(data) - data).square().mean()
            optimizer.zero_grad(); loss.backward(); optimizer.step()
            answer.append(loss.item())
    """
    found = ask(source, sandbox=without_proc)
    assert found[-1] < found[0]
