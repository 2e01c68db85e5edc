"""The host of a training against real processes: good ones, broken ones, hostile ones.

Most candidates here speak the protocol bare, without importing torch, which is faster
and can say what the runtime never would.
"""

import ctypes
import json
import os
import textwrap
import time

import pytest

from nightlab.errors import MachineBusy, SandboxUnavailable
from nightlab.records import Reason
from nightlab.sandbox import SandboxedProcess, choose_sandbox
from nightlab.sandbox.device import Device
from nightlab.training import training
from nightlab.training.clock import clock_of, end_margin_seconds
from nightlab.training.curve import CURVE_POINTS
from nightlab.training.token_file import TokenFile
from nightlab.training.training import TrainingOrder, train_replicate
from tests.training.test_clock import keep_in_a_thread

CPU = Device(name="cpu", description="test", threads=1, peak_flops=1e9)

BARE = """
import json, os, socket, struct, sys, time
host = socket.socket(fileno=int(os.environ["NIGHTLAB_SOCKET"]))
def exactly(n):
    data = b""
    while len(data) < n:
        data += host.recv(n - len(data)) or sys.exit(9)
    return data
def send(**message):
    payload = json.dumps(message).encode()
    host.sendall(struct.pack(">I", len(payload)) + payload)
def receive():
    header, descriptors, _, _ = socket.recv_fds(host, 4, 1)
    return json.loads(exactly(struct.unpack(">I", header)[0])), descriptors
start, _ = receive()
def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
def gate():
    send(type="ready")
    go, (tokens,) = receive()
    return tokens
def save(text=b"weights"):
    with open(start["checkpoint"] + ".partial", "wb") as file:
        file.write(text)
    os.replace(start["checkpoint"] + ".partial", start["checkpoint"])
"""

TRAINER = """
import time
import torch
import runtime

def spin(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

def main():
    run = runtime.connect()
    torch.manual_seed(run.seed)
    model = torch.nn.Embedding(run.spec.vocab_size, 4)
    assert run.fraction == 0
    run.synthetic_batch(2)
    compiled = torch.compile(model)
    run.rehearse_save(compiled)
    seen = 0
    for step, (inputs, targets) in enumerate(run.batches(4), start=1):
        assert inputs.shape == targets.shape == (4, run.spec.sequence_length)
        assert (inputs[:, 1:] == targets[:, :-1]).all()
        seen += inputs.numel()
        run.report(step, 2.5, seen, 0.1, flops_per_token=100.0, num_params=12)
        torch.manual_seed(step)
        spin(0.02)
    run.save(compiled)

if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def sandbox():
    return choose_sandbox(trust_candidate=False)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokens") / "train.bin"
    path.write_bytes(b"".join(n.to_bytes(2, "little") for n in range(2000)))
    return path


@pytest.fixture
def train(sandbox, text, tmp_path):
    def run(source, *, bare=True, points=None, gates=None, box=sandbox, stop=None, **changes):
        order = {
            "vocab_size": 2048,
            "sequence_length": 16,
            "device": CPU,
            "seed": 7,
            "budget_seconds": 20.0,
            "startup_seconds": 30.0,
            **changes,
        }
        points = points if points is not None else []
        with TokenFile.from_path(text) as tokens:
            return train_replicate(
                TrainingOrder(**order),
                (BARE if bare else "") + textwrap.dedent(source),
                tokens,
                box,
                tmp_path / "checkpoint.pt",
                lambda: gates.append(time.monotonic()) if gates is not None else None,
                points.append,
                stop,
            )

    return run


@pytest.mark.parametrize("trust", [False, True])
def test_a_training_through_the_runtime(train, tmp_path, trust):
    points, gates = [], []
    box = choose_sandbox(trust)
    result = train(TRAINER, bare=False, budget_seconds=2.0, points=points, gates=gates, box=box)
    assert result.failure is None, result
    assert len(gates) == 1
    assert result.clock == "processor"
    assert 1.0 < result.training_seconds < 2.0
    assert result.wall_seconds > 0.9 * result.training_seconds / 2, "on two processors at most"
    assert result.num_steps == result.curve[-1].step
    assert result.num_tokens == 64 * result.num_steps
    assert result.num_params == 12
    assert result.final_loss == 2.5
    assert result.tokens_per_second == pytest.approx(result.num_tokens / result.training_seconds)
    assert result.mfu_percent == pytest.approx(100 * 100 * result.tokens_per_second / 1e9)
    assert result.peak_memory_mb > 50
    assert points[0].step == 1
    assert (tmp_path / "checkpoint.pt").stat().st_uid == os.getuid()
    # The weights are read in a process of their own: they are a stranger's.
    torch = pytest.importorskip("torch")
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert list(state) == ["weight"], "names as they are without torch.compile"


def test_the_tokens_come_after_the_gate_and_cannot_be_changed(train):
    result = train("""
        import mmap
        before = [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")
                  if os.path.exists(f"/proc/self/fd/{name}")]
        assert not any("tokens" in link for link in before), before
        fd = gate()
        assert os.fstat(fd).st_size == 4000
        try:
            os.fchmod(fd, 0o777)
        except OSError:
            pass
        for attempt in (lambda: os.write(fd, b"x"), lambda: os.ftruncate(fd, 0),
                        lambda: os.pwrite(os.open(f"/proc/self/fd/{fd}", os.O_RDWR), b"xx", 0),
                        lambda: mmap.mmap(fd, 4000, flags=mmap.MAP_SHARED,
                                          prot=mmap.PROT_READ | mmap.PROT_WRITE)):
            try:
                attempt()
            except (OSError, PermissionError):
                continue
            sys.exit("changed")
        assert os.pread(fd, 4, 0) == bytes([0, 0, 1, 0])
        save()
        send(type="saved")
    """)
    assert result.failure is None, result
    assert result.exit_code == 0


KNOWN_OF_THE_TOKENS = """
import fcntl, json
fd = gate()
def asked(question):
    try:
        return question()
    except OSError as error:
        return error.errno
