"""What containment costs, and whether it holds when the engine is killed.

    .venv/bin/python bench/containment.py               # everything
    .venv/bin/python bench/containment.py --only start  # or: memory, audit, kill

*start*: a process that does nothing, bare and in each rung's sandbox, in turn; medians.
*memory*: what file systems in memory take on the machine while jobs with weights to read
each write as much again: during ten in a row and during two at once, and afterwards.
*audit*: one evaluation of the trainer as it stands, at a preset's own sizes: the seconds
that the audit added against those of the claims, for a screen and for a keep.
*kill*: an engine with a misbehaving candidate (double forks, ignored signals, chains of
forks that never rest) gets SIGKILL at random moments; every process of the candidate that
is still there two seconds later is counted.
"""

import argparse
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from embedded_corpus import embedded_corpus

from nightlab.errors import SandboxUnavailable
from nightlab.evaluation.evaluation import evaluate
from nightlab.presets import PRESETS
from nightlab.records import Evaluation
from nightlab.sandbox import Job, Sandbox, SandboxedProcess, choose_sandbox
from nightlab.sandbox.device import Device, detect_device
from nightlab.settings import Places
from nightlab.training.token_file import TokenFile
from nightlab.training.training import TrainingOrder, train_replicate

RUNGS = ("1", "1n", "2")
STARTS = 30
KILLS = 20
IN_A_ROW, WRITTEN_MB = 10, 100
SURVIVAL_SECONDS = 2.0
CPU = Device(name="cpu", description="bench", threads=1)

# Every process of it carries the mark as its name, which forks inherit.
MISBEHAVING = """
import ctypes, os, signal, time
ctypes.CDLL(None).prctl(15, {mark!r}.encode(), 0, 0, 0)
ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
for number in range(1, 32):
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_IGN)

def stay():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                time.sleep(1)
        os._exit(0)

def chain():
    if os.fork() == 0:
        while True:
            if os.fork() != 0:
                os._exit(0)
            os.setsid()
            time.sleep(0.0005)

for _ in range(4):
    stay()
    chain()
print("ready", flush=True)
while True:
    time.sleep(1)
"""

ENGINE = """
import sys, time
from nightlab.sandbox.device import Device
from nightlab.sandbox import Job, choose_sandbox
box = choose_sandbox(only=sys.argv[1])
device = Device(name="cpu", description="bench", threads=1)
with box.start(Job(program="train", source=sys.stdin.read(), device=device)) as process:
    while "ready" not in process.log:
        time.sleep(0.01)
    print("ready", flush=True)
    time.sleep(600)
"""


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("start", "memory", "audit", "kill"))
    parser.add_argument("--preset", choices=tuple(PRESETS), default="quick")
    arguments = parser.parse_args()
    boxes = available()
    if arguments.only in (None, "start"):
        measure_start(boxes)
    if arguments.only in (None, "memory"):
        measure_memory(boxes)
    if arguments.only in (None, "kill"):
        measure_kills(boxes)
    if arguments.only in (None, "audit"):
        measure_audit(next(iter(boxes.values())), arguments.preset)


def available() -> dict[str, Sandbox]:
    """The rungs that start here."""
    boxes: dict[str, Sandbox] = {}
    for rung in RUNGS:
        try:
            boxes[rung] = choose_sandbox(only=rung)
        except SandboxUnavailable as refusal:
            print(f"rung {rung} is not measured: {refusal}")
    return boxes


def measure_start(boxes: dict[str, Sandbox]) -> None:
    """Start the same empty program bare and in every rung, in turn."""
    seconds: dict[str, list[float]] = {"bare": [], **{rung: [] for rung in boxes}}
    for _ in range(STARTS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)
        seconds["bare"].append(time.perf_counter() - began)
        for rung, box in boxes.items():
            began = time.perf_counter()
            with box.start(Job(program="train", source="", device=CPU)) as process:
                if process.wait(60) != 0:
                    sys.exit(f"containment: an empty program failed on rung {rung}: {process.log}")
                seconds[rung].append(time.perf_counter() - began)
    bare = median(seconds["bare"])
    print(f"start, median of {STARTS}: bare {1000 * bare:.1f} ms")
    for rung in boxes:
        taken = median(seconds[rung])
        print(
            f"  rung {rung:2}: {1000 * taken:6.1f} ms, {taken / bare:.1f} times bare, "
            f"{1000 * (taken - bare):.1f} ms more"
        )


def measure_memory(boxes: dict[str, Sandbox]) -> None:
    """Run jobs that write, one after the other and side by side."""
    source = (
        f"open('file', 'wb').write(bytes({WRITTEN_MB} << 20)); print('written', flush=True)\n"
        "import time; time.sleep(600)"
    )
    with tempfile.NamedTemporaryFile() as weights:
        weights.write(bytes(WRITTEN_MB << 20))
        weights.flush()
        job = Job(program="train", source=source, device=CPU, weights=Path(weights.name))
        for rung, box in boxes.items():
            with box.start(Job(program="train", source="", device=CPU)) as process:
                process.wait(60)  # What is there once for all jobs is there now.
            before, during = shared_memory_mb(), []
            for _ in range(IN_A_ROW):
                with box.start(job) as process:
                    wait_for_word(process)
                    during.append(shared_memory_mb() - before)
            after = shared_memory_mb() - before
            with box.start(job) as first, box.start(job) as second:
                wait_for_word(first)
                wait_for_word(second)
                both = shared_memory_mb() - before
            print(
                f"memory, rung {rung:2}: weights of {WRITTEN_MB} MB, {WRITTEN_MB} MB written: "
                f"{during[0]:.0f} MB in the first of {IN_A_ROW} jobs in a row, {during[-1]:.0f} in "
                f"the last, {after:.0f} after them; {both:.0f} in two at once, "
                f"{shared_memory_mb() - before:.0f} after them"
            )


def wait_for_word(process: SandboxedProcess) -> None:
    """Return once a job has printed something."""
    while not process.log:
        if process.wait(0.01) is not None:
            sys.exit(f"containment: a job that writes failed: {process.exceeded or process.log}")


def shared_memory_mb() -> float:
    """What the machine's file systems in memory take."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Shmem:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the kernel does not tell what its file systems in memory take")


def measure_kills(boxes: dict[str, Sandbox]) -> None:
    """Kill engines at random moments and count what is left of their candidates."""
    for rung in boxes:
        left = 0
        for number in range(KILLS):
            mark = f"nl{os.getpid() % 10**5:05d}{number:02d}{rung}"
            left += survivors_of_a_kill(rung, mark, random.uniform(0, 1.5))
        print(
            f"kill, rung {rung:2}: {KILLS} engines killed, "
            f"{left} processes left after {SURVIVAL_SECONDS:g} s"
        )


def survivors_of_a_kill(rung: str, mark: str, moment_seconds: float) -> int:
    """Run an engine, kill it ``moment_seconds`` after its candidate misbehaves; count."""
    engine = subprocess.Popen(
        [sys.executable, "-c", ENGINE, rung], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    if engine.stdin is None or engine.stdout is None:
        raise RuntimeError("an engine was started without pipes")
    engine.stdin.write(MISBEHAVING.format(mark=mark).encode())
    engine.stdin.close()
    engine.stdout.readline()
    time.sleep(moment_seconds)
    if not carrying(mark):
        sys.exit(f"containment: no process of the candidate was seen before the kill ({rung})")
    engine.send_signal(signal.SIGKILL)
    engine.wait()
    time.sleep(SURVIVAL_SECONDS)
    return len(carrying(mark))


def carrying(mark: str) -> list[int]:
    """The processes that carry a mark as their name."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name = (entry / "comm").read_text().strip()
            except OSError:
                continue
            if name == mark:
                found.append(int(entry.name))
    return found


def measure_audit(box: Sandbox, preset: str) -> None:
    """Train the trainer as it stands for a moment, then evaluate it as a trial would be."""
    places = Places.find()
    sizes = PRESETS[preset]
    corpus = embedded_corpus(preset)
    order = TrainingOrder(
        vocab_size=corpus.vocab_size,
        sequence_length=sizes.sequence_length,
        device=detect_device("auto"),
        seed=0,
        budget_seconds=10,
        startup_seconds=sizes.startup_seconds,
        memory_mb=sizes.memory_mb,
    )
    source = (places.root / "trainer" / "train.py").read_text()
    text_file = TokenFile.from_windows(
        corpus.path("train"), seed=0, sequence_length=sizes.sequence_length
    )
    with tempfile.TemporaryDirectory() as folder, text_file as text:
        checkpoint = Path(folder) / "checkpoint.pt"
        trained = train_replicate(
            order, source, text, box, checkpoint, lambda: None, lambda _point: None
        )
        if trained.failure is not None:
            sys.exit(f"containment: the trainer failed: {trained.message}")
        for kind, keep_below_bpb in (("screen", None), ("keep", math.inf)):
            report_audit(
                kind,
                evaluate(
                    source,
                    checkpoint,
                    corpus,
                    "val",
                    order,
                    sizes.evaluation_tokens,
                    box,
                    screen_positions=sizes.screen_positions,
                    keep_below_bpb=keep_below_bpb,
                ),
            )


def report_audit(kind: str, found: Evaluation) -> None:
    """Print what an audit cost against the claims before it."""
    if found.seconds is None or found.audit_seconds is None:
        sys.exit(f"containment: the evaluation failed: {found.message}")
    claims = found.seconds - found.audit_seconds
    print(
        f"audit, {kind}: claims of {found.num_tokens} tokens {claims:.2f} s, audit of "
        f"{found.audited_positions} positions {found.audit_seconds:.2f} s, "
        f"{found.audit_seconds / claims:.2f} of the claims' time; "
        f"{found.val_bpb:.4f} ± {found.standard_error:.1g} bpb"
    )


if __name__ == "__main__":
    main()