place = f"/proc/self/fd/{fd}"
state = os.fstat(fd)
told = dict(line.split(":", 1) for line in open(f"/proc/self/fdinfo/{fd}"))
known = {
    "state": [getattr(state, name) for name in dir(state) if name.startswith("st_")
              and name != "st_ino" and not name.startswith(("st_atime", "st_mtime", "st_ctime"))],
    "file system": tuple(os.fstatvfs(fd))[:2],
    "name": os.readlink(place),
    "descriptor": {name: text for name, text in told.items() if name != "ino"},
    "attributes": asked(lambda: {name: os.getxattr(fd, name).hex() for name in os.listxattr(fd)}),
    "flags": [fcntl.fcntl(fd, command) for command in (fcntl.F_GETFL, fcntl.F_GETFD)],
    "to be told": [fcntl.fcntl(fd, command) for command in (fcntl.F_GETOWN, 11)],
    "lease": fcntl.fcntl(fd, fcntl.F_GETLEASE),
    "seals": fcntl.fcntl(fd, fcntl.F_GET_SEALS),
    "locks": asked(lambda: fcntl.flock(open(place, "rb"), fcntl.LOCK_SH | fcntl.LOCK_NB)),
    "opened anew": [asked(lambda flags=flags: os.close(os.open(place, flags)))
                    for flags in (os.O_RDONLY, os.O_RDWR)],
    "content": os.pread(fd, 10_000, 0).hex(),
}
times = [state.st_atime_ns, state.st_mtime_ns, state.st_ctime_ns]
print("KNOWN" + json.dumps([known, times, time.time_ns()]))
for change in (
    lambda: os.setxattr(fd, "user.weights", b"x"),
    lambda: os.lseek(fd, 77, 0),
    lambda: fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND | os.O_NOATIME | os.O_NONBLOCK),
    lambda: fcntl.fcntl(fd, 10, 45),
    lambda: fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid()),
    lambda: os.utime(fd, (5, 5)),
    lambda: os.fchmod(fd, 0o666),
    lambda: os.fchown(fd, os.getuid(), os.getgid()),
    lambda: fcntl.flock(fd, fcntl.LOCK_EX),
    lambda: fcntl.lockf(os.open(place, os.O_RDWR), fcntl.LOCK_EX),
    lambda: fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK),
    lambda: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL),
    lambda: os.pwrite(os.open(place, os.O_RDWR), b"x", 0),
):
    asked(change)
save()
send(type="saved")
"""


@pytest.mark.parametrize("rung", ["1", "2"])
def test_a_second_training_learns_of_its_tokens_what_the_first_did(train, rung):
    try:
        box = choose_sandbox(only=rung)
    except SandboxUnavailable as refusal:
        pytest.skip(str(refusal))
    results = [train(KNOWN_OF_THE_TOKENS, box=box) for _ in range(2)]
    assert [result.failure for result in results] == [None, None], results
    said = [json.loads(result.log.partition("KNOWN")[2]) for result in results]
    (first, _, first_asked), (second, second_times, _) = said
    assert first == second
    assert min(second_times) > first_asked, "its own, made after the first one's end"


@pytest.mark.parametrize(
    ("source", "reason", "message"),
    [
        ("raise ValueError('width must divide')", Reason.EXCEPTION, "ValueError: width must"),
        ("sys.exit(3)", Reason.EXCEPTION, "no output"),
        ("os.kill(os.getpid(), 11)", Reason.EXCEPTION, "signal 11"),
        ("sys.exit(0)", Reason.CONTRACT, "without asking for its first batch"),
        ("send(type='step', step=1, loss=1.0, tokens=1)", Reason.CONTRACT, "'step' before"),
        ("host.sendall(b'GET / HTTP/1.1')", Reason.CONTRACT, "frame of"),
        ("send(type='ready', x='y' * 100_000)", Reason.CONTRACT, "frame of"),
        ("send(type='saved')", Reason.CONTRACT, "'saved' before"),
        ("host.sendall(struct.pack('>I', 40_000) + b'[' * 40_000)", Reason.CONTRACT, "no message"),
        ("gate(); sys.exit(0)", Reason.CONTRACT, "without saving"),
        ("gate(); raise FloatingPointError('loss is nan')", Reason.NONFINITE, "loss is nan"),
        ("gate(); raise MemoryError", Reason.OOM, "MemoryError"),
        ("x = [bytearray(10**8) for _ in range(100)]", Reason.OOM, "MemoryError"),
        ("gate(); save(); raise KeyError('late')", Reason.EXCEPTION, "KeyError: 'late'"),
        ("gate(); send(type='ready')", Reason.CONTRACT, "'ready' after"),
        ("gate(); send(type='step', step=1, loss='low', tokens=1)", Reason.CONTRACT, "no message"),
        ("gate(); os.symlink('/etc/hostname', start['checkpoint'])", Reason.CONTRACT, "no check"),
        ("gate(); os.mkfifo(start['checkpoint'])", Reason.CONTRACT, "regular"),
        ("gate(); send(type='saved', final=True); time.sleep(60)", Reason.CONTRACT, "said that"),
        ("gate(); os.mkdir(start['checkpoint'])", Reason.CONTRACT, "regular"),
        ('gate(); raise RuntimeError("can\'t start new thread")', Reason.RESOURCES, "thread"),
        ("open('f', 'wb').truncate(10**12)", Reason.RESOURCES, "File too large"),
    ],
)
def test_what_goes_wrong_is_a_result(train, tmp_path, source, reason, message):
    result = train(source + "\ntime.sleep(0.1)\n", memory_mb=1000)
    assert result.failure is reason, result
    assert message in result.message
    assert not (tmp_path / "checkpoint.pt").exists()


MEMORY_HOG = """
import mmap
gate()
save()
held = []
for _ in range(SIZE // 20):
    held.append(mmap.mmap(-1, 20 << 20))
    held[-1].write(b"x" * (20 << 20))
time.sleep(1.5)
send(type="saved", final=True)
"""
SCRATCH_HOG = """
gate()
save()
for number in range(SIZE // 20):
    open(str(number), "wb").write(b"x" * (20 << 20))
time.sleep(1.5)
send(type="saved", final=True)
"""


@pytest.mark.parametrize(
    ("source", "reason", "message"),
    [
        (MEMORY_HOG, Reason.OOM, "MB of memory where 300 are allowed."),
        (SCRATCH_HOG, Reason.RESOURCES, "MB of files where 300 are allowed."),
    ],
)
def test_a_limit_that_ends_a_training_is_its_failure(train, tmp_path, source, reason, message):
    limits = {"memory_mb": 300, "scratch_mb": 300}
    result = train(source.replace("SIZE", "400"), **limits)
    assert result.failure is reason, result
    assert message in result.message
    assert not (tmp_path / "checkpoint.pt").exists(), "however complete it was before"
    result = train(source.replace("SIZE", "200"), **limits)
    assert result.failure is None, result


def test_a_checkpoint_that_is_mostly_a_hole_costs_no_disk(train, tmp_path):
    result = train("""
        gate()
        with open(start["checkpoint"], "wb") as file:
            file.write(b"head")
            file.truncate(1 << 30)
            file.seek(0, 2)
            file.write(b"tail")
        send(type="saved", final=True)
    """)
    assert result.failure in (None, Reason.RESOURCES), result
    if result.failure is None:
        state = (tmp_path / "checkpoint.pt").stat()
        assert state.st_size == (1 << 30) + 4
        assert state.st_blocks * 512 < 1 << 20


def test_a_loss_that_is_not_finite_ends_it(train):
    source = TRAINER.replace("2.5", "float('nan')")
    result = train(source, bare=False)
    assert result.failure is Reason.NONFINITE
    assert result.message == "FloatingPointError: the training loss is nan at step 1"
    assert result.final_loss is None
    assert "Traceback" in result.log


@pytest.mark.parametrize("source", ["time.sleep(60)", "host.close()\ntime.sleep(60)"])
def test_a_start_up_that_does_not_end(train, source):
    gates = []
    # To close, Python has to get as far as its first line, on a machine with other work too.
    startup_seconds = 10.0 if "close" in source else 2.0
    result = train(source, startup_seconds=startup_seconds, gates=gates)
    assert result.failure is (Reason.CONTRACT if "close" in source else Reason.STARTUP_TIMEOUT)
    assert gates == []
    assert result.training_seconds is None
    assert result.startup_seconds < 30


@pytest.mark.parametrize("source", ["", "host.close()", "save()\nsend(type='saved')"])
def test_a_candidate_that_sleeps_meets_the_wall_cap_and_what_it_saved_does_not_count(
    train, tmp_path, source
):
    result = train(f"gate()\n{source}\ntime.sleep(60)", budget_seconds=0.5)
    assert result.failure is Reason.TIMEOUT, result
    assert "of 0.5 processor seconds in 6 s of wall clock: it slept or waited." in result.message
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize("source", ["", "host.close()"])
def test_a_candidate_that_computes_past_the_deadline_is_killed_at_it(train, source):
    result = train(f"gate()\n{source}\nspin(60)", budget_seconds=1.0)
    assert result.failure is Reason.TIMEOUT, result
    assert "1 processor seconds" in result.message
    assert result.training_seconds == pytest.approx(1.0, abs=0.5)


def test_on_a_gpu_the_wall_clock_counts(train):
    gpu = Device(name="cuda:0", description="test", threads=1, uuid="")
    clocks = (clock_of(gpu), clock_of(CPU))
    assert clocks == ("wall", "processor")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "clock_of", lambda device: "wall")
        result = train(
            "send(type='ready')\ngo, _ = receive()\nprint(json.dumps(go))\ntime.sleep(60)",
            budget_seconds=1.0,
        )
    assert result.failure is Reason.TIMEOUT, result
    assert "after 1 seconds" in result.message
    assert json.loads(result.log)["clock"] == result.clock == "wall"
    assert result.training_seconds == result.wall_seconds == pytest.approx(1.0, abs=0.3)


class Starved:
    """A job of which the kernel says that it had little, and what it waited."""

    def __init__(self, waited_share):
        self.used_seconds = self.waited_seconds = 0.0
        self._share, self._began = waited_share, time.monotonic()

    def look(self):
        gone = time.monotonic() - self._began
        self.used_seconds, self.waited_seconds = 0.02 * gone, self._share * gone


def made_up(monkeypatch, used):
    """Have what the kernel says of jobs from now on made up."""

    def keep_time(process, kind, connection):
        order = {"cgroup": None, **process._tree.handles}
        return keep_in_a_thread(order, connection, used())

    monkeypatch.setattr(SandboxedProcess, "keep_time", keep_time)


@pytest.mark.parametrize("source", ["", "gate()"])
def test_who_has_no_processor_is_trained_again_and_who_sleeps_is_not(train, source, monkeypatch):
    times = {"budget_seconds": 0.5, "startup_seconds": 2.0 if not source else 30.0}
    source += "\ntime.sleep(60)"
    made_up(monkeypatch, lambda: Starved(0.6))
    with pytest.raises(MachineBusy, match=r"of which it waited \d s for a processor"):
        train(source, **times)
    made_up(monkeypatch, lambda: Starved(0.3))
    assert train(source, **times).failure in (Reason.TIMEOUT, Reason.STARTUP_TIMEOUT)


class Standing:
    """A clock that was kept from looking while a second went by."""

    waited_seconds = 0.0

    def __init__(self):
        self._began = None

    @property
    def used_seconds(self):
        gone = 0.0 if self._began is None else time.monotonic() - self._began
        return gone if gone > 1 else 0.0

    def look(self):
        if self._began is not None and time.monotonic() > self._began + 0.1:
            time.sleep(1)
        self._began = self._began or time.monotonic()


ENDS = {
    "at work": "spin(60)",
    "saved": "spin(0.3)\nsave()\nsend(type='saved', final=True)",
    "gone": "spin(0.3)\nsave()",
}


@pytest.mark.parametrize("end", ENDS)
def test_a_checkpoint_that_came_while_nobody_looked_is_not_scored(train, monkeypatch, end):
    made_up(monkeypatch, Standing)
    with pytest.raises(MachineBusy, match=r"the engine came .* s late"):
        train(f"gate()\nsave()\n{ENDS[end]}", budget_seconds=0.2)


@pytest.mark.parametrize("how", ["saved", "gone"])
def test_nothing_that_holds_the_interpreter_up_stops_the_clock(train, monkeypatch, tmp_path, how):
    hold = ctypes.PyDLL(None).usleep  # unlike ctypes.CDLL, it keeps Python's lock
    monkeypatch.setattr(training._Training, "_pruned", lambda self: hold(3_000_000) or None)
    step = "send(type='step', step=1, loss=2.0, tokens=1)"
    result = train(f"gate()\n{step}\nspin(2)\n{ENDS[how]}", budget_seconds=1.0)
    assert result.failure is Reason.TIMEOUT, result
    assert result.training_seconds == pytest.approx(1.0, abs=0.5)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_start_up_beyond_its_free_part_is_taken_off_the_budget(train):
    asked = {"budget_seconds": 60.0, "startup_seconds": 120.0, "startup_free_seconds": 0.5}
    tell = "send(type='ready')\ngo, _ = receive()\nprint(json.dumps(go))"
    slow = train(f"spin(2)\n{tell}", **asked)
    assert slow.charged_seconds == pytest.approx(slow.startup_seconds - 0.5, abs=0.1)
    left = 60 - slow.charged_seconds
    assert json.loads(slow.log)["budget_seconds"] == left - end_margin_seconds(left)
    assert train(f"time.sleep(2)\n{tell}", **asked).charged_seconds < 1, "sleep takes nothing"
    quick = train("gate()", **(asked | {"startup_free_seconds": 100.0}))
    assert quick.charged_seconds == 0


def test_a_start_up_that_takes_the_whole_budget(train):
    gates = []
    result = train("spin(3)\ngate()", budget_seconds=1.0, startup_free_seconds=0.5, gates=gates)
    assert result.failure is Reason.STARTUP_TIMEOUT
    assert "used up the whole budget of 1" in result.message
    assert gates == []


def test_a_token_budget_gives_every_training_the_same_tokens(train):
    told = {"bare": False, "budget_seconds": 60.0, "budget_tokens": 1000}
    box = choose_sandbox(trust_candidate=True)
    plain = TRAINER.replace("torch.compile(model)", "model")
    slow = plain.replace("spin(0.02)", "spin(0.1)")
    results = [train(source, box=box, **told) for source in (plain, slow)]
    assert [result.failure for result in results] == [None, None]
    assert [result.num_tokens for result in results] == [960, 960], "15 whole batches of 64"


@pytest.mark.parametrize("hide", ["", "host.close()"])
def test_a_checkpoint_does_not_count_once_the_cap_of_a_token_budget_is_reached(train, hide):
    result = train(
        f"gate()\nsend(type='step', step=1, loss=3.0, tokens=4800)\nsave()\n{hide}\nspin(60)",
        budget_seconds=1.0,
        budget_tokens=5000,
    )
    assert result.failure is Reason.TIMEOUT
    assert (
        "cap of 1 processor seconds was reached before the budget of 5,000 tokens" in result.message
    )
    assert "4,800 were reported" in result.message


def test_reporting_more_tokens_than_the_budget_is_a_breach(train):
    result = train(
        """
        gate()
        send(type="step", step=1, loss=3.0, tokens=5000)
        send(type="step", step=2, loss=3.0, tokens=5001)
        save()
        send(type="saved", final=True)
        time.sleep(60)
    """,
        budget_tokens=5000,
    )
    assert result.failure is Reason.CONTRACT
    assert "reported 5,001 tokens of a budget of 5,000" in result.message
    assert result.training_seconds < 20


def test_a_long_start_up_takes_only_seconds_off_a_token_budget(train):
    result = train(
        "spin(2)\nsend(type='ready')\ngo, _ = receive()\nprint(json.dumps(go))",
        budget_seconds=60.0,
        budget_tokens=5000,
        startup_free_seconds=0.5,
    )
    go = json.loads(result.log)
    assert go["budget_tokens"] == 5000
    assert go["budget_seconds"] == pytest.approx(60 - result.charged_seconds - 0.2)
    assert result.charged_seconds > 1


def test_a_source_with_room_for_text_is_not_run(train):
    result = train("x = '" + "text " * 2**16 + "'")
    assert result.failure is Reason.CONTRACT
    assert "may have 131072 bytes" in result.message


def test_a_checkpoint_that_stood_at_the_deadline_counts(train, tmp_path):
    result = train(
        """
        gate()
        save(b"early")
        send(type="saved")
        save(b"later")
        send(type="saved")
        with open(start["checkpoint"] + ".partial", "wb") as file:
            file.write(b"half")
            file.flush()
            spin(60)
    """,
        budget_seconds=1.0,
    )
    assert result.failure is None, result
    assert (tmp_path / "checkpoint.pt").read_bytes() == b"later"


def test_a_flood_of_reports_is_thinned_and_moves_no_deadline(train):
    points = []
    result = train(
        """
        gate()
        step = 0
        while True:
            step += 1
            send(type="step", step=step, loss=3.0, tokens=step)
            print("noise")
    """,
        budget_seconds=1.0,
        points=points,
    )
    assert result.failure is Reason.TIMEOUT
    assert result.num_steps > 1000
    assert len(result.curve) <= CURVE_POINTS + 1
    assert 1 <= len(points) <= 10 * result.wall_seconds + 1
    assert result.training_seconds == pytest.approx(1.0, abs=0.5)


def test_seeds_and_sizes_reach_the_candidate(train):
    result = train("print(json.dumps(start))\nsys.exit(1)")
    start = '"spec": {"vocab_size": 2048, "sequence_length": 16, "device": "cpu"}, "seed": 7'
    assert start in result.log


def test_a_training_is_stopped_when_a_sentence_says_so(train, tmp_path):
    def stop(curve, num_params):
        assert num_params == 5
        return "It is behind." if curve.share >= 0.3 else None

    result = train(
        """
        gate()
        save()
        for step in range(1, 11):
            send(type="step", step=step, loss=3.0, tokens=10 * step, num_params=5)
        time.sleep(60)
    """,
        budget_tokens=100,
        stop=stop,
    )
    assert (result.failure, result.message) == (Reason.PRUNED, "It is behind.")
    assert result.num_steps == 3
    assert result.loss_profile[:6] == (None, 3.0, None, 3.0, None, 3.0)
    assert not (tmp_path / "checkpoint.pt").exists()
